"""What goes with a decision and needs no authority: actions, due times, follow-ups, the script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from policy_engine.core.candidates import MatchedPolicy
from policy_engine.core.compiled import action_rule
from policy_engine.core.decision import DecisionOutcome, Due, OfferedPlan
from policy_engine.core.factbase import FactBase
from policy_engine.core.policy import FollowUp, Milestone, PackSettings


@dataclass(frozen=True, slots=True)
class Guidance:
    actions: tuple[Due, ...]
    milestones: tuple[Due, ...]
    follow_ups: tuple[tuple[str, FollowUp], ...]
    message: tuple[str, DecisionOutcome] | None


def guidance(
    settings: PackSettings,
    matched: Sequence[MatchedPolicy],
    plans: Sequence[OfferedPlan],
    outcome: DecisionOutcome,
    facts: FactBase,
) -> Guidance:
    """Times are counted from the decision's as_of."""
    message = _message(matched, plans)
    return Guidance(
        _actions(matched, facts),
        _milestones(settings, facts),
        _follow_ups(matched, plans),
        None if message is None else (message, outcome),
    )


def _actions(matched: Sequence[MatchedPolicy], facts: FactBase) -> tuple[Due, ...]:
    return tuple(
        Due(action, each.policy.id, None if action.within is None else facts.as_of + action.within)
        for each in matched
        for action in each.policy.actions
        if each.outcome(action_rule(action.name)) is True
    )


def _milestones(settings: PackSettings, facts: FactBase) -> tuple[Due, ...]:
    channel = facts.value("channel")
    own = {each.name for each in settings.milestones if each.channel == channel}

    def holds(milestone: Milestone) -> bool:
        if milestone.channel is None:
            return milestone.name not in own
        return milestone.channel == channel

    return tuple(
        Due(each, None, facts.as_of + each.within) for each in settings.milestones if holds(each)
    )


def _follow_ups(
    matched: Sequence[MatchedPolicy], plans: Sequence[OfferedPlan]
) -> tuple[tuple[str, FollowUp], ...]:
    """Those of the offered plans, and of the policies that offer something."""
    offered = {plan.plan for plan in plans}
    found: list[tuple[str, FollowUp]] = []
    for each in matched:
        policy = each.policy
        own = [
            (f"{policy.id}/{plan.name}", follow_up)
            for plan in policy.plans
            if f"{policy.id}/{plan.name}" in offered
            for follow_up in plan.follow_ups
        ]
        if any(plan.policy == policy.id for plan in plans):
            found += [(policy.id, follow_up) for follow_up in policy.follow_ups]
        found += own
    return tuple(found)


def _message(matched: Sequence[MatchedPolicy], plans: Sequence[OfferedPlan]) -> str | None:
    """The script of the recommended plan's policy; with no plan, of the first that has one."""
    scripts = {each.policy.id: each.policy.message for each in matched}
    if plans and scripts.get(plans[0].policy):
        return scripts[plans[0].policy]
    return next((message for message in scripts.values() if message), None)
