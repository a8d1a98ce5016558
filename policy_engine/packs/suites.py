"""tests/*.yaml: the pack's own tests, read but not yet run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policy_engine.packs.earlier_grants import EarlierGrant
from policy_engine.packs.grant_entries import GRANTS as GRANT_LIST
from policy_engine.packs.grant_entries import GrantReader
from policy_engine.packs.nodes import MapNode, Node
from policy_engine.packs.problems import Code, ProblemList
from policy_engine.packs.scalars import Text
from policy_engine.packs.shapes import Fields, Key, ListOf, Raw, Table

SUITE = Key("suite", Text("a name", 200), "The name of the suite.", required=True)
NAME = Key("name", Text("a name", 500), "What the case shows, as a sentence.", required=True)
GIVEN = Key(
    "given",
    Raw(MapNode),
    "A decision request as the API takes it, with `agent` and `as_of`.",
    required=True,
)
GRANTS = Key("grants", GRANT_LIST, "Earlier grants that count towards caps.")
EXPECT = Key(
    "expect",
    Raw(MapNode),
    "The decision, compared only in what is named here.",
    required=True,
)
CASE = Table("a case such as `{name: …, given: …, expect: …}`", (NAME, GIVEN, GRANTS, EXPECT))
CASES = Key(
    "cases", ListOf(CASE, "a list of cases", may_be_empty=True), "The cases.", required=True
)
TESTS_FILE = Table("a suite of tests", (SUITE, CASES))


@dataclass(frozen=True, slots=True)
class Case:
    """`given` and `expect` as plain data; `line` and `column` of its name, from 1."""

    name: str
    given: Mapping[str, Any]
    grants: tuple[EarlierGrant, ...]
    expect: Mapping[str, Any]
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Suite:
    name: str
    file: str
    cases: tuple[Case, ...]


def read_suite(
    file: str, node: Node | None, grants: GrantReader, problems: ProblemList
) -> Suite | None:
    """One file of tests; None when it has no usable name."""
    fields = None if node is None else TESTS_FILE.read(node, problems)
    name = None if fields is None else fields.get(SUITE)
    if fields is None or name is None:
        return None
    cases: dict[str, Case] = {}
    for row in fields.all(CASES):
        case = _case(row, grants)
        if case is None:
            continue
        if case.name in cases:
            problems.error(
                row.at(NAME),
                Code.DUPLICATE_NAME,
                f"a second case of this name; the first is at line {cases[case.name].line}",
            )
        cases[case.name] = case
    return Suite(name, file, tuple(cases.values()))


def _case(row: Fields, grants: GrantReader) -> Case | None:
    name, given, expect = row.get(NAME), row.get(GIVEN), row.get(EXPECT)
    read = [grants.read(each) for each in row.all(GRANTS)]
    earlier = tuple(each for each in read if each is not None)
    if name is None or given is None or expect is None:
        return None
    at = row.at(NAME)
    return Case(name, given, earlier, expect, at.line, at.column)
