"""What grants count towards counters: pure sums over what their entries did to the caps.

A class is what a cap counts, without the cap's name, limit and roles. Writing entries, checking
counters and building those of a new class all count by `contributions`, so they can't disagree.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from policy_engine.core.caps import (
    SCOPE_ORDER,
    Calendar,
    CalendarUnit,
    CounterKey,
    Measure,
    Rolling,
    Scope,
    Window,
)
from policy_engine.core.grants import Effect
from policy_engine.core.policy import Pack
from policy_engine.core.times import parse_duration
from policy_engine.ledger.tables import micros

FOR_EVER = 0
"""The period of a counter without a calendar window; also the row that stands for its lock."""


@dataclass(frozen=True, slots=True)
class CounterClass:
    """Every counter that counts the same way. A filter of None lets everything through."""

    scope: Scope
    window: Window
    measure: Measure
    kinds: tuple[str, ...] | None
    policies: tuple[str, ...] | None

    @property
    def described(self) -> str:
        """One form for one class, in words that a person can read."""
        return _text([self.scope, str(self.window or ""), self.measure, self.kinds, self.policies])

    @property
    def id(self) -> str:
        return hashed(self.described)

    @classmethod
    def from_description(cls, text: str) -> CounterClass:
        """The inverse of `described`."""
        scope, window, measure, kinds, policies = json.loads(text)
        return cls(
            Scope(scope),
            _window(window),
            Measure(measure),
            None if kinds is None else tuple(kinds),
            None if policies is None else tuple(policies),
        )

    def takes(self, kind: str, policy: str) -> bool:
        return (self.kinds is None or kind in self.kinds) and (
            self.policies is None or policy in self.policies
        )


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose caps a grant moves. `customer` is a pseudonym."""

    order: str
    customer: str
    agent: str
    currency: str
    remedies: Mapping[str, tuple[str, str]]
    """Remedy id → (kind, policy)."""

    def key(self, of: CounterClass, policy: str) -> CounterKey:
        """The counter of a class that a remedy under `policy` counts towards."""
        match of.scope:
            case Scope.ORDER:
                key: tuple[str, ...] = (self.order,)
            case Scope.CLAIM:
                key = (self.order, policy)
            case Scope.CUSTOMER:
                key = (self.customer,)
            case Scope.AGENT:
                key = (self.agent,)
            case Scope.PACK:
                key = ()
        currency = self.currency if of.measure is Measure.VALUE else None
        return CounterKey(of.scope, key, of.window, of.measure, of.kinds, of.policies, currency)

    def keys(self, classes: Iterable[CounterClass]) -> tuple[CounterKey, ...]:
        """Every counter that this grant could move, each once."""
        found = {
            self.key(each, policy): None
            for each in classes
            for kind, policy in self.remedies.values()
            if each.takes(kind, policy)
        }
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Place:
    """One sum: a counter in one period. `period_us` is FOR_EVER unless its window is calendar."""

    key: CounterKey
    period_us: int = FOR_EVER


def classes_of(pack: Pack) -> tuple[CounterClass, ...]:
    """What the caps of a pack count, each once."""
    found = {
        CounterClass(
            cap.scope,
            cap.window,
            cap.measure,
            None if cap.kinds is None else tuple(sorted(cap.kinds)),
            None if cap.policies is None else tuple(sorted(cap.policies)),
        ): None
        for cap in pack.caps
    }
    return tuple(found)


def class_of(key: CounterKey) -> CounterClass:
    return CounterClass(key.scope, key.window, key.measure, key.kinds, key.policies)


def contributions(
    holder: Holder, effects: Iterable[Effect], classes: Iterable[CounterClass], now: datetime
) -> dict[Place, int]:
    """What one grant's effects come to: minor units, or 1 where the grant counts.

    `effects` are all those of the grant: whether it counts depends on their sum. In a rolling
    window only those of the window that ends `now` are summed.
    """
    known = tuple(effects)
    sums: dict[Place, int] = {}
    for each in classes:
        found: dict[Place, int] = {}
        for effect in known:
            kind, policy = holder.remedies[effect.remedy]
            period_us = _period(each.window, effect.counted_at, now)
            if period_us is None or not each.takes(kind, policy):
                continue
            place = Place(holder.key(each, policy), period_us)
            amount = effect.minor if each.measure is Measure.VALUE else effect.presence
            found[place] = found.get(place, 0) + amount
        for place, amount in found.items():
            sums[place] = amount if each.measure is Measure.VALUE else int(amount > 0)
    return sums


def difference(after: Mapping[Place, int], before: Mapping[Place, int]) -> dict[Place, int]:
    """What changed, where anything did."""
    places = dict.fromkeys((*before, *after))
    changes = {place: after.get(place, 0) - before.get(place, 0) for place in places}
    return {place: change for place, change in changes.items() if change}


def period_of(window: Window, at: datetime) -> int:
    """The period of a counter that `at` lies in."""
    if window is None or isinstance(window, Rolling):
        return FOR_EVER
    return _calendar_start(window, at)


def _period(window: Window, at: datetime, now: datetime) -> int | None:
    """None where a rolling window has left `at` behind."""
    if isinstance(window, Rolling) and at <= now - window.length:
        return None
    return period_of(window, at)


@lru_cache(maxsize=4096)
def _calendar_start(window: Window, at: datetime) -> int:
    assert window is not None and not isinstance(window, Rolling)
    return micros(window.start(at))


@lru_cache(maxsize=16384)
def counter_id(key: CounterKey) -> str:
    """What a counter is stored under: it depends on nothing but what is counted."""
    return hashed(described(key))


def described(key: CounterKey) -> str:
    """A counter in words: scope, key, window, measure, filters, currency."""
    return _text(
        [
            key.scope,
            key.key,
            str(key.window or ""),
            key.measure,
            key.kinds,
            key.policies,
            key.currency,
        ]
    )


def rank(key: CounterKey) -> int:
    """Counters are locked by rank, then by id: the one order that everybody keeps."""
    return SCOPE_ORDER.index(key.scope)


def _window(text: str) -> Window:
    if not text:
        return None
    unit, _, zone = text.partition(" ")
    return Calendar(CalendarUnit(unit), zone) if zone else Rolling(parse_duration(text))


def _text(parts: list[object]) -> str:
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))


def hashed(text: str) -> str:
    """What counters and classes are stored under: a hash of what they count, in words."""
    return hashlib.sha256(text.encode()).hexdigest()
