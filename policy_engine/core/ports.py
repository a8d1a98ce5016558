"""What the core asks of the outside: a matcher, and what has been granted so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from policy_engine.core.caps import CounterKey
from policy_engine.core.conditions import Formula


@dataclass(frozen=True, slots=True)
class RuleBook:
    """The conditions of one policy, or of one layer of derived facts: rule id → formula.

    The formulas name comparisons by number; a matcher never sees a caller's value.
    """

    name: str
    rules: Mapping[str, Formula]
    exclusive: tuple[int, ...] = ()
    """Bit sets of comparison numbers; in none of them is more than one comparison true."""


class Network(Protocol):
    """One rule book made ready. Safe to call from several threads."""

    def match(self, truth: Mapping[int, bool]) -> Mapping[str, bool]:
        """Comparison number → outcome (unknown ones left out) in, rule id → outcome out.

        A rule whose outcome is unknown is left out.
        """
        ...

    def close(self) -> None:
        """Give back what the network holds; it is not called again."""
        ...


class Matcher(Protocol):
    """Turns rule books into networks. `name` goes into every record."""

    @property
    def name(self) -> str: ...

    def prepare(self, book: RuleBook) -> Network: ...


@dataclass(frozen=True, slots=True)
class Used:
    """What a counter holds: minor units or a number of grants, in its window now."""

    amount: int = 0
    oldest_at: datetime | None = None
    """When the oldest entry that still counts was made; tells when a rolling window eases."""


@dataclass(frozen=True, slots=True)
class UsageQuestion:
    """Everything one decision needs to know of the past, asked once."""

    counters: tuple[CounterKey, ...]
    order_id: str
    evidence: tuple[tuple[str, str], ...]
    """(kind, reference) pairs that the caller provides."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The answer. A counter that is not in `used` has used nothing."""

    used: Mapping[CounterKey, Used] = field(default_factory=dict)
    money_back: Mapping[str, int] = field(default_factory=dict)
    """Money already given back on this order in minor units, by line id or `shipping_key`."""
    spent_evidence: frozenset[tuple[str, str]] = frozenset()
    """Those of the asked (kind, reference) pairs that already served another order."""


class UsagePort(Protocol):
    def read(self, question: UsageQuestion) -> Usage: ...
