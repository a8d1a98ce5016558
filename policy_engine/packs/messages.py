"""messages/<locale>.yaml and never_say.yaml: what is said, and what never is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from policy_engine.core.decision import DecisionOutcome
from policy_engine.core.policy import SCRIPT_PARTS, ForbiddenPhrase, Script
from policy_engine.packs.conditions import FactTable
from policy_engine.packs.nodes import Node, ScalarNode
from policy_engine.packs.problems import Code, Position, ProblemList
from policy_engine.packs.scalars import LOCALE, Name, Schema, Text
from policy_engine.packs.scripts import SLOTS
from policy_engine.packs.shapes import Fields, Key, ListOf, MapOf, OneOf, Table
from policy_engine.packs.templates import CHARACTERS_AT_MOST, facts_named, faults


class Template:
    """A part of a script: a Jinja template that names only the slots of a script."""

    expected = "a template"

    def read(self, node: Node, problems: ProblemList) -> str | None:
        text = Text(self.expected, CHARACTERS_AT_MOST).read(node, problems)
        if text is None or not isinstance(node, ScalarNode):
            return None
        for fault in faults(text):
            at = _line(node, fault.line)
            if fault.code is Code.UNKNOWN_SLOT:
                problems.unknown(at, fault.code, "slot", fault.text, SLOTS)
            else:
                problems.error(at, fault.code, fault.text)
        return text

    def schema(self) -> Schema:
        return Text(self.expected, CHARACTERS_AT_MOST).schema()


def _line(node: ScalarNode, line: int) -> Position:
    """The line of a template as a line of the file; only block scalars keep their lines."""
    if not node.block:
        return node.at
    return Position(node.at.file, node.at.line + line, 1, node.at.via)


_PART_DOC = {
    "opening": "Name, received, order number, a time, the promise to come back.",
    "empathy": "What it is like for the customer.",
    "explanation": "One or two honest sentences.",
    "solution": "Two or three plans, phrased as a choice.",
    "compensation": "What the customer gets on top.",
}
_PARTS = {part: Key(part, Template(), _PART_DOC[part]) for part in SCRIPT_PARTS}
SCRIPT = Table("a script: its parts as templates", tuple(_PARTS.values()))
_OUTCOMES = {
    outcome: Key(outcome.value, SCRIPT, f"What is said when the outcome is {outcome}.")
    for outcome in DecisionOutcome
}
SCRIPTS = Key(
    "scripts",
    MapOf(
        Name("the name of a message"),
        Table("scripts by outcome", tuple(_OUTCOMES.values())),
        "scripts by message",
        may_be_empty=True,
    ),
    "Scripts by message and outcome.",
    required=True,
)
MESSAGES_FILE = Table("`scripts:` with scripts by message", (SCRIPTS,))


def read_messages(
    file: str, node: Node | None, facts: FactTable, problems: ProblemList
) -> tuple[str, Mapping[str, Mapping[str, Script]]] | None:
    """(locale, message → outcome → script) of one file."""
    locale = LOCALE.read(ScalarNode(PurePosixPath(file).stem, Position(file)), problems)
    fields = None if node is None else MESSAGES_FILE.read(node, problems)
    if locale is None or fields is None:
        return None
    scripts = {
        named.name: {
            outcome.value: _script(parts)
            for outcome, key in _OUTCOMES.items()
            if (parts := named.value.get(key)) is not None
        }
        for named in fields.all(SCRIPTS)
    }
    for named in fields.all(SCRIPTS):
        _check_parts(named.at, named.name, named.value, problems)
        _check_facts(named.value, facts, problems)
    return locale, scripts


def _script(fields: Fields) -> Script:
    return {part: text for part, key in _PARTS.items() if (text := fields.get(key)) is not None}


def _check_parts(at: Position, name: str, fields: Fields, problems: ProblemList) -> None:
    missing = [outcome.value for outcome, key in _OUTCOMES.items() if not fields.written(key)]
    for outcome in missing:
        problems.warning(
            at,
            Code.MISSING_SCRIPT,
            f"`{name}` has no script for the outcome `{outcome}`; write one",
        )
    offer = fields.get(_OUTCOMES[DecisionOutcome.OFFER])
    for part, key in _PARTS.items():
        if offer is not None and not offer.written(key):
            problems.warning(
                offer.node.at,
                Code.MISSING_SCRIPT,
                f"the offer of `{name}` has no `{part}`; write it",
            )


def _check_facts(scripts: Fields, facts: FactTable, problems: ProblemList) -> None:
    for outcome in _OUTCOMES.values():
        script = scripts.get(outcome)
        if script is None:
            continue
        for name, key in _PARTS.items():
            text, node = script.get(key), script.node.entries.get(name)
            if text is None or not isinstance(node, ScalarNode) or faults(text):
                continue
            for line, fact in facts_named(text):
                facts.find(fact, _line(node, line), problems)


PHRASE = Key("phrase", Text("a phrase", 500), "What is never said.", required=True)
PHRASE_LOCALE = Key("locale", LOCALE, "In which locale.", required=True, example="zh-CN")
FAMILY = Key("family", Name("a family"), "What kind of mistake it is.", required=True)
INSTEAD = Key("instead", Text(), "What to say instead.", required=True)
UNLESS: Key[str | tuple[str, ...]] = Key(
    "unless",
    OneOf(
        "a phrase or a list of phrases",
        text=Text("a phrase", 500),
        sequence=ListOf(Text("a phrase", 500), "a list of phrases", may_be_empty=True),
    ),
    "Longer phrases in which it may be said.",
)
FORBIDDEN = Table(
    "a phrase such as `{phrase: …, locale: en, family: blame, instead: …}`",
    (PHRASE, PHRASE_LOCALE, FAMILY, INSTEAD, UNLESS),
)
NEVER_SAY_FILE = ListOf(FORBIDDEN, "a list of phrases", may_be_empty=True)


def read_never_say(node: Node | None, problems: ProblemList) -> tuple[ForbiddenPhrase, ...]:
    rows: Iterable[Fields] = () if node is None else NEVER_SAY_FILE.read(node, problems) or ()
    return tuple(phrase for row in rows if (phrase := _phrase(row)) is not None)


def _phrase(row: Fields) -> ForbiddenPhrase | None:
    phrase, locale = row.get(PHRASE), row.get(PHRASE_LOCALE)
    family, instead = row.get(FAMILY), row.get(INSTEAD)
    if phrase is None or locale is None or family is None or instead is None:
        return None
    unless = row.get(UNLESS) or ()
    return ForbiddenPhrase(
        phrase, locale, family, instead, (unless,) if isinstance(unless, str) else unless
    )
