"""What would change a decision: of a plan to be had, to be had in full, of an add-on to join."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from policy_engine.core.authority import LineRoom, Walk
from policy_engine.core.caps import Measure
from policy_engine.core.decision import (
    AuthorityStatus,
    CapReading,
    NotOffered,
    OfferedPlan,
    Refusal,
    RemedyStatus,
)
from policy_engine.core.entitlement import Entitled, RemedySource
from policy_engine.core.facts import value_text
from policy_engine.core.headroom import line_room
from policy_engine.core.policy import WHOLE_ONLY, AddOn, Policy
from policy_engine.core.ports import Usage
from policy_engine.core.times import format_timestamp
from policy_engine.packs.retold import Retold, evidence_name, scope_text


class Reasons:
    """Sentences about one decision, for a person."""

    def __init__(self, retold: Retold) -> None:
        self._retold = retold
        self._paid = line_room(retold.facts, Usage())
        self._room = line_room(retold.facts, Usage(money_back=retold.money_back))
        chain = retold.pack.approver_chain(retold.request.agent.role)
        self._roles = [retold.pack.roles[name] for name in chain]

    def for_more(self, plan: OfferedPlan) -> Iterator[str]:
        """What would let the agent give all of an offered plan."""
        yield from (self._cap(reading) for reading in self._binding(plan))
        if plan.status is not AuthorityStatus.ALLOWED and plan.approver is not None:
            what = self._money(plan.pending) if plan.pending else "what is pending"
            yield f"`{plan.approver}` can approve {what} more"
        if plan.uncovered:
            yield from self._uncovered(plan)

    def for_refused(self, refused: NotOffered) -> Iterator[str]:
        """What would let somebody give something of a plan that is not offered."""
        match refused.code:
            case Refusal.CONDITION_FALSE:
                yield from self._conditions(refused)
            case Refusal.FACTS_MISSING | Refusal.EVIDENCE_MISSING:
                yield from self._sendable(refused.lacks)
            case Refusal.CAP_EXHAUSTED | Refusal.NO_LIMIT_FOR_CURRENCY:
                yield from (self._cap(reading) for reading in self._shut(refused))
            case Refusal.NOTHING_LEFT:
                yield self._nothing_left(refused)
            case _:
                yield self._plainly(refused.code)

    def for_add_on(self, policy: Policy, add_on: AddOn) -> Iterator[str]:
        """Why an add-on whose condition isn't false joins no plan."""
        outcome = self._retold.outcome(add_on.when)
        if outcome is False:
            return
        source = f"{policy.id}/{add_on.name}"
        rules = [RemedySource(rule, source, policy.id) for rule in add_on.remedies]
        worth = self._retold.worth(rules)
        unproven = [
            evidence_name(need)
            for need in (*policy.evidence, *add_on.evidence)
            if not self._retold.proves(need)
        ]
        lacks = {*self._retold.lacking(add_on.when), *worth.lacks, *unproven}
        yield from self._sendable(sorted(lacks & set(self._retold.decision.facts_needed)))
        if worth.lacks_currency or (outcome is None and not lacks):
            yield self._plainly(Refusal.NO_AMOUNT_FOR_CURRENCY)
        elif outcome and not lacks:
            yield "it stacks on a plan, and no plan that takes add-ons is offered"

    def _conditions(self, refused: NotOffered) -> Iterator[str]:
        for because in refused.because:
            fact, observed = because.comparison.fact, value_text(because.observed) or "null"
            required = because.comparison.required(self._retold.request.currency)
            negation = "not " if because.outcome else ""
            yield f"`{fact}` is {observed}; required: {negation}{required}"

    def _sendable(self, lacks: Iterable[str]) -> Iterator[str]:
        for each in lacks:
            yield f"send `{each}`: {self._retold.ask(each)}"

    def _binding(self, plan: OfferedPlan) -> Iterator[CapReading]:
        """The binding cap, as it stands over the remedies that it may have cut."""
        role = self._roles[0].name
        cut = [each for each in plan.remedies if each.status is not RemedyStatus.ALLOWED]
        for reading in self._retold.decision.caps:
            if reading.cap.name == plan.binding_cap and any(
                _holds(reading, role, RemedySource(each.rule, each.source, each.policy, each.floor))
                for each in cut
            ):
                yield reading

    def _shut(self, refused: NotOffered) -> Iterator[CapReading]:
        """The caps that leave no role of the chain anything to give of a plan."""
        shut: set[int] = set()
        for role in self._roles:
            for entitled in self._worth_of(refused.plan):
                kind = entitled.of.rule.kind
                if not role.may_issue(kind):
                    break
                bounding = {
                    at
                    for at, reading in enumerate(self._retold.decision.caps)
                    if _holds(reading, role.name, entitled.of)
                    and reading.headroom < _least(reading, self._most(entitled), kind)
                }
                shut |= bounding
                if bounding and kind in WHOLE_ONLY:
                    break
        return (self._retold.decision.caps[at] for at in sorted(shut))

    def _worth_of(self, name: str) -> Sequence[Entitled]:
        policy, plan = self._retold.plans[name]
        rules = (RemedySource(rule, name, policy.id, plan.floor) for rule in plan.remedies)
        return self._retold.worth(rules).remedies

    def _most(self, entitled: Entitled) -> int:
        """What the lines concerned still bear of a remedy."""
        return Walk([entitled], (), self._room).unlimited()

    def _uncovered(self, plan: OfferedPlan) -> Iterator[str]:
        """Why nobody gives the rest: it was never paid, it was given back already, or caps."""
        rules = (
            RemedySource(each.rule, each.source, each.policy, each.floor) for each in plan.remedies
        )
        remedies = self._retold.worth(rules).remedies
        bearable = _unlimited(remedies, self._paid)
        unpaid = plan.entitled - bearable
        returned = bearable - _unlimited(remedies, self._room)
        if unpaid:
            yield f"{self._money(unpaid)} of it is more than was paid"
        if returned:
            yield (
                f"{self._returned()} was already given back on this order, "
                f"which leaves {self._money(returned)} less to give"
            )
        rest = plan.uncovered - unpaid - returned
        if rest > 0:
            yield f"nobody up the approver chain can give the other {self._money(rest)}"

    def _nothing_left(self, refused: NotOffered) -> str:
        remedies = self._worth_of(refused.plan)
        if not sum(each.minor for each in remedies):
            return "it comes to zero"
        if not _unlimited(remedies, self._paid):
            return "nothing was paid that could be given back"
        return f"all that was paid for it is already given back ({self._returned()})"

    def _returned(self) -> str:
        return self._money(sum(self._retold.money_back.values()))

    def _plainly(self, code: Refusal) -> str:
        currency = self._retold.request.currency
        return {
            Refusal.NOT_EFFECTIVE: "no version of the policy is in force at that time",
            Refusal.NO_AMOUNT_FOR_CURRENCY: f"the policy names no amount in {currency}",
            Refusal.ROLE_FORBIDDEN: "no role up the approver chain may issue its first remedy",
            Refusal.FALLBACK_NOT_NEEDED: "it is kept for when no other plan can be had",
            Refusal.BEYOND_OFFER_AT_MOST: "better plans already fill `offer_at_most`",
        }.get(code, code.value)

    def _cap(self, reading: CapReading) -> str:
        cap = reading.cap
        if reading.limit is None:
            currency = self._retold.request.currency
            return f"cap `{cap.name}` has no limit in {currency}, so it allows nothing"
        headroom, limit, used = (
            self._retold.amount(reading, each)
            for each in (reading.headroom, reading.limit, reading.used)
        )
        at = reading.resets_at
        resets = "" if at is None else f", eases at {format_timestamp(at)}"
        scope = scope_text(reading)
        return f"cap `{cap.name}` ({scope}) leaves {headroom} of {limit}, {used} used{resets}"

    def _money(self, minor: int) -> str:
        return self._retold.money(minor)


def _unlimited(remedies: Sequence[Entitled], room: LineRoom) -> int:
    """What could be given without caps and roles."""
    return Walk(remedies, (), room).unlimited()


def _holds(reading: CapReading, role: str, of: RemedySource) -> bool:
    """Does this cap, as read for its policy, bound what the role gives of the remedy?"""
    return (
        of.floor is None
        and reading.policy in (None, of.policy)
        and reading.cap.holds_for(role, of.rule.kind, of.policy)
    )


def _least(reading: CapReading, most: int, kind: str) -> int:
    """The least headroom with which something of the remedy is given."""
    if reading.cap.measure is Measure.COUNT:
        return 1
    return most if kind in WHOLE_ONLY else min(most, 1)
