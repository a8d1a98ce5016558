"""Derived facts: rules in order, and the layers in which facts build on each other."""

from __future__ import annotations

from collections.abc import Mapping

from policy_engine.core.conditions import comparisons
from policy_engine.core.facts import FactSpec
from policy_engine.core.policy import DerivedFact, DerivedRule
from policy_engine.packs.conditions import WHEN, FactTable, read_condition, read_value
from policy_engine.packs.nodes import Node
from policy_engine.packs.origins import Origins
from policy_engine.packs.problems import Code, Position, ProblemList
from policy_engine.packs.shapes import Anything, Fields, Key, Table

IS: Key[Node] = Key(
    "is",
    Anything("the value of the fact", {"type": ["string", "integer", "boolean"]}),
    "The value, of the fact's type.",
    required=True,
    example="high",
)
RULE = Table(
    "a rule such as `{is: high, when: …}`",
    (IS, WHEN),
    "The first rule that holds gives the value; a rule without a condition always holds.",
)


def read_derived(
    rules: Mapping[str, tuple[Fields, ...]],
    places: Mapping[str, Position],
    table: FactTable,
    origins: Origins,
    problems: ProblemList,
) -> tuple[tuple[DerivedFact, ...], ...]:
    """`rules` as written by fact. Each layer uses only facts of those before it."""
    derived = {
        name: _derived(spec, rows, table, origins, problems)
        for name, rows in rules.items()
        if (spec := table.specs.get(name)) is not None and spec.derived
    }
    return _layers(derived, places, problems)


def _derived(
    spec: FactSpec,
    rows: tuple[Fields, ...],
    table: FactTable,
    origins: Origins,
    problems: ProblemList,
) -> DerivedFact:
    rules: list[DerivedRule] = []
    unconditional: Position | None = None
    for fields in rows:
        if unconditional is not None:
            problems.error(
                fields.node.at,
                Code.UNREACHABLE_RULE,
                f"the rule at line {unconditional.line} always holds, so this one never does; "
                "give that one a `when`, or put it last",
            )
        if not fields.written(WHEN):
            unconditional = unconditional or fields.node.at
        rule = _rule(fields, spec, table, origins, problems)
        if rule is not None:
            rules.append(rule)
    return DerivedFact(spec.name, tuple(rules))


def _rule(
    fields: Fields, spec: FactSpec, table: FactTable, origins: Origins, problems: ProblemList
) -> DerivedRule | None:
    is_node = fields.get(IS)
    value = None if is_node is None else read_value(is_node, spec, problems)
    when_node = fields.get(WHEN)
    condition = None if when_node is None else read_condition(when_node, table, problems)
    if value is None or isinstance(value, tuple) or (fields.written(WHEN) and condition is None):
        return None
    if condition is not None:
        origins.conditions.append((fields.at(WHEN), condition, None))
    return DerivedRule(value, condition)


def _layers(
    derived: Mapping[str, DerivedFact], places: Mapping[str, Position], problems: ProblemList
) -> tuple[tuple[DerivedFact, ...], ...]:
    """Each layer uses only facts of those before it; a cycle is an error that names it."""
    needs = {name: _uses(fact) & derived.keys() for name, fact in derived.items()}
    layers: list[tuple[DerivedFact, ...]] = []
    settled: set[str] = set()
    while len(settled) < len(derived):
        ready = [name for name in derived if name not in settled and needs[name] <= settled]
        if not ready:
            open_ = {name: needs[name] - settled for name in derived if name not in settled}
            _report_cycles(open_, places, problems)
            return ()
        layers.append(tuple(derived[name] for name in ready))
        settled.update(ready)
    return tuple(layers)


def _uses(fact: DerivedFact) -> set[str]:
    return {each.fact for rule in fact.rules for each in comparisons(rule.when)}


def _report_cycles(
    needs: Mapping[str, set[str]], places: Mapping[str, Position], problems: ProblemList
) -> None:
    """One circle of each knot of facts; what only builds on a circle is not blamed."""
    told: set[str] = set()
    for start in sorted(needs):
        circle = _circle(needs, start)
        if circle is None or told & set(circle):
            continue
        told.update(circle)
        problems.error(
            places[start],
            Code.DERIVED_CYCLE,
            f"derived from itself: {' ← '.join(f'`{name}`' for name in circle)}; break the circle",
        )


def _circle(needs: Mapping[str, set[str]], start: str) -> list[str] | None:
    """The shortest way from a fact over those it needs back to itself."""
    ways = [[start]]
    seen: set[str] = set()
    for way in ways:
        for name in sorted(needs[way[-1]]):
            if name == start:
                return [*way, start]
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return None
