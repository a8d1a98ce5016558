"""Caps: one row each, scope × window × measure, and the counters they are read from.

Whoever granted it, what was granted in the scope counts. A counter is known by what it
counts (scope key, window, measure, filters, currency) and never by a cap's name, so
renaming a cap gives nobody a fresh allowance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

from policy_engine.core.money import Money, percent_ratio, round_down
from policy_engine.core.times import format_duration


class Scope(StrEnum):
    ORDER = "order"
    CLAIM = "claim"
    """An order and a policy."""
    CUSTOMER = "customer"
    AGENT = "agent"
    PACK = "pack"


SCOPE_ORDER = (Scope.ORDER, Scope.CLAIM, Scope.CUSTOMER, Scope.AGENT, Scope.PACK)
"""The one fixed order in which counters are locked."""


class Measure(StrEnum):
    VALUE = "value"
    COUNT = "count"


class CalendarUnit(StrEnum):
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Rolling:
    """Everything after now − length."""

    length: timedelta

    def __str__(self) -> str:
        return format_duration(self.length)


@dataclass(frozen=True, slots=True)
class Calendar:
    """The calendar day or month of a time zone, its first instant included."""

    unit: CalendarUnit
    zone: str

    def __str__(self) -> str:
        return f"{self.unit} {self.zone}"

    def start(self, now: datetime) -> datetime:
        """The first instant of the period that `now` lies in."""
        local = now.astimezone(ZoneInfo(self.zone))
        day = 1 if self.unit is CalendarUnit.MONTH else local.day
        return _first_instant(local.year, local.month, day, self.zone)

    def end(self, now: datetime) -> datetime:
        """The first instant of the next period."""
        local = now.astimezone(ZoneInfo(self.zone))
        if self.unit is CalendarUnit.MONTH:
            year, month = divmod(local.year * 12 + local.month, 12)
            return _first_instant(year, month + 1, 1, self.zone)
        following = local.date() + timedelta(days=1)
        return _first_instant(following.year, following.month, following.day, self.zone)


Window = Rolling | Calendar | None
"""None: for ever."""


@lru_cache(maxsize=4_096)
def _first_instant(year: int, month: int, day: int, zone: str) -> datetime:
    # Midnight may not exist where clocks go forward at midnight; the round trip through UTC
    # lands on the first instant that does.
    midnight = datetime(year, month, day, tzinfo=ZoneInfo(zone))
    return midnight.astimezone(ZoneInfo("UTC"))


@dataclass(frozen=True, slots=True)
class PercentLimit:
    """`{percent: "100", of: order.total_paid}`, rounded down."""

    percent: Decimal
    of: str

    def minor(self, base_minor: int) -> int:
        numerator, denominator = percent_ratio(self.percent)
        return round_down(base_minor * numerator, denominator)


Limit = int | PercentLimit | Mapping[str, Money]
"""A number of grants, a share of a money fact, or an amount a currency."""


@dataclass(frozen=True, slots=True)
class Cap:
    """One row of caps.yaml. A filter of None lets everything through."""

    name: str
    scope: Scope
    measure: Measure
    limit: Limit
    window: Window = None
    roles: frozenset[str] | None = None
    kinds: frozenset[str] | None = None
    policies: frozenset[str] | None = None

    def holds_for(self, role: str, kind: str, policy: str) -> bool:
        """Does this cap bound what `role` gives of `kind` under `policy`?"""
        return (
            (self.roles is None or role in self.roles)
            and (self.kinds is None or kind in self.kinds)
            and (self.policies is None or policy in self.policies)
        )


@dataclass(frozen=True, slots=True)
class CounterKey:
    """What one counter counts. `key` is the id of the scope: (order,), (order, policy), …, ()."""

    scope: Scope
    key: tuple[str, ...]
    window: Window
    measure: Measure
    kinds: tuple[str, ...] | None
    policies: tuple[str, ...] | None
    currency: str | None
    """None for a count, which counts grants of any currency."""


@dataclass(frozen=True, slots=True)
class ScopeIds:
    """Who and what a decision or grant is about."""

    order: str
    customer: str
    agent: str


def counter_key(cap: Cap, ids: ScopeIds, policy: str, currency: str) -> CounterKey:
    """The counter that a cap is read from, for one order in one currency under one policy."""
    match cap.scope:
        case Scope.ORDER:
            key: tuple[str, ...] = (ids.order,)
        case Scope.CLAIM:
            key = (ids.order, policy)
        case Scope.CUSTOMER:
            key = (ids.customer,)
        case Scope.AGENT:
            key = (ids.agent,)
        case Scope.PACK:
            key = ()
    return CounterKey(
        cap.scope,
        key,
        cap.window,
        cap.measure,
        _sorted(cap.kinds),
        _sorted(cap.policies),
        currency if cap.measure is Measure.VALUE else None,
    )


@lru_cache(maxsize=4_096)
def _sorted(names: frozenset[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(sorted(names))
