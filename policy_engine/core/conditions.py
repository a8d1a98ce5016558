"""Three-valued conditions over typed facts.

A comparison is true, false or unknown (None). `all`, `any` and `not` follow Kleene: what
is unknown stays unknown unless the rest decides alone. Matchers work on a `Formula`, the
same condition with `not` pushed down to numbered comparisons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache

from policy_engine.core.facts import ABSENT, UNKNOWN, FactType, Missing, Value, value_text
from policy_engine.core.money import Money

Outcome = bool | None
"""True, False, or None for unknown."""


class Op(StrEnum):
    IS = "is"
    IS_NOT = "is_not"
    IN = "in"
    NOT_IN = "not_in"
    OVER = "over"
    AT_LEAST = "at_least"
    UNDER = "under"
    AT_MOST = "at_most"
    CONTAINS = "contains"
    PRESENT = "present"
    ABSENT = "absent"


ORDERED_TYPES = frozenset(
    {FactType.INTEGER, FactType.DECIMAL, FactType.MONEY, FactType.DURATION, FactType.TIMESTAMP}
)
"""Types that over, at_least, under and at_most compare."""

_TRUE_WHEN_ABSENT = frozenset({Op.ABSENT, Op.IS_NOT, Op.NOT_IN})

Scalar = bool | int | Decimal | timedelta | datetime | str
AmountMap = tuple[Money, ...]
"""A money literal: at most one amount a currency."""
Literal = Scalar | AmountMap | tuple[Scalar, ...] | tuple[AmountMap, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """`{fact: F, OP: literal}`. Equal comparisons are one comparison and evaluated once."""

    fact: str
    op: Op
    type: FactType
    literal: Literal
    _hash: int = field(init=False, repr=False, compare=False)
    """Comparisons are looked up far more often than made."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.fact, self.op, self.type, self.literal)))

    def __hash__(self) -> int:
        return self._hash

    def outcome(self, value: Value) -> Outcome:
        """The outcome for a value of this comparison's type, or a missing one."""
        if value is UNKNOWN:
            return None
        if value is ABSENT:
            return self.op in _TRUE_WHEN_ABSENT
        if self.op is Op.PRESENT:
            return True
        if self.op is Op.ABSENT:
            return False
        if self.type is FactType.MONEY:
            return _money_outcome(self.op, value, self.literal)
        return _COMPARE[self.op](value, self.literal)

    def lacks_currency(self, value: Value) -> bool:
        """True when the outcome is unknown only because no literal has the value's currency."""
        return isinstance(value, Money) and self.outcome(value) is None

    def required(self, currency: str | None = None) -> str:
        """What the condition asks for, as text: `over P5D`, `is gold`, `present`."""
        return _required(self, currency)


@lru_cache(maxsize=16_384)
def _required(of: Comparison, currency: str | None) -> str:
    if of.op in (Op.PRESENT, Op.ABSENT):
        return of.op.value
    return f"{of.op.value} {_literal_text(of.literal, currency)}"


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Any:
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    part: Condition


Condition = Comparison | All | Any | Not


def comparisons(condition: Condition | None) -> Iterator[Comparison]:
    """Every comparison of a condition, left to right, repeats included."""
    if isinstance(condition, Comparison):
        yield condition
    elif isinstance(condition, Not):
        yield from comparisons(condition.part)
    elif condition is not None:
        for part in condition.parts:
            yield from comparisons(part)


@dataclass(frozen=True, slots=True)
class Leaf:
    """Comparison number `index` has the outcome `wanted`."""

    index: int
    wanted: bool = True


@dataclass(frozen=True, slots=True)
class Both:
    """Every part holds (at least one part)."""

    parts: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """At least one part holds (at least one part)."""

    parts: tuple[Formula, ...]


Formula = Leaf | Both | Either


def formula(
    condition: Condition, number: Callable[[Comparison], int], wanted: bool = True
) -> Formula:
    """The condition (or, with `wanted` false, its negation) with `not` pushed to the leaves."""
    if isinstance(condition, Comparison):
        return Leaf(number(condition), wanted)
    if isinstance(condition, Not):
        return formula(condition.part, number, not wanted)
    parts = tuple(formula(part, number, wanted) for part in condition.parts)
    if len(parts) == 1:
        return parts[0]
    return Both(parts) if isinstance(condition, All) is wanted else Either(parts)


def negated(of: Formula) -> Formula:
    """The formula that holds exactly where `of` is false."""
    if isinstance(of, Leaf):
        return Leaf(of.index, not of.wanted)
    parts = tuple(negated(part) for part in of.parts)
    return Either(parts) if isinstance(of, Both) else Both(parts)


def evaluate(of: Formula, truth: Mapping[int, bool]) -> Outcome:
    """Kleene evaluation; comparisons missing from `truth` are unknown."""
    if isinstance(of, Leaf):
        known = truth.get(of.index)
        return None if known is None else known is of.wanted
    deciding = isinstance(of, Either)
    unknown = False
    for part in of.parts:
        outcome = evaluate(part, truth)
        if outcome is deciding:
            return deciding
        unknown = unknown or outcome is None
    return None if unknown else not deciding


def could_hold(of: Formula, truth: Mapping[int, bool], is_open: Callable[[int], bool]) -> bool:
    """Could it be true if each unknown comparison that is open came out as it should?"""
    if isinstance(of, Leaf):
        known = truth.get(of.index)
        return is_open(of.index) if known is None else known is of.wanted
    enough = any if isinstance(of, Either) else all
    return enough(could_hold(part, truth, is_open) for part in of.parts)


def reasons(of: Formula, truth: Mapping[int, bool]) -> list[int]:
    """Numbers of the comparisons that make the outcome what it is, in the order written."""
    found: list[int] = []
    _collect(of, truth, evaluate(of, truth), found)
    return list(dict.fromkeys(found))


def _collect(of: Formula, truth: Mapping[int, bool], outcome: Outcome, found: list[int]) -> None:
    if isinstance(of, Leaf):
        found.append(of.index)
        return
    for part in of.parts:
        if evaluate(part, truth) is outcome:
            _collect(part, truth, outcome, found)


def _money_outcome(op: Op, value: Value, literal: Literal) -> Outcome:
    assert isinstance(value, Money) and isinstance(literal, tuple)
    if op in (Op.IN, Op.NOT_IN):
        amounts = [amount_in(each, value.currency) for each in literal]
        if any(amount is None for amount in amounts):
            return None
        return (value.minor in amounts) is (op is Op.IN)
    amount = amount_in(literal, value.currency)
    return None if amount is None else _COMPARE[op](value.minor, amount)


def amount_in(literal: object, currency: str) -> int | None:
    """Minor units of a money literal in a currency; None where it has none."""
    assert isinstance(literal, tuple)
    for money in literal:
        if isinstance(money, Money) and money.currency == currency:
            return money.minor
    return None


def _literal_text(literal: object, currency: str | None) -> str:
    if isinstance(literal, tuple):
        shown = [
            part
            for part in literal
            if not (currency and isinstance(part, Money) and part.currency != currency)
        ]
        return ", ".join(_literal_text(part, currency) for part in shown or literal)
    if isinstance(literal, Missing):
        return literal.value
    return value_text(literal) or ""  # type: ignore[arg-type]


_COMPARE: dict[Op, Callable[..., bool]] = {
    Op.IS: lambda value, literal: value == literal,
    Op.IS_NOT: lambda value, literal: value != literal,
    Op.IN: lambda value, literal: value in literal,
    Op.NOT_IN: lambda value, literal: value not in literal,
    Op.OVER: lambda value, literal: value > literal,
    Op.AT_LEAST: lambda value, literal: value >= literal,
    Op.UNDER: lambda value, literal: value < literal,
    Op.AT_MOST: lambda value, literal: value <= literal,
    Op.CONTAINS: lambda value, literal: literal in value,
}
