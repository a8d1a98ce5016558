"""facts.yaml: what conditions may name beyond the built-in facts, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from policy_engine.core.facts import ABSENT, BUILT_IN, UNKNOWN, FactSpec, FactType, Value
from policy_engine.core.money import Money
from policy_engine.core.policy import REMAINING, DerivedFact
from policy_engine.packs.amounts import AmountMap
from policy_engine.packs.conditions import FactTable, read_value
from policy_engine.packs.derived import RULE, read_derived
from policy_engine.packs.nodes import ListNode, Node, ScalarNode
from policy_engine.packs.origins import NO_DEFAULT, Origins, WrittenAmounts
from policy_engine.packs.problems import Code, Position, ProblemList, listed, shown
from policy_engine.packs.scalars import FACT_NAME, VALUE_NAME, Choice, Name, Schema, wrong_type
from policy_engine.packs.shapes import (
    Anything,
    Fields,
    Key,
    ListOf,
    MapOf,
    Named,
    Table,
    Translations,
)

_DEFAULTS: tuple[tuple[list[str], Schema], ...] = (
    (["money"], {"anyOf": [AmountMap().schema(), {"type": "null"}]}),
    (["set"], {"type": ["array", "null"], "items": VALUE_NAME.schema()}),
    (
        [each.value for each in FactType if each not in (FactType.MONEY, FactType.SET)],
        {"type": ["string", "integer", "boolean", "null"]},
    ),
)
"""What an editor takes for a default, by type; `_default` reads it."""


def _where_type_is(types: list[str], then: Schema) -> Schema:
    return {
        "if": {"properties": {"type": {"enum": types}}, "required": ["type"]},
        "then": then,
    }


TYPE = Key(
    "type",
    Choice(FactType, "type of fact"),
    "The type of its value.",
    required=True,
    example="enum",
)
VALUES = Key(
    "values",
    ListOf(VALUE_NAME, "a list of values"),
    "The values an enum or a set may have.",
    example=["standard", "silver", "gold"],
)
FROM = Key(
    "from",
    Name("`request`", "request", "write `from: request`, or another source"),
    "`request`: callers send it under `facts`.",
    example="request",
)
DEFAULT: Key[Node] = Key(
    "default",
    Anything("a value"),
    "Its value when a caller leaves it out (only `from: request`): for a set a list, for money "
    "amounts by currency; null means known to be absent.",
    example=False,
)
ASK = Key(
    "ask",
    Translations(),
    "The question that asks a person for it, by locale.",
    example={"en": "Was it a campaign order?"},
)
SINCE = Key(
    "since",
    FACT_NAME,
    "A duration that starts at this timestamp fact.",
    example="incident.trace_opened_at",
)
UNTIL = Key(
    "until",
    FACT_NAME,
    "Where the duration ends; without it, or while that has no value: the decision's time.",
    example="order.delivered_at",
)
DERIVE = Key(
    "derive", ListOf(RULE, "a list of rules"), "Rules that derive it from other facts, in order."
)
FACT = Table(
    "a declaration such as `{type: boolean, from: request}`",
    (TYPE, VALUES, FROM, DEFAULT, ASK, SINCE, UNTIL, DERIVE),
    "A fact with exactly one source: `from`, `since` or `derive`; or a narrowed built-in fact.",
    extra_schema={
        "allOf": [
            _where_type_is(["enum"], {"required": ["values"]}),
            *(_where_type_is(types, {"properties": {"default": of}}) for types, of in _DEFAULTS),
        ]
    },
)
FACTS = Key(
    "facts",
    MapOf(FACT_NAME, FACT, "declarations by name", may_be_empty=True),
    "The facts by name.",
    required=True,
)
FACTS_FILE = Table("`facts:` with declarations", (FACTS,))

_WITH_VALUES = (FactType.ENUM, FactType.SET)
_NOT_DERIVED = (FactType.MONEY, FactType.SET)


@dataclass(frozen=True)
class Facts:
    table: FactTable
    derived: tuple[tuple[DerivedFact, ...], ...] = ()
    declared: Mapping[str, Position] = field(default_factory=dict)
    """Where the pack's own facts (and narrowed ones) are declared."""


def read_facts(node: Node | None, complete: bool, origins: Origins, problems: ProblemList) -> Facts:
    """`node` is None for a pack without facts.yaml, or with an unreadable one (not `complete`)."""
    fields = None if node is None else FACTS_FILE.read(node, problems)
    table = FactTable(dict(BUILT_IN), complete=complete and (node is None or fields is not None))
    if fields is None:
        return Facts(table)
    entries: tuple[Named[Fields], ...] = fields.all(FACTS)
    for named in entries:
        spec = _narrowed(named, problems) if named.name in BUILT_IN else _own(named, problems)
        if spec is None:
            table.broken.add(named.name)
        else:
            table.specs[named.name] = spec
            _note_currencies(named, spec, origins)
            origins.texts.append(
                (named.value.at(ASK), f"the question for `{named.name}`", spec.ask)
            )
    _declared_but_malformed(fields, table)
    for named in entries:
        _check_times(named, table, problems)
    places = {named.name: named.at for named in entries}
    rules = {named.name: named.value.all(DERIVE) for named in entries if named.name not in BUILT_IN}
    return Facts(table, read_derived(rules, places, table, origins, problems), places)


def _note_currencies(named: Named[Fields], spec: FactSpec, origins: Origins) -> None:
    if isinstance(spec.default, tuple):
        currencies = frozenset(money.currency for money in spec.default)
        origins.amounts.append(WrittenAmounts(named.value.at(DEFAULT), currencies, NO_DEFAULT))


def _declared_but_malformed(fields: Fields, table: FactTable) -> None:
    node = fields.node.entries.get(FACTS.name)
    for name in getattr(node, "keys", ()):
        if name not in table.specs:
            table.broken.add(name)


def _own(named: Named[Fields], problems: ProblemList) -> FactSpec | None:
    fields = named.value
    type_ = fields.get(TYPE)
    if named.name == REMAINING:
        problems.error(
            named.at,
            Code.BAD_DECLARATION,
            "`remaining` is what a plan's remedies have left; choose another name",
        )
        return None
    if type_ is None or not _one_source(named, problems):
        return None
    values = fields.get(VALUES)
    fine = _values_fit(named, type_, problems)
    spec = FactSpec(
        named.name,
        type_,
        values=values,
        ask=fields.get(ASK) or {},
        from_request=fields.written(FROM),
        since=fields.get(SINCE),
        until=fields.get(UNTIL),
        derived=fields.written(DERIVE),
    )
    for refused, text in _misplaced(fields, spec):
        problems.error(fields.at(refused), Code.BAD_DECLARATION, text)
        fine = False
    default = _default(fields, spec, problems)
    return replace(spec, default=default) if fine else None


def _one_source(named: Named[Fields], problems: ProblemList) -> bool:
    sources = [key for key in (FROM, SINCE, DERIVE) if named.value.written(key)]
    if len(sources) == 1:
        return True
    if sources:
        problems.error(
            named.value.at(sources[1]),
            Code.SEVERAL_SOURCES,
            f"`{named.name}` has {listed(key.name for key in sources)}; keep one source",
        )
    else:
        problems.error(
            named.at,
            Code.FACT_WITHOUT_SOURCE,
            f"nobody supplies `{named.name}`; add `from: request`, `since` or `derive`",
        )
    return False


def _values_fit(named: Named[Fields], type_: FactType, problems: ProblemList) -> bool:
    fields = named.value
    if fields.written(VALUES) and type_ not in _WITH_VALUES:
        problems.error(
            fields.at(VALUES),
            Code.BAD_DECLARATION,
            f"`values` with type {type_}; only enum and set have values",
        )
        return False
    if type_ is FactType.ENUM and not fields.written(VALUES):
        problems.error(
            fields.node.at, Code.MISSING_KEY, f"`values` is missing; list those of `{named.name}`"
        )
        return False
    values = fields.all(VALUES)
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        problems.error(
            fields.at(VALUES), Code.DUPLICATE_NAME, f"`{shown(twice)}` stands there twice"
        )
    return twice is None


def _misplaced(fields: Fields, spec: FactSpec) -> Iterable[tuple[Key[Any], str]]:
    if fields.written(DEFAULT) and not spec.from_request:
        yield DEFAULT, "`default` is only for facts `from: request`"
    if fields.written(ASK) and not spec.from_request:
        yield ASK, "`ask` is only for facts that callers send"
    if fields.written(UNTIL) and spec.since is None:
        yield UNTIL, "`until` without `since`"
    if spec.since is not None and spec.type is not FactType.DURATION:
        yield TYPE, "a fact with `since` is of type duration"
    if spec.derived and spec.type in _NOT_DERIVED:
        yield TYPE, f"a fact of type {spec.type} can't be derived; derive a boolean or an enum"


def _default(fields: Fields, spec: FactSpec, problems: ProblemList) -> Value | tuple[Money, ...]:
    node = fields.get(DEFAULT)
    if node is None or not spec.from_request:
        return UNKNOWN
    if isinstance(node, ScalarNode) and node.value is None:
        return ABSENT
    value = (_set if spec.type is FactType.SET else read_value)(node, spec, problems)
    return UNKNOWN if value is None else value


def _set(node: Node, spec: FactSpec, problems: ProblemList) -> frozenset[str] | None:
    if not isinstance(node, ListNode):
        wrong_type(node, "a list of values such as `[a, b]`", problems)
        return None
    return frozenset(
        value for item in node.items if isinstance(value := read_value(item, spec, problems), str)
    )


def _narrowed(named: Named[Fields], problems: ProblemList) -> FactSpec | None:
    """A built-in fact with its values named, and a question; nothing else of it can change."""
    built_in = BUILT_IN[named.name]
    fields = named.value
    type_ = fields.get(TYPE)
    if type_ is None:
        return None
    text = _narrowing_fault(built_in, type_, fields)
    if text is not None:
        problems.error(named.at, Code.BAD_NARROWING, text)
        return None
    if not _values_fit(named, type_, problems):
        return None
    return replace(built_in, type=type_, values=fields.get(VALUES), ask=fields.get(ASK) or {})


def _narrowing_fault(built_in: FactSpec, type_: FactType, fields: Fields) -> str | None:
    other = [key.name for key in (FROM, DEFAULT, SINCE, UNTIL, DERIVE) if fields.written(key)]
    if other:
        return (
            f"`{built_in.name}` is built in and has its source; delete {listed(other)}, "
            "or declare a fact of another name"
        )
    if built_in.name == "order.lines":
        return "`order.lines` names an order's own lines; delete it"
    if not built_in.sent:
        return f"`{built_in.name}` is computed and can't be declared; delete it"
    if type_ is not built_in.type and (built_in.type, type_) != (FactType.STRING, FactType.ENUM):
        allowed = [built_in.type] + [FactType.ENUM] * (built_in.type is FactType.STRING)
        return f"`{built_in.name}` is built in with type {built_in.type}; use {listed(allowed)}"
    return None


def _check_times(named: Named[Fields], table: FactTable, problems: ProblemList) -> None:
    if named.name in BUILT_IN:
        return
    for key in (SINCE, UNTIL):
        name = named.value.get(key)
        spec = None if name is None else table.find(name, named.value.at(key), problems)
        if spec is None:
            continue
        if spec.type is not FactType.TIMESTAMP or not (spec.sent or spec.from_request):
            problems.error(
                named.value.at(key),
                Code.WRONG_FACT_TYPE,
                f"`{spec.name}` is no timestamp that callers send; `{key.name}` needs one",
            )
