"""From matched rules to candidate plans: versions, conditions, evidence and entitlements.

Everything about a plan that does not depend on what was granted before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from policy_engine.core.compiled import (
    CompiledPolicy,
    Matched,
    Matching,
    add_on_rule,
    lacking,
    plan_rule,
)
from policy_engine.core.conditions import Outcome
from policy_engine.core.decision import Because, NotOffered, Refusal
from policy_engine.core.entitlement import Entitled, Entitlement, RemedySource
from policy_engine.core.factbase import FactBase
from policy_engine.core.policy import AddOn, DateBy, EvidenceNeed, Plan, Policy

REPORTED_AT = "incident.reported_at"


class MatchedPolicy:
    """The effective version of a policy that applies, with the outcomes of its rules."""

    __slots__ = ("compiled", "matched", "policy")

    def __init__(self, compiled: CompiledPolicy, matched: Matched) -> None:
        self.compiled = compiled
        self.matched = matched
        self.policy = compiled.policy

    def outcome(self, rule: str) -> Outcome:
        """A rule without a condition is true."""
        if rule not in self.compiled.section.positions:
            return True
        return self.matched.outcome(rule)

    def because(self, rule: str, matching: Matching) -> tuple[Because, ...]:
        """The comparisons that make the rule's outcome what it is."""
        return matching.because(self.compiled.section, self.matched, rule)

    def could_hold(self, rule: str, matching: Matching) -> bool:
        """Could an unknown rule come to be true by facts that a caller can send?"""
        return matching.could_hold(self.compiled.section, self.matched, rule)

    def ruled_out(self, matching: Matching) -> Iterator[NotOffered]:
        """The plans whose condition is false."""
        policy = self.policy
        for at in self.compiled.ruled_out(self.matched):
            because = self.because(plan_rule(policy.plans[at].name), matching)
            id_ = self.compiled.ids[at]
            yield NotOffered(id_, policy.id, Refusal.CONDITION_FALSE, because)


@dataclass(frozen=True, slots=True)
class NotDated:
    """A policy that applies but of which no version can be picked."""

    policy: str
    plans: tuple[str, ...]
    code: Refusal
    lacks: tuple[str, ...] = ()


@dataclass(slots=True)
class Candidate:
    """A plan before caps. `refusal` is set once something rules it out."""

    id: str
    """`policy/plan`."""
    policy: Policy
    plan: Plan
    because: tuple[Because, ...]
    remedies: list[Entitled] = field(default_factory=list)
    lacks: set[str] = field(default_factory=set)
    """Facts a caller could send."""
    lacks_evidence: tuple[str, ...] = ()
    lacks_currency: bool = False
    refusal: Refusal | None = None

    def settle(self) -> None:
        """Name the first refusal that holds, in the contract's order."""
        if self.refusal is not None:
            return
        if self.lacks:
            self.refusal = Refusal.FACTS_MISSING
        elif self.lacks_evidence:
            self.refusal = Refusal.EVIDENCE_MISSING
        elif self.lacks_currency:
            self.refusal = Refusal.NO_AMOUNT_FOR_CURRENCY

    @property
    def lacks_only_facts(self) -> bool:
        """Would the plan go on if the caller sent what is missing?"""
        asked = self.refusal in (Refusal.FACTS_MISSING, Refusal.EVIDENCE_MISSING)
        return asked and not self.lacks_currency


class EvidenceAtHand:
    """What the caller proves; a reference that served another order proves nothing here."""

    def __init__(self, facts: FactBase, spent: frozenset[tuple[str, str]]) -> None:
        self._items = [
            item
            for item in facts.request.evidence
            if item.reference is None or (item.kind, item.reference) not in spent
        ]

    def missing(self, needs: Iterable[EvidenceNeed]) -> tuple[str, ...]:
        """`incident.evidence.<kind>` for each need that is not met."""
        unmet = {need.kind for need in needs if not self._meets(need)}
        return tuple(f"incident.evidence.{kind}" for kind in sorted(unmet))

    def _meets(self, need: EvidenceNeed) -> bool:
        return any(
            item.kind == need.kind
            and ("reference" not in need.needs or bool(item.reference))
            and ("verified" not in need.needs or item.verified)
            for item in self._items
        )


def pick_version(
    versions: list[CompiledPolicy], facts: FactBase
) -> CompiledPolicy | NotDated | None:
    """The version in force; None when the one in force does not apply to the incident."""
    types = facts.request.incident_types
    at: object = facts.as_of
    if versions[0].policy.date_by is DateBy.INCIDENT:
        at = facts.value(REPORTED_AT)
        if not isinstance(at, datetime):
            return _not_dated(versions, types, Refusal.FACTS_MISSING, (REPORTED_AT,))
    assert isinstance(at, datetime)
    for each in versions:
        if each.policy.effective_at(at):
            return each if each.policy.applies_to & types else None
    return _not_dated(versions, types, Refusal.NOT_EFFECTIVE)


def _not_dated(
    versions: list[CompiledPolicy],
    types: frozenset[str],
    code: Refusal,
    lacks: tuple[str, ...] = (),
) -> NotDated:
    applying = [each.policy for each in versions if each.policy.applies_to & types]
    plans = tuple(dict.fromkeys(plan.name for policy in applying for plan in policy.plans))
    return NotDated(versions[0].policy.id, plans, code, lacks)


def candidates(
    matched: list[MatchedPolicy],
    facts: FactBase,
    matching: Matching,
    evidence: EvidenceAtHand,
    unknown_limits: Callable[[Iterable[RemedySource]], set[str]],
) -> tuple[list[Candidate], set[str]]:
    """Every plan of the matched policies whose condition isn't false, and what their add-ons lack.

    `unknown_limits` names what a caller could send to settle percentage limits of the caps
    that bound the given remedies.
    """
    add_ons, add_ons_lack = _add_ons_that_hold(matched, facts, matching, evidence)
    found: list[Candidate] = []
    for each in matched:
        for at in each.compiled.left(each.matched):
            candidate = _candidate(each, at, facts, matching)
            needs = (*each.policy.evidence, *candidate.plan.evidence)
            candidate.lacks_evidence = evidence.missing(needs)
            takes = _takes_add_ons(candidate, each.outcome(plan_rule(candidate.plan.name)))
            _entitle(candidate, add_ons if takes else [], facts)
            candidate.lacks |= unknown_limits(_all_sources(candidate))
            candidate.settle()
            found.append(candidate)
    return found, add_ons_lack


def _all_sources(candidate: Candidate) -> list[RemedySource]:
    """The plan's own remedies, whether or not they have a worth yet, and the add-ons appended."""
    added = (each.of for each in candidate.remedies if each.of.source != candidate.id)
    return [*_plan_sources(candidate), *added]


def _plan_sources(candidate: Candidate) -> list[RemedySource]:
    plan = candidate.plan
    return [
        RemedySource(rule, candidate.id, candidate.policy.id, plan.floor) for rule in plan.remedies
    ]


def _takes_add_ons(candidate: Candidate, outcome: Outcome) -> bool:
    return outcome is True and candidate.plan.takes_add_ons and not candidate.lacks_evidence


def _candidate(matched: MatchedPolicy, at: int, facts: FactBase, matching: Matching) -> Candidate:
    plan = matched.policy.plans[at]
    rule = plan_rule(plan.name)
    because = matched.because(rule, matching)
    candidate = Candidate(matched.compiled.ids[at], matched.policy, plan, because)
    if matched.outcome(rule) is None:
        candidate.lacks = lacking(because, facts)
        # Nothing to ask for would settle it: a comparison has no literal in the order's currency,
        # itself or in a rule of a derived fact.
        candidate.lacks_currency = not matched.could_hold(rule, matching)
    return candidate


def _entitle(candidate: Candidate, add_ons: list[tuple[Policy, AddOn]], facts: FactBase) -> None:
    """Work out the plan's remedies and append the add-ons that have an amount."""
    own = Entitlement(facts)
    own.add(_plan_sources(candidate))
    candidate.lacks |= own.lacks
    candidate.lacks_currency = candidate.lacks_currency or own.lacks_currency
    if not (candidate.lacks or candidate.lacks_currency):
        for of, add_on in add_ons:
            own.add(_sources(of, add_on))
    candidate.remedies = own.remedies


def _sources(policy: Policy, add_on: AddOn) -> list[RemedySource]:
    source = f"{policy.id}/{add_on.name}"
    return [RemedySource(rule, source, policy.id) for rule in add_on.remedies]


def _add_ons_that_hold(
    matched: list[MatchedPolicy], facts: FactBase, matching: Matching, evidence: EvidenceAtHand
) -> tuple[list[tuple[Policy, AddOn]], set[str]]:
    """Those whose own condition and evidence hold, by policy id and file order; what lacks."""
    holding: list[tuple[Policy, AddOn]] = []
    lacks: set[str] = set()
    for each in matched:
        for add_on in each.policy.add_ons:
            rule = add_on_rule(add_on.name)
            outcome = each.outcome(rule)
            if outcome is False:
                continue
            unproven = evidence.missing((*each.policy.evidence, *add_on.evidence))
            if outcome is None:
                lacks |= lacking(each.because(rule, matching), facts)
            lacks.update(unproven)
            worth = Entitlement(facts)
            worth.add(_sources(each.policy, add_on))
            lacks |= worth.lacks
            if outcome and not unproven:
                holding.append((each.policy, add_on))
    return holding, lacks
