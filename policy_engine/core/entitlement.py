"""What the rules give before any limit: each remedy's worth, and the lines it falls on.

A remedy is computed exactly and rounded once. Its shares say how much of it falls on
which line (or on the shipping), split by largest remainder over what was paid.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from policy_engine.core.decision import Share
from policy_engine.core.factbase import FactBase
from policy_engine.core.facts import UNKNOWN, Missing
from policy_engine.core.money import (
    MAX_MINOR,
    Money,
    MoneyError,
    in_currency,
    percent_ratio,
    round_half_up,
    split,
)
from policy_engine.core.policy import (
    MONEY_BACK,
    REMAINING,
    FactAmount,
    FixedAmount,
    Floor,
    Per,
    PercentOf,
    RemedyRule,
)
from policy_engine.core.times import whole_periods

SHIPPING_SHARE = None
"""The `line` of a share that falls on the shipping."""


@dataclass(frozen=True, slots=True)
class RemedySource:
    """A remedy rule with where it comes from: `policy/plan` or `policy/add_on`."""

    rule: RemedyRule
    source: str
    policy: str
    floor: Floor | None = None


@dataclass(frozen=True, slots=True)
class Entitled:
    """One remedy's worth in minor units of the order's currency, before limits."""

    of: RemedySource
    minor: int
    shares: tuple[Share, ...]


@dataclass(slots=True)
class Entitlement:
    """The remedies of a plan, worked out in order, and what kept any from having a worth."""

    facts: FactBase
    remedies: list[Entitled] = field(default_factory=list)
    lacks: set[str] = field(default_factory=set)
    """What a caller would have to send."""
    lacks_currency: bool = False

    def add(self, sources: Iterable[RemedySource]) -> None:
        """Work out and append remedies: all of them or, when something lacks, none."""
        worked = list(self.remedies)
        complete = True
        for source in sources:
            shares = self._shares_base(source.rule, worked)
            minor = self._minor(source.rule, worked)
            if minor is None or shares is None:
                complete = False
                continue
            worked.append(Entitled(source, minor, _shared(minor, shares)))
        if complete:
            self.remedies = worked

    def _minor(self, rule: RemedyRule, before: list[Entitled]) -> int | None:
        """The worth; None (and why, in `lacks` or `lacks_currency`) when it has none."""
        currency = self.facts.request.currency
        base = self._base(rule, before)
        periods = self._periods(rule.per)
        bounds = (rule.round_to, rule.min, rule.max)
        unit, least, most = (
            None if amounts is None else in_currency(amounts, currency) for amounts in bounds
        )
        no_amount = base is _NO_AMOUNT or any(
            amounts is not None and minor is None
            for amounts, minor in zip(bounds, (unit, least, most), strict=True)
        )
        self.lacks_currency = self.lacks_currency or no_amount
        if no_amount or base is None or periods is None:
            return None
        numerator, denominator = base
        unit = unit or 1
        minor = round_half_up(numerator * periods, denominator * unit) * unit
        minor = max(minor, least) if least is not None else minor
        minor = min(minor, most) if most is not None else minor
        if minor > MAX_MINOR:
            raise MoneyError(f"a {rule.kind} would be larger than the engine counts")
        return minor

    def _base(self, rule: RemedyRule, before: list[Entitled]) -> tuple[int, int] | None:
        """The exact worth of one period as a ratio of minor units."""
        match rule.worth:
            case None:
                return 0, 1
            case FixedAmount(amounts):
                fixed = in_currency(amounts, self.facts.request.currency)
                return _NO_AMOUNT if fixed is None else (fixed, 1)
            case FactAmount(fact):
                minor = self._money(fact)
                return None if minor is None else (minor, 1)
            case PercentOf(percent, of):
                minor = self._remaining(before) if of == REMAINING else self._money(of)
                numerator, denominator = percent_ratio(percent)
                return None if minor is None else (minor * numerator, denominator)

    def _money(self, fact: str) -> int | None:
        minor = self.facts.money_minor(fact)
        if not isinstance(minor, Missing):
            return minor
        if isinstance(self.facts.value(fact), Money):
            self.lacks_currency = True
        self.lacks.update(self.facts.lacking(fact))
        return None

    def _remaining(self, before: list[Entitled]) -> int | None:
        goods = self._money("order.goods_paid")
        if goods is None:
            return None
        # Of the whole amount, also where no line was paid that it could be split over.
        back = sum(each.minor for each in before if each.of.rule.kind in MONEY_BACK)
        return max(0, goods - back)

    def _periods(self, per: Per | None) -> int | None:
        if per is None:
            return 1
        value = self.facts.value(per.fact)
        if value is UNKNOWN:
            self.lacks.update(self.facts.lacking(per.fact))
            return None
        if isinstance(value, Missing):
            return 0
        if isinstance(per.every, int):
            assert isinstance(value, int)
            return max(0, value // per.every)
        return whole_periods(value, per.every)  # type: ignore[arg-type]

    def _shares_base(
        self, rule: RemedyRule, before: list[Entitled]
    ) -> dict[str | None, int] | None:
        """What the remedy is spread over: line (None: shipping) → weight; {} concerns no line."""
        of = _named_base(rule)
        if of not in _LINE_FACTS and rule.kind not in MONEY_BACK:
            return {}
        if of == "order.shipping_paid":
            return self._with_shipping({})
        all_lines = of in ("order.goods_paid", "order.total_paid", REMAINING)
        lines = self.facts.request.lines if all_lines else self.facts.incident_lines()
        if any(line.paid is UNKNOWN for line in lines):
            self.lacks.add("order.lines.paid")
            return None
        weights: dict[str | None, int] = {
            line.id: line.paid.minor if isinstance(line.paid, Money) else 0 for line in lines
        }
        if of == REMAINING:
            back = _back_by_line(before)
            weights = {line: max(0, paid - back.get(line, 0)) for line, paid in weights.items()}
        return self._with_shipping(weights) if of == "order.total_paid" else weights

    def _with_shipping(self, weights: dict[str | None, int]) -> dict[str | None, int] | None:
        shipping = self._money("order.shipping_paid")
        if shipping is None:
            return None
        if shipping or not weights:
            weights[SHIPPING_SHARE] = shipping
        return weights


_NO_AMOUNT = (0, 0)
"""Marks a worth that has no amount in the order's currency."""

_LINE_FACTS = frozenset(
    {
        "order.goods_paid",
        "order.total_paid",
        "order.shipping_paid",
        "incident.lines_paid",
        REMAINING,
    }
)


def _back_by_line(before: list[Entitled]) -> dict[str | None, int]:
    back: dict[str | None, int] = {}
    for each in before:
        if each.of.rule.kind in MONEY_BACK:
            for share in each.shares:
                back[share.line] = back.get(share.line, 0) + share.minor
    return back


def _named_base(rule: RemedyRule) -> str | None:
    match rule.worth:
        case PercentOf(_, of):
            return of
        case FactAmount(fact):
            return fact
        case _:
            return None


def _shared(minor: int, weights: dict[str | None, int]) -> tuple[Share, ...]:
    parts = split(minor, list(weights.values()))
    return tuple(Share(line, part) for line, part in zip(weights, parts, strict=True))
