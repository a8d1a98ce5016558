"""Which outcomes a condition can have at all: true, false, and unknown where it can be.

Each fact is given every value that could make a difference to the condition (each literal,
what lies between and beside them, null, omitted) and the condition is evaluated for all
combinations. Facts are taken as independent. Past MAX_COMBINATIONS, or MAX_SET_LITERALS of one
set, the comparisons are taken as independent too, which may call an outcome possible that is not,
never the reverse.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, localcontext

from policy_engine.core.conditions import (
    All,
    Comparison,
    Condition,
    Not,
    Op,
    Outcome,
    comparisons,
    evaluate,
    formula,
)
from policy_engine.core.facts import ABSENT, UNKNOWN, FactSpec, FactType, Value
from policy_engine.core.money import Money
from policy_engine.core.policy import DerivedFact, Pack

MAX_COMBINATIONS = 20_000
MAX_SET_LITERALS = 6

ALWAYS_SENT = frozenset(
    {
        "order.id", "order.currency", "order.lines", "incident.types", "incident.lines",
        "customer.id", "agent.id", "agent.role",
    }
)  # fmt: skip
"""Facts that every request has, by what the contract requires or by what omitting them means."""
NEVER_NULL = frozenset({"order.goods_paid", "order.total_paid", "incident.lines_paid"})
"""Null money counts as zero, so these sums are numbers or unknown."""
_ROLE = "agent.role"
_OTHER_CURRENCIES = ("XAF", "XPF")

Outcomes = frozenset[Outcome]


class Possible:
    """The possible outcomes of a pack's conditions."""

    def __init__(self, pack: Pack) -> None:
        self._specs = dict(pack.facts)
        role = self._specs[_ROLE]
        self._specs[_ROLE] = replace(role, values=role.values or tuple(pack.roles))
        self._incident_types: frozenset[str] | None = None
        self._derived_values: dict[str, frozenset[Value]] = {}
        for layer in pack.derived:
            for derived in layer:
                self._derived_values[derived.fact] = self._values_of_derived(derived)

    def outcomes(
        self, condition: Condition, incident_types: frozenset[str] | None = None
    ) -> Outcomes:
        """Every outcome that some request gives the condition.

        `incident_types`: only requests with one of them are asked (those a policy applies to).
        """
        self._incident_types = incident_types
        leaves = tuple(dict.fromkeys(comparisons(condition)))
        by_fact: dict[str, list[Comparison]] = {}
        for leaf in leaves:
            by_fact.setdefault(leaf.fact, []).append(leaf)
        choices = [self._rows(fact, tests) for fact, tests in by_fact.items()]
        too_many = any(self._too_many_sets(fact, tests) for fact, tests in by_fact.items())
        if too_many or math.prod(len(rows) for rows in choices) > MAX_COMBINATIONS:
            return _kleene(condition, {leaf: self._alone(leaf) for leaf in leaves})
        numbers = {leaf: at for at, leaf in enumerate(leaves)}
        of = formula(condition, numbers.__getitem__)
        found: set[Outcome] = set()
        for rows in itertools.product(*choices):
            truth = {
                numbers[leaf]: outcome
                for row in rows
                for leaf, outcome in row
                if outcome is not None
            }
            found.add(evaluate(of, truth))
            if len(found) == 3:
                break
        return frozenset(found)

    def _too_many_sets(self, fact: str, tests: list[Comparison]) -> bool:
        """Are more values looked for in a set than all of its subsets can be tried for?"""
        looked_for = {each for test in tests for each in _literals(test)}
        return self._specs[fact].type is FactType.SET and len(looked_for) > MAX_SET_LITERALS

    def _alone(self, leaf: Comparison) -> Outcomes:
        return frozenset(row[0][1] for row in self._rows(leaf.fact, [leaf]))

    def _rows(
        self, fact: str, tests: list[Comparison]
    ) -> list[tuple[tuple[Comparison, Outcome], ...]]:
        """The distinct results that the comparisons of one fact can have together."""
        rows = (
            tuple((test, test.outcome(value)) for test in tests)
            for value in self._values(fact, tests)
        )
        return list(dict.fromkeys(rows))

    def _values(self, fact: str, tests: list[Comparison]) -> Iterable[Value]:
        if fact in self._derived_values:
            return self._derived_values[fact]
        spec = self._specs[fact]
        values: list[Value] = list(_known_values(spec, tests, self._incident_types))
        if self.can_be_unknown(fact):
            values.append(UNKNOWN)
        if self.can_be_absent(fact):
            values.append(ABSENT)
        return values

    def can_be_unknown(self, fact: str) -> bool:
        """Can a request leave the engine without this fact?"""
        if fact in self._derived_values:
            return UNKNOWN in self._derived_values[fact]
        spec = self._specs[fact]
        if spec.since is not None:
            return self.can_be_unknown(spec.since)
        if spec.from_request:
            # A default of money is known only in the currencies it names.
            return spec.default is UNKNOWN or isinstance(spec.default, tuple)
        return fact not in ALWAYS_SENT

    def can_be_absent(self, fact: str) -> bool:
        """Can a request make this fact null?"""
        if fact in self._derived_values:
            return ABSENT in self._derived_values[fact]
        spec = self._specs[fact]
        if spec.since is not None:
            return self.can_be_absent(spec.since)
        return fact not in ALWAYS_SENT and fact not in NEVER_NULL

    def _values_of_derived(self, derived: DerivedFact) -> frozenset[Value]:
        values: set[Value] = set()
        for rule in derived.rules:
            possible = self.outcomes(rule.when) if rule.when is not None else frozenset({True})
            if True in possible:
                values.add(rule.value)
            if None in possible:
                values.add(UNKNOWN)
            if False not in possible:
                return frozenset(values)
        return frozenset(values | {ABSENT})


def _kleene(condition: Condition, alone: Mapping[Comparison, Outcomes]) -> Outcomes:
    if isinstance(condition, Comparison):
        return alone[condition]
    if isinstance(condition, Not):
        part = _kleene(condition.part, alone)
        return frozenset(None if outcome is None else not outcome for outcome in part)
    parts = [_kleene(part, alone) for part in condition.parts]
    # `all` is true when every part can be, false when one can be; `any` the other way round.
    joint = isinstance(condition, All)
    found: set[Outcome] = set()
    if all(joint in part for part in parts):
        found.add(joint)
    if any((not joint) in part for part in parts):
        found.add(not joint)
    if any(None in part for part in parts) and all(None in part or joint in part for part in parts):
        found.add(None)
    return frozenset(found)


def _known_values(
    spec: FactSpec, tests: list[Comparison], incident_types: frozenset[str] | None
) -> Iterable[Value]:
    """Values of a fact that tell its comparisons apart."""
    literals = list(dict.fromkeys(each for test in tests for each in _literals(test)))
    match spec.type:
        case FactType.BOOLEAN:
            return (True, False)
        case FactType.ENUM | FactType.STRING:
            return spec.values or (*(each for each in literals if isinstance(each, str)), "\0")
        case FactType.SET if spec.name == "incident.types" and incident_types is not None:
            return _types_asked(_sets(spec, literals), literals, incident_types)
        case FactType.SET:
            return _sets(spec, literals)
        case FactType.MONEY:
            return _amounts(literals)
        case _:
            return _around(literals, *_STEPS[spec.type])


_INSTANT = timedelta(microseconds=1)
_FINE = Context(prec=100)
"""Holds the largest decimal of a pack and the smallest step beside it."""
_STEPS: Mapping[FactType, tuple[object, object]] = {
    FactType.INTEGER: (1, 0),
    FactType.DECIMAL: (Decimal("1e-25"), Decimal(0)),
    FactType.DURATION: (_INSTANT, timedelta(0)),
    FactType.TIMESTAMP: (_INSTANT, datetime(2000, 1, 1, tzinfo=UTC)),
}
"""The smallest step of an ordered type, and any value of it."""


def _literals(test: Comparison) -> tuple[object, ...]:
    if test.op in (Op.PRESENT, Op.ABSENT):
        return ()
    if test.op in (Op.IN, Op.NOT_IN) and isinstance(test.literal, tuple):
        return test.literal
    return (test.literal,)


def _around(literals: list[object], step: object, any_value: object) -> tuple[Value, ...]:
    values: list[object] = []
    for literal in literals:
        values.append(literal)
        # Beside the first and the last instant of the calendar there is none.
        with suppress(OverflowError), localcontext(_FINE):
            values.append(literal + step)  # type: ignore[operator]
        with suppress(OverflowError), localcontext(_FINE):
            values.append(literal - step)  # type: ignore[operator]
    return tuple(values or [any_value])  # type: ignore[arg-type]


def _amounts(literals: list[object]) -> tuple[Value, ...]:
    """Around each literal in its currency, and an amount in a currency that none has."""
    amounts = [
        money
        for literal in literals
        for money in (literal if isinstance(literal, tuple) else ())
        if isinstance(money, Money)
    ]
    values = [
        Money(max(0, money.minor + step), money.currency)
        for money in amounts
        for step in (-1, 0, 1)
    ]
    used = {money.currency for money in amounts}
    spare = next(each for each in ("XTS", *_OTHER_CURRENCIES, "CNY", "USD") if each not in used)
    return (*values, Money(1, spare))


def _types_asked(
    sets: Iterable[frozenset[str]], literals: list[object], incident_types: frozenset[str]
) -> tuple[frozenset[str], ...]:
    """Only incidents of the types a policy applies to are asked about."""
    one = min(incident_types, key=lambda each: (each in literals, each))
    return tuple(each if each & incident_types else each | {one} for each in sets)


def _sets(spec: FactSpec, literals: list[object]) -> tuple[frozenset[str], ...]:
    """Every subset of what is looked for, alone and with something else beside."""
    wanted = [each for each in literals if isinstance(each, str)][:MAX_SET_LITERALS]
    others = [value for value in spec.values or ("\0",) if value not in wanted][:1]
    members = [*wanted, *others]
    never_empty = spec.name in ("incident.types", "incident.lines", "order.lines")
    return tuple(
        frozenset(chosen)
        for size in range(1 if never_empty else 0, len(members) + 1)
        for chosen in itertools.combinations(members, size)
    )
