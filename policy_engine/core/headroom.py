"""Caps as they stand for one decision: limit, used, headroom, and when it comes back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from policy_engine.core.authority import Bounds
from policy_engine.core.caps import (
    Calendar,
    Cap,
    CounterKey,
    PercentLimit,
    Rolling,
    Scope,
    ScopeIds,
    counter_key,
)
from policy_engine.core.decision import CapReading
from policy_engine.core.entitlement import SHIPPING_SHARE
from policy_engine.core.factbase import FactBase
from policy_engine.core.facts import SHIPPING, Missing
from policy_engine.core.money import Money, in_currency
from policy_engine.core.policy import Pack, Role
from policy_engine.core.ports import Usage, Used


def scoped_caps(
    pack: Pack, roles: Sequence[Role], policies: Iterable[str]
) -> list[tuple[Cap, str | None]]:
    """The caps that may bound any of the roles under any of the policies, in file order.

    A cap of scope claim stands once for each policy; the others with None.
    """
    names = {role.name for role in roles}
    concerned = sorted(set(policies))
    found: list[tuple[Cap, str | None]] = []
    for cap in pack.caps:
        under = [policy for policy in concerned if cap.policies is None or policy in cap.policies]
        if not under or (cap.roles is not None and not cap.roles & names):
            continue
        if cap.scope is Scope.CLAIM:
            found += [(cap, policy) for policy in under]
        else:
            found.append((cap, None))
    return found


class ScopedCaps:
    """`scoped_caps` of some roles and policies, made ready once for many decisions."""

    def __init__(self, pack: Pack, roles: Sequence[Role], policies: Iterable[str]) -> None:
        self.caps = tuple(scoped_caps(pack, roles, policies))
        self.percentages = tuple(cap for cap, _ in self.caps if isinstance(cap.limit, PercentLimit))
        self.bounds: Bounds = {}
        """Filled by `Walk`, whose readings are of these caps in this order."""
        keys = self.keys(ScopeIds("", "", ""), "")
        self._distinct = [at for at, key in enumerate(keys) if key not in keys[:at]]

    def keys(self, ids: ScopeIds, currency: str) -> list[CounterKey]:
        """The counter of each cap."""
        return [counter_key(cap, ids, policy or "", currency) for cap, policy in self.caps]

    def distinct(self, keys: Sequence[CounterKey]) -> tuple[CounterKey, ...]:
        """Each of the caps' counters once, in the order of the caps; as `counters_of`."""
        return tuple([keys[at] for at in self._distinct])


def counters_of(
    caps: Iterable[tuple[Cap, str | None]], ids: ScopeIds, currency: str
) -> tuple[CounterKey, ...]:
    """Each counter once, in the order of the caps."""
    keys = (counter_key(cap, ids, policy or "", currency) for cap, policy in caps)
    return tuple(dict.fromkeys(keys))


def cap_readings(
    caps: Iterable[tuple[Cap, str | None]], ids: ScopeIds, facts: FactBase, usage: Usage
) -> tuple[CapReading, ...]:
    caps = tuple(caps)
    currency = facts.request.currency
    keys = [counter_key(cap, ids, policy or "", currency) for cap, policy in caps]
    return readings_of(caps, keys, facts, usage)


def readings_of(
    caps: Iterable[tuple[Cap, str | None]],
    keys: Iterable[CounterKey],
    facts: FactBase,
    usage: Usage,
) -> tuple[CapReading, ...]:
    """The caps as they stand; `keys` are their counters, one for each."""
    currency = facts.request.currency
    readings: list[CapReading] = []
    for (cap, policy), key in zip(caps, keys, strict=True):
        used = usage.used.get(key, _NOTHING)
        limit = _limit(cap, facts, currency)
        headroom = max(0, limit - used.amount) if limit is not None else 0
        resets_at = _resets_at(cap, used, facts.as_of)
        readings.append(CapReading(cap, policy, limit, used.amount, headroom, resets_at))
    return tuple(readings)


_NOTHING = Used()


def _limit(cap: Cap, facts: FactBase, currency: str) -> int | None:
    """Minor units or a number; None where the cap has none in this currency, or it is unknown."""
    if isinstance(cap.limit, int):
        return cap.limit
    if isinstance(cap.limit, PercentLimit):
        base = facts.money_minor(cap.limit.of)
        return None if isinstance(base, Missing) else cap.limit.minor(base)
    return in_currency(cap.limit, currency)


def _resets_at(cap: Cap, used: Used, now: datetime) -> datetime | None:
    if isinstance(cap.window, Calendar):
        return cap.window.end(now)
    if isinstance(cap.window, Rolling) and used.oldest_at is not None:
        return used.oldest_at + cap.window.length
    return None


def line_room(facts: FactBase, usage: Usage) -> dict[str | None, int]:
    """What was paid for each line and for the shipping, less the money back so far.

    A line whose price is unknown has no room.
    """
    back = usage.money_back
    room: dict[str | None, int] = {}
    for line in facts.request.lines:
        paid = line.paid.minor if isinstance(line.paid, Money) else 0
        room[line.id] = max(0, paid - back.get(line_key(line.id), 0))
    shipping = facts.money_minor("order.shipping_paid")
    paid = 0 if isinstance(shipping, Missing) else shipping
    room[SHIPPING_SHARE] = max(0, paid - back.get(SHIPPING, 0))
    return room


def line_key(line: str | None) -> str:
    """The name under which money back on a line (None: the shipping) is counted."""
    return SHIPPING if line is SHIPPING_SHARE else f"line:{line}"
