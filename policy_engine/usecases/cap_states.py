"""What each cap holds: the caps that count a grant, read with what is used of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from policy_engine.core.caps import Cap, CounterKey, Rolling, ScopeIds, counter_key
from policy_engine.core.decision import CapReading
from policy_engine.core.factbase import FactBase
from policy_engine.core.headroom import cap_readings, scoped_caps
from policy_engine.core.policy import Pack
from policy_engine.core.ports import Usage, UsageQuestion
from policy_engine.core.request import DecisionRequest
from policy_engine.ledger.counting import Place
from policy_engine.ledger.usage import LedgerUsage

Kinds = Iterable[tuple[str, str]]
"""(kind, policy) of each remedy."""


@dataclass(frozen=True, slots=True)
class CapStates:
    """The caps that count some remedies, as they were read and as they will be."""

    pack: Pack
    request: DecisionRequest
    at: datetime
    caps: tuple[tuple[Cap, str | None], ...]

    @classmethod
    def of(cls, pack: Pack, request: DecisionRequest, at: datetime, kinds: Kinds) -> CapStates:
        remedies = tuple(kinds)
        every = scoped_caps(pack, tuple(pack.roles.values()), {policy for _, policy in remedies})
        counting = tuple((cap, under) for cap, under in every if _counts(cap, under, remedies))
        return cls(pack, request, at, counting)

    @property
    def counters(self) -> tuple[CounterKey, ...]:
        """The counter of each of the caps, in their order."""
        return tuple(
            counter_key(cap, self._ids, under or "", self.request.currency)
            for cap, under in self.caps
        )

    def question(self) -> UsageQuestion:
        counters = tuple(dict.fromkeys(self.counters))
        return UsageQuestion(counters, self.request.order_id, ())

    def readings(self, usage: Usage) -> tuple[CapReading, ...]:
        facts = FactBase(self.pack.facts, self.request, self.at)
        return cap_readings(self.caps, self._ids, facts, usage)

    @property
    def _ids(self) -> ScopeIds:
        request = self.request
        return ScopeIds(request.order_id, request.customer_id, request.agent.id)


class GrantUsage:
    """The usage that a grant meets: with the evidence it brings, without what it holds itself."""

    def __init__(
        self,
        ledger: LedgerUsage,
        also: Sequence[CounterKey] = (),
        evidence: tuple[tuple[str, str], ...] = (),
        own: Mapping[Place, int] | None = None,
        own_lines: Mapping[str, int] | None = None,
    ) -> None:
        self.ledger = ledger
        self._also = also
        self._evidence = evidence
        self._own = own or {}
        self._own_lines = own_lines or {}
        self.found = Usage()
        """What was read, the grant's own part included."""

    def read(self, question: UsageQuestion) -> Usage:
        counters = tuple(dict.fromkeys((*question.counters, *self._also)))
        self.found = self.ledger.read(replace(question, counters=counters, evidence=self._evidence))
        less = {place: -amount for place, amount in self._own.items()}
        without = self.ledger.after(self.found, less)
        lines = {
            line: minor - self._own_lines.get(line, 0) for line, minor in without.money_back.items()
        }
        return replace(without, money_back=lines)


def stored_changes(changes: Mapping[Place, int]) -> dict[Place, int]:
    """Those of counters that are kept; what rolls is summed from the movements."""
    return {
        place: change
        for place, change in changes.items()
        if not isinstance(place.key.window, Rolling)
    }


def _counts(cap: Cap, under: str | None, remedies: tuple[tuple[str, str], ...]) -> bool:
    return any(
        (cap.kinds is None or kind in cap.kinds)
        and (cap.policies is None or policy in cap.policies)
        and under in (None, policy)
        for kind, policy in remedies
    )
