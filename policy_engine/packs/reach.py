"""What roles and caps let through at all, whatever the order: plans, roles and caps in vain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from policy_engine.core.caps import Cap, Measure, PercentLimit
from policy_engine.core.policy import (
    ACTS,
    WHOLE_ONLY,
    AddOn,
    FixedAmount,
    Pack,
    Plan,
    RemedyRule,
    Role,
)
from policy_engine.packs.facts import Facts
from policy_engine.packs.origins import Origins
from policy_engine.packs.problems import Code, ProblemList, listed

Currencies = frozenset[str] | None
"""None: any currency."""


def check_plans(pack: Pack, facts: Facts, origins: Origins, problems: ProblemList) -> None:
    """A plan (or add-on) of which no role can ever give anything."""
    del facts
    for at, policy, plan in origins.plans:
        if not any(_can_give(role, plan, policy.id, pack.caps) for role in pack.roles.values()):
            what = "plan" if isinstance(plan, Plan) else "add-on"
            problems.warning(
                at,
                Code.PLAN_NOBODY_CAN_GIVE,
                f"no role can ever give anything of {what} `{plan.name}`; "
                "see what roles may issue, and the limits of the caps",
            )


def _can_give(role: Role, plan: Plan | AddOn, policy: str, caps: tuple[Cap, ...]) -> bool:
    """Walks the remedies in order, as a decision does."""
    floor = isinstance(plan, Plan) and plan.floor is not None
    for remedy in plan.remedies:
        if not role.may_issue(remedy.kind):
            return False
        holding = (
            () if floor else [cap for cap in caps if cap.holds_for(role.name, remedy.kind, policy)]
        )
        if _room(remedy, holding):
            return True
        if remedy.kind in WHOLE_ONLY:
            return False
    return False


def _room(remedy: RemedyRule, caps: list[Cap] | tuple[()]) -> bool:
    """Is there a currency in which the remedy has an amount and no cap is shut?

    An act is worth nothing, so only a count of zero shuts it out.
    """
    if remedy.kind in ACTS:
        return all(cap.limit != 0 for cap in caps if cap.measure is Measure.COUNT)
    currencies = _currencies_of(remedy)
    for cap in caps:
        limit = cap.limit
        if isinstance(limit, PercentLimit):
            if limit.percent == 0:
                return False
        elif isinstance(limit, int):
            if limit == 0:
                return False
        else:
            open_ = frozenset(name for name, money in limit.items() if money.minor > 0)
            currencies = open_ if currencies is None else currencies & open_
    return currencies is None or bool(currencies)


def _currencies_of(remedy: RemedyRule) -> Currencies:
    maps: list[Mapping[str, object]] = [
        each for each in (remedy.round_to, remedy.min, remedy.max) if each is not None
    ]
    if isinstance(remedy.worth, FixedAmount):
        maps.append(remedy.worth.amounts)
    if not maps:
        return None
    return frozenset.intersection(*(frozenset(each) for each in maps))


def check_roles(pack: Pack, facts: Facts, origins: Origins, problems: ProblemList) -> None:
    """A role that gives something which no cap on value bounds."""
    del facts
    for at, role in origins.roles:
        unbounded = sorted(
            {
                kind
                for kind, policy in set(_bounded_gifts(origins))
                if role.may_issue(kind)
                and not any(
                    cap.measure is Measure.VALUE and cap.holds_for(role.name, kind, policy)
                    for cap in pack.caps
                )
            }
        )
        if unbounded:
            problems.warning(
                at,
                Code.ROLE_WITHOUT_VALUE_CAP,
                f"no cap bounds the value of {listed(unbounded)} that `{role.name}` gives; add one",
            )


def _bounded_gifts(origins: Origins) -> Iterator[tuple[str, str]]:
    """(kind, policy) of everything worth something that caps could bound."""
    for _, policy, plan in origins.plans:
        if isinstance(plan, Plan) and plan.floor is not None:
            continue
        for remedy in plan.remedies:
            if remedy.kind not in ACTS:
                yield remedy.kind.value, policy.id


def check_caps(pack: Pack, facts: Facts, origins: Origins, problems: ProblemList) -> None:
    """A cap whose filters no remedy of any plan passes."""
    del facts
    given = {
        (remedy.kind.value, policy.id, remedy.kind in ACTS)
        for _, policy, plan in origins.plans
        for remedy in plan.remedies
    }
    for at, cap in origins.caps:
        reached = any(
            cap.holds_for(role.name, kind, policy) and role.may_issue(kind)
            for kind, policy, is_act in given
            if cap.measure is Measure.COUNT or not is_act
            for role in pack.roles.values()
        )
        if given and not reached:
            problems.warning(
                at,
                Code.CAP_NEVER_REACHED,
                f"nothing that is ever given counts towards `{cap.name}`; "
                "correct its roles, kinds and policies, or delete it",
            )
