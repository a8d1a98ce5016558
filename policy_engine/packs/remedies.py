"""A remedy of a plan: its kind, what it is worth, and what people are told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from policy_engine.core.facts import FactType
from policy_engine.core.money import Money
from policy_engine.core.policy import (
    ACTS,
    REMAINING,
    FactAmount,
    FixedAmount,
    Per,
    PercentOf,
    RemedyKind,
    RemedyRule,
    Worth,
)
from policy_engine.packs.amounts import PERCENT, AmountMap
from policy_engine.packs.conditions import FactTable
from policy_engine.packs.origins import NO_MINIMUM, NOT_OFFERED, Origins, WrittenAmounts
from policy_engine.packs.problems import Code, Position, ProblemList, listed
from policy_engine.packs.roles import KIND_CHOICE
from policy_engine.packs.scalars import FACT_NAME, Duration, Text, Whole
from policy_engine.packs.shapes import Fields, Key, OneOf, Table

KIND = Key("kind", KIND_CHOICE, "What is given.", required=True, example="coupon")
PERCENT_KEY = Key("percent", PERCENT, "Worth so many percent of `of`.", example="5")
OF = Key(
    "of",
    FACT_NAME,
    "The money fact that `percent` is taken of, or `remaining`: goods_paid less the refunds, "
    "discounts and waivers before it in the plan.",
    example="order.goods_paid",
)
AMOUNT: Key[str | Mapping[str, Money]] = Key(
    "amount",
    OneOf(
        'amounts by currency such as `{CNY: "15.00"}`, or a money fact',
        text=FACT_NAME,
        mapping=AmountMap(),
    ),
    "Worth this much: amounts by currency, or a money fact.",
    example={"CNY": "15.00"},
)
PER_FACT = Key(
    "fact", FACT_NAME, "A duration or integer fact.", required=True, example="shipping.delay"
)
EVERY: Key[timedelta | int] = Key(
    "every",
    OneOf("a duration or a whole number", text=Duration(), whole=Whole(1)),
    "One period of it: a duration for a duration fact, a whole number for an integer fact.",
    required=True,
    example="P1D",
)
PER = Key(
    "per",
    Table("`{fact: shipping.delay, every: P1D}`", (PER_FACT, EVERY)),
    "Times the whole periods in this fact, never negative.",
    example={"fact": "shipping.delay", "every": "P1D"},
)
ROUND_TO = Key(
    "round_to",
    AmountMap(above_zero=True),
    "Rounded to a multiple of this, half up.",
    example={"CNY": "1.00"},
)
MIN = Key("min", AmountMap(), "Never less than this.", example={"CNY": "5.00"})
MAX = Key("max", AmountMap(), "Never more than this.", example={"CNY": "60.00"})
VALID_FOR = Key("valid_for", Duration(), "How long a coupon or credit can be used.", example="P90D")
MIN_SPEND = Key(
    "min_spend", AmountMap(), "From which order value a coupon holds.", example={"CNY": "50.00"}
)
SERVICE = Key("service", Text("a service", 128), "Which service, for people.", example="express")
WITHIN = Key("within", Duration(), "How soon it is to be done.", example="PT24H")

_WORTH_KEYS = (PERCENT_KEY, OF, AMOUNT, PER, ROUND_TO, MIN, MAX)
_AMOUNT_KEYS: tuple[Key[Any], ...] = (AMOUNT, ROUND_TO, MIN, MAX, MIN_SPEND)

REMEDY = Table(
    'a remedy such as `{kind: coupon, amount: {CNY: "15.00"}}`',
    (KIND, *_WORTH_KEYS, VALID_FOR, MIN_SPEND, SERVICE, WITHIN),
    "Worth `percent` of `of`, or `amount`; acts (keep_item, priority_dispatch) are worth nothing.",
)


@dataclass(frozen=True)
class RemedyReader:
    facts: FactTable
    origins: Origins
    problems: ProblemList

    def read(self, fields: Fields) -> RemedyRule | None:
        kind = fields.get(KIND)
        worth = self._worth(fields, kind)
        per = self._per(fields)
        self._check_bounds(fields)
        self._note_currencies(fields)
        if kind is None or (worth is None and kind not in ACTS):
            return None
        return RemedyRule(
            kind,
            worth,
            per,
            fields.get(ROUND_TO),
            fields.get(MIN),
            fields.get(MAX),
            fields.get(VALID_FOR),
            fields.get(MIN_SPEND),
            fields.get(SERVICE),
            fields.get(WITHIN),
        )

    def _note_currencies(self, fields: Fields) -> None:
        for key in _AMOUNT_KEYS:
            amounts = fields.get(key)
            if isinstance(amounts, Mapping):
                otherwise = NO_MINIMUM if key is MIN_SPEND else NOT_OFFERED
                self.origins.amounts.append(
                    WrittenAmounts(fields.at(key), frozenset(amounts), otherwise)
                )

    def _worth(self, fields: Fields, kind: RemedyKind | None) -> Worth | None:
        written = [key.name for key in _WORTH_KEYS if fields.written(key)]
        if kind in ACTS:
            if written:
                self._bad(fields, f"`{kind}` is worth nothing; delete {listed(written)}")
            return None
        if fields.written(AMOUNT):
            if fields.written(PERCENT_KEY) or fields.written(OF):
                self._bad(fields, "both `amount` and `percent` of something; keep one of them")
                return None
            return self._amount(fields)
        if fields.written(PERCENT_KEY) and fields.written(OF):
            return self._share(fields)
        if kind is not None:
            needed = (
                "`percent` and `of`" if written and not fields.written(PER) else "what it is worth"
            )
            self._bad(fields, f"`{kind}` needs {needed}: write `percent` with `of`, or `amount`")
        return None

    def _amount(self, fields: Fields) -> Worth | None:
        amount = fields.get(AMOUNT)
        if isinstance(amount, Mapping):
            return FixedAmount(amount)
        if amount is None or not self._is_money(amount, fields.at(AMOUNT)):
            return None
        return FactAmount(amount)

    def _share(self, fields: Fields) -> Worth | None:
        percent, of = fields.get(PERCENT_KEY), fields.get(OF)
        if of is None or not (of == REMAINING or self._is_money(of, fields.at(OF))):
            return None
        return None if percent is None else PercentOf(percent, of)

    def _is_money(self, name: str, at: Position) -> bool:
        spec = self.facts.find(name, at, self.problems)
        if spec is not None and spec.type is not FactType.MONEY:
            self.problems.error(
                at,
                Code.WRONG_FACT_TYPE,
                f"`{name}` is of type {spec.type}; what a remedy is worth needs a money fact",
            )
        return spec is not None and spec.type is FactType.MONEY

    def _per(self, fields: Fields) -> Per | None:
        per = fields.get(PER)
        name = None if per is None else per.get(PER_FACT)
        if per is None or name is None:
            return None
        spec = self.facts.find(name, per.at(PER_FACT), self.problems)
        every = per.get(EVERY)
        if spec is None or every is None:
            return None
        if spec.type not in (FactType.DURATION, FactType.INTEGER):
            self.problems.error(
                per.at(PER_FACT),
                Code.WRONG_FACT_TYPE,
                f"`{name}` is of type {spec.type}; `per` needs a duration or an integer",
            )
            return None
        if isinstance(every, int) is not (spec.type is FactType.INTEGER):
            expected = "a whole number" if spec.type is FactType.INTEGER else "a duration"
            self.problems.error(
                per.at(EVERY), Code.WRONG_TYPE, f"`every` must be {expected}, as `{name}` is"
            )
            return None
        return Per(name, every)

    def _check_bounds(self, fields: Fields) -> None:
        low, high = fields.get(MIN) or {}, fields.get(MAX) or {}
        for currency in low.keys() & high.keys():
            if low[currency].minor > high[currency].minor:
                self.problems.error(
                    fields.at(MIN),
                    Code.MIN_ABOVE_MAX,
                    f"`min` {low[currency]} is more than `max` {high[currency]}",
                )

    def _bad(self, fields: Fields, message: str) -> None:
        self.problems.error(fields.node.at, Code.BAD_WORTH, message)
