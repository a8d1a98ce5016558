"""The evaluation: one request, one pack, what was granted so far → one decision.

matcher → entitlements → caps → authority, each in a room of its own. Nothing here decides
what a customer is owed; it only puts the rooms in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from policy_engine.core.authority import Give, Obstacle, Walk, wanted
from policy_engine.core.candidates import (
    Candidate,
    EvidenceAtHand,
    MatchedPolicy,
    NotDated,
    candidates,
    pick_version,
)
from policy_engine.core.caps import CounterKey, PercentLimit, ScopeIds
from policy_engine.core.compiled import CompiledPack, Matching, derive
from policy_engine.core.decision import (
    CapReading,
    Decision,
    DecisionOutcome,
    NotOffered,
    OfferedPlan,
    Refusal,
)
from policy_engine.core.entitlement import RemedySource
from policy_engine.core.factbase import FactBase
from policy_engine.core.facts import UNKNOWN, Value
from policy_engine.core.guidance import guidance
from policy_engine.core.headroom import line_room, readings_of
from policy_engine.core.late import Late
from policy_engine.core.offers import offered_plan, outcome_of, ranked
from policy_engine.core.policy import ACTS, Pack
from policy_engine.core.ports import Matcher, Usage, UsagePort, UsageQuestion
from policy_engine.core.request import DecisionRequest


class Engine:
    """A compiled pack that answers requests. Safe to use from several threads."""

    semantics = 1
    """The number of these rules. A change of what a decision comes to takes the next number and
    keeps the evaluator of this one (`core.semantics`), so that old records evaluate to the same
    bytes."""

    def __init__(self, pack: Pack, matcher: Matcher) -> None:
        self.pack = pack
        self._compiled = CompiledPack(pack, matcher)

    @property
    def matcher_name(self) -> str:
        return self._compiled.matcher_name

    def close(self) -> None:
        self._compiled.close()

    def evaluate(self, request: DecisionRequest, as_of: datetime, usage: UsagePort) -> Decision:
        """Decide. `usage` is asked once; `as_of` is aware.

        The agent's role must be one of the pack's. Raises MoneyError when a remedy would be
        larger than the engine counts.
        """
        return _Evaluation(self._compiled, request, as_of).decide(usage)


class _Evaluation:
    def __init__(self, compiled: CompiledPack, request: DecisionRequest, as_of: datetime) -> None:
        self.pack = compiled.pack
        self.request = request
        self.facts = FactBase(compiled.pack.facts, request, as_of)
        self.matching = Matching(self.facts)
        self.derived: Mapping[str, Value] = derive(compiled, self.facts, self.matching)
        self.roles = compiled.chain(request.agent.role)
        self.ids = ScopeIds(request.order_id, request.customer_id, request.agent.id)
        self.matched: list[MatchedPolicy] = []
        self.not_dated: list[NotDated] = []
        for versions in compiled.concerning(request.incident_types):
            version = pick_version(versions, self.facts)
            if isinstance(version, NotDated):
                self.not_dated.append(version)
            elif version is not None:
                matched = self.matching.match(version.section)
                self.matched.append(MatchedPolicy(version, matched))
        self.scoped = compiled.scoped(
            request.agent.role, tuple([each.policy.id for each in self.matched])
        )

    def decide(self, usage_port: UsagePort) -> Decision:
        counters = self.scoped.keys(self.ids, self.request.currency)
        usage = usage_port.read(self._question(self.scoped.distinct(counters)))
        readings = readings_of(self.scoped.caps, counters, self.facts, usage)
        found, add_ons_lack = candidates(
            self.matched,
            self.facts,
            self.matching,
            EvidenceAtHand(self.facts, usage.spent_evidence),
            self._unknown_limits,
        )
        offered = self._offers(found, readings, usage)
        plans, beyond = ranked(offered, self.pack.settings.offer_at_most)
        not_offered = self._not_offered(found, beyond)
        facts_needed = add_ons_lack.union(
            *(each.lacks for each in self.not_dated),
            *({*each.lacks, *each.lacks_evidence} for each in found),
        )
        return self._decision(plans, not_offered, found, tuple(sorted(facts_needed)), readings)

    def _question(self, counters: tuple[CounterKey, ...]) -> UsageQuestion:
        references = {
            (item.kind, item.reference) for item in self.request.evidence if item.reference
        }
        return UsageQuestion(counters, self.request.order_id, tuple(sorted(references)))

    def _unknown_limits(self, remedies: Iterable[RemedySource]) -> set[str]:
        """What would settle the percentage limits of the caps over these remedies."""
        unknown: set[str] = set()
        capped = [each for each in remedies if each.floor is None]
        for cap in self.scoped.percentages:
            assert isinstance(cap.limit, PercentLimit)
            if self.facts.money_minor(cap.limit.of) is not UNKNOWN:
                continue
            bounds = any(
                cap.holds_for(role.name, each.rule.kind, each.policy)
                for each in capped
                for role in self.roles
            )
            if bounds:
                unknown.update(self.facts.lacking(cap.limit.of) or (cap.limit.of,))
        return unknown

    def _offers(
        self, found: list[Candidate], readings: tuple[CapReading, ...], usage: Usage
    ) -> list[OfferedPlan]:
        """The plans somebody can give something of; sets the refusal of the others."""
        room = line_room(self.facts, usage)
        offered: list[OfferedPlan] = []
        for candidate in found:
            if candidate.refusal is not None:
                continue
            walk = Walk(candidate.remedies, readings, room, self.scoped.bounds)
            actor = walk.give(self.roles[0])
            acts = any(each.of.rule.kind in ACTS for each in candidate.remedies)
            if not acts and actor.size[0] == 0 and walk.unlimited() == 0:
                candidate.refusal = Refusal.NOTHING_LEFT
                continue
            gives = [actor]
            if not walk.gives_all(actor):
                gives += [walk.give(role) for role in self.roles[1:]]
            want = wanted(gives)
            if not want.anything:
                candidate.refusal = _refusal(gives)
                continue
            offered.append(offered_plan(candidate, gives[0], want, self.facts))
        return self._without_needless_fallbacks(found, offered)

    def _without_needless_fallbacks(
        self, found: list[Candidate], offered: list[OfferedPlan]
    ) -> list[OfferedPlan]:
        fallbacks = {each.id: each for each in found if each.plan.fallback}
        served = {plan.policy for plan in offered if plan.plan not in fallbacks}
        kept: list[OfferedPlan] = []
        for plan in offered:
            if plan.plan in fallbacks and plan.policy in served:
                fallbacks[plan.plan].refusal = Refusal.FALLBACK_NOT_NEEDED
            else:
                kept.append(plan)
        return kept

    def _not_offered(
        self, found: list[Candidate], beyond: list[OfferedPlan]
    ) -> Sequence[NotOffered]:
        cut = {plan.plan for plan in beyond}
        refused = [
            NotOffered(f"{each.policy}/{plan}", each.policy, each.code, (), each.lacks)
            for each in self.not_dated
            for plan in each.plans
        ]
        for each in found:
            code = Refusal.BEYOND_OFFER_AT_MOST if each.id in cut else each.refusal
            if code is not None:
                lacks = tuple(sorted({*each.lacks, *each.lacks_evidence}))
                refused.append(NotOffered(each.id, each.policy.id, code, each.because, lacks))

        def written() -> tuple[NotOffered, ...]:
            for each in self.matched:
                refused.extend(each.ruled_out(self.matching))
            return tuple(sorted(refused, key=lambda each: each.plan))

        return Late(written)

    def _decision(
        self,
        plans: tuple[OfferedPlan, ...],
        not_offered: Sequence[NotOffered],
        found: list[Candidate],
        facts_needed: tuple[str, ...],
        readings: tuple[CapReading, ...],
    ) -> Decision:
        settings = self.pack.settings
        askable = any(each.lacks_only_facts for each in found) or any(
            each.code is Refusal.FACTS_MISSING for each in self.not_dated
        )
        outcome = outcome_of(plans, askable)
        guided = guidance(settings, self.matched, plans, outcome, self.facts)
        valid_for = settings.offer_valid_for
        channel = self.facts.value("channel")
        lifetime = valid_for.get(str(channel), valid_for["default"])
        return Decision(
            outcome=outcome,
            currency=self.request.currency,
            as_of=self.facts.as_of,
            expires_at=self.facts.as_of + lifetime if plans else None,
            plans=plans,
            not_offered=not_offered,
            facts_needed=facts_needed,
            caps=readings,
            derived=self.derived,
            facts=self.facts.seen(),
            trace=Late(self.matching.trace),
            actions=guided.actions,
            milestones=guided.milestones,
            follow_ups=guided.follow_ups,
            message=guided.message,
            policies=tuple(each.policy.id for each in self.matched),
            reason_codes={each.policy.id: each.policy.reason_code for each in self.matched},
        )


def _refusal(gives: list[Give]) -> Refusal:
    """Why nobody up the chain can give anything of a plan."""
    obstacles = {give.obstacle for give in gives}
    if obstacles == {Obstacle.ROLE}:
        return Refusal.ROLE_FORBIDDEN
    if Obstacle.CURRENCY in obstacles:
        return Refusal.NO_LIMIT_FOR_CURRENCY
    return Refusal.CAP_EXHAUSTED


__all__ = ["DecisionOutcome", "Engine"]
