"""From two gives (the actor's and the wanted one) to an offered plan; ranking and outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from policy_engine.core.authority import Give, Part
from policy_engine.core.candidates import Candidate
from policy_engine.core.decision import (
    AuthorityStatus,
    DecisionOutcome,
    OfferedPlan,
    OfferedRemedy,
    RemedyStatus,
    Share,
)
from policy_engine.core.entitlement import Entitled
from policy_engine.core.factbase import FactBase
from policy_engine.core.money import tax_inside
from policy_engine.core.request import Line


def offered_plan(candidate: Candidate, actor: Give, want: Give, facts: FactBase) -> OfferedPlan:
    """allowed = what the actor gives; pending = wanted − allowed; uncovered = the rest."""
    remedies = tuple(
        _offered_remedy(entitled, mine, most, facts)
        for entitled, mine, most in zip(candidate.remedies, actor.parts, want.parts, strict=True)
    )
    waits = want.amounts != actor.amounts
    if not waits:
        status = AuthorityStatus.ALLOWED
    elif actor.anything:
        status = AuthorityStatus.PARTIAL
    else:
        status = AuthorityStatus.APPROVAL_REQUIRED
    return OfferedPlan(
        plan=candidate.id,
        policy=candidate.policy.id,
        rank=candidate.plan.rank,
        recommended=False,
        remedies=remedies,
        entitled=sum(each.entitled for each in remedies),
        allowed=sum(each.allowed for each in remedies),
        pending=sum(each.pending for each in remedies),
        uncovered=sum(each.uncovered for each in remedies),
        binding_cap=actor.binding_cap,
        status=status,
        approver=want.role if waits else None,
        because=candidate.because,
    )


def _offered_remedy(entitled: Entitled, mine: Part, most: Part, facts: FactBase) -> OfferedRemedy:
    rule = entitled.of.rule
    tax = _tax(mine.shares, entitled.shares, facts)
    return OfferedRemedy(
        rule=rule,
        source=entitled.of.source,
        policy=entitled.of.policy,
        floor=entitled.of.floor,
        entitled=entitled.minor,
        allowed=mine.minor,
        pending=most.minor - mine.minor,
        uncovered=entitled.minor - most.minor,
        status=_status(entitled, mine, most),
        tax=tax,
        net=None if tax is None else mine.minor - tax,
        shares=most.shares,
        due_at=None if rule.within is None else facts.as_of + rule.within,
    )


def _status(entitled: Entitled, mine: Part, most: Part) -> RemedyStatus:
    if mine.given:
        whole = mine.minor == entitled.minor
        return RemedyStatus.ALLOWED if whole else RemedyStatus.PARTIAL
    if most.given:
        return RemedyStatus.PENDING
    return RemedyStatus.UNCOVERED


def _tax(allowed: Sequence[Share], concerned: Sequence[Share], facts: FactBase) -> int | None:
    """Tax inside what is allowed, line by line; None unless every line concerned has a rate."""
    if not concerned:
        return None
    lines: dict[str | None, Line] = {line.id: line for line in facts.request.lines}
    rates = {share.line: lines[share.line].tax_rate for share in concerned if share.line in lines}
    total = 0
    for share in allowed:
        rate = rates.get(share.line)
        total += tax_inside(share.minor, rate) if isinstance(rate, Decimal) else 0
    known = all(isinstance(rates.get(share.line), Decimal) for share in concerned)
    return total if known else None


def ranked(
    offered: Sequence[OfferedPlan], at_most: int | None
) -> tuple[tuple[OfferedPlan, ...], list[OfferedPlan]]:
    """By rank, allowed, pending, then id; the first is recommended; what is beyond `at_most`."""
    order = sorted(offered, key=lambda plan: (-plan.rank, -plan.allowed, -plan.pending, plan.plan))
    count = len(order) if at_most is None else at_most
    plans = order[:count]
    if plans:
        plans[0] = replace(plans[0], recommended=True)
    return tuple(plans), order[count:]


def outcome_of(plans: Sequence[OfferedPlan], askable: bool) -> DecisionOutcome:
    """`askable`: some plan lacks only facts or evidence."""
    if any(plan.status is not AuthorityStatus.APPROVAL_REQUIRED for plan in plans):
        return DecisionOutcome.OFFER
    if plans:
        return DecisionOutcome.APPROVAL_REQUIRED
    return DecisionOutcome.FACTS_NEEDED if askable else DecisionOutcome.NOTHING_DUE
