"""A pack in plain words: roles, caps, policies and what each plan gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from policy_engine.core.caps import Calendar, Cap, PercentLimit, Rolling
from policy_engine.core.conditions import All, Any, Comparison, Condition, Not
from policy_engine.core.money import Money
from policy_engine.core.policy import (
    FactAmount,
    FixedAmount,
    Pack,
    PercentOf,
    Policy,
    RemedyRule,
)
from policy_engine.core.times import format_duration, format_timestamp
from policy_engine.wire.texts import localised


@dataclass(frozen=True, slots=True)
class ShownRole:
    role: str
    may: str
    approver: str


@dataclass(frozen=True, slots=True)
class ShownCap:
    cap: str
    scope: str
    window: str
    limit: str
    holds_for: str


@dataclass(frozen=True, slots=True)
class ShownPlan:
    """A plan or an add-on."""

    name: str
    title: str
    when: str
    gives: tuple[str, ...]
    needs: tuple[str, ...]
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShownParameter:
    name: str
    value: str
    confirmed: bool


@dataclass(frozen=True, slots=True)
class ShownPolicy:
    policy: str
    title: str
    reason_code: str
    applies_to: tuple[str, ...]
    effective: str
    plans: tuple[ShownPlan, ...]
    add_ons: tuple[ShownPlan, ...]
    actions: tuple[str, ...]
    parameters: tuple[ShownParameter, ...]


@dataclass(frozen=True, slots=True)
class ShownPack:
    revision: str
    roles: tuple[ShownRole, ...]
    caps: tuple[ShownCap, ...]
    policies: tuple[ShownPolicy, ...]


def show(pack: Pack, policy: str | None = None, locale: str | None = None) -> ShownPack:
    """The whole pack, or one policy of it (KeyError when there is none of that id)."""
    chosen = [each for each in pack.policies if policy in (None, each.id)]
    if policy is not None and not chosen:
        raise KeyError(policy)
    used = locale or pack.settings.default_locale
    return ShownPack(
        revision=pack.revision,
        roles=tuple(
            ShownRole(role.name, _listed(role.may, "all kinds"), role.approver or "")
            for role in pack.roles.values()
        ),
        caps=tuple(shown_cap(cap) for cap in pack.caps if policy is None or _concerns(cap, policy)),
        policies=tuple(_policy(pack, each, used) for each in chosen),
    )


def _concerns(cap: Cap, policy: str) -> bool:
    return cap.policies is None or policy in cap.policies


def shown_cap(cap: Cap) -> ShownCap:
    """One cap in words."""
    match cap.window:
        case None:
            window = "for ever"
        case Rolling(length):
            window = f"rolling {format_duration(length)}"
        case Calendar(unit, zone):
            window = f"calendar {unit.value}, {zone}"
    filters = [
        f"{what} {_listed(names, '')}"
        for what, names in (
            ("roles", cap.roles),
            ("kinds", cap.kinds),
            ("policies", cap.policies),
        )
        if names is not None
    ]
    return ShownCap(cap.name, cap.scope.value, window, _limit(cap), "; ".join(filters) or "all")


def _limit(cap: Cap) -> str:
    if isinstance(cap.limit, int):
        return f"{cap.limit} grant{'' if cap.limit == 1 else 's'}"
    if isinstance(cap.limit, PercentLimit):
        return f"{cap.limit.percent:f} % of {cap.limit.of}"
    return _amounts(cap.limit)


def _policy(pack: Pack, policy: Policy, locale: str) -> ShownPolicy:
    default = pack.settings.default_locale
    start = "always" if policy.effective_from is None else format_timestamp(policy.effective_from)
    end = "" if policy.effective_until is None else format_timestamp(policy.effective_until)
    return ShownPolicy(
        policy=policy.id,
        title=localised(policy.title, locale, default),
        reason_code=policy.reason_code,
        applies_to=tuple(sorted(policy.applies_to)),
        effective=f"from {start}" + (f" until {end}" if end else ""),
        plans=tuple(
            ShownPlan(
                plan.name,
                localised(plan.title, locale, default),
                condition_text(plan.when),
                tuple(remedy_text(remedy) for remedy in plan.remedies),
                tuple(need.kind for need in (*policy.evidence, *plan.evidence)),
                tuple(options_text(plan.rank, plan.takes_add_ons, plan.fallback, plan.floor)),
            )
            for plan in policy.plans
        ),
        add_ons=tuple(
            ShownPlan(
                add_on.name,
                localised(add_on.title, locale, default),
                condition_text(add_on.when),
                tuple(remedy_text(remedy) for remedy in add_on.remedies),
                tuple(need.kind for need in (*policy.evidence, *add_on.evidence)),
                (),
            )
            for add_on in policy.add_ons
        ),
        actions=tuple(
            f"{action.name} when {condition_text(action.when)}"
            + (f", within {format_duration(action.within)}" if action.within else "")
            for action in policy.actions
        ),
        parameters=tuple(
            ShownParameter(name, value_text(value), name not in policy.unconfirmed)
            for name, value in policy.parameters.items()
        ),
    )


def condition_text(condition: Condition | None) -> str:
    """A condition on one line: `shipping.delay over P5D and (a or b)`."""
    match condition:
        case None:
            return "always"
        case Comparison():
            return f"{condition.fact} {condition.required()}"
        case Not(part):
            return f"not ({condition_text(part)})"
        case All(parts):
            return " and ".join(_grouped(part, Any) for part in parts)
        case Any(parts):
            return " or ".join(_grouped(part, All) for part in parts)


def _grouped(part: Condition, other: type[All] | type[Any]) -> str:
    text = condition_text(part)
    return f"({text})" if isinstance(part, other) and len(part.parts) > 1 else text


def remedy_text(remedy: RemedyRule) -> str:
    """What a remedy is worth: `coupon: 5 % of order.goods_paid, valid for P90D`."""
    return ": ".join(filter(None, (remedy.kind.value, ", ".join(_worth(remedy)))))


def _worth(remedy: RemedyRule) -> Iterator[str]:
    yield from _base(remedy)
    if remedy.per is not None:
        every = remedy.per.every
        period = str(every) if isinstance(every, int) else format_duration(every)
        yield f"for every {period} of {remedy.per.fact}"
    for word, bound in (
        ("rounded to", remedy.round_to),
        ("at least", remedy.min),
        ("at most", remedy.max),
        ("from a spend of", remedy.min_spend),
    ):
        if bound is not None:
            yield f"{word} {_amounts(bound)}"
    if remedy.service is not None:
        yield f"by {remedy.service}"
    for word, duration in (("valid for", remedy.valid_for), ("within", remedy.within)):
        if duration is not None:
            yield f"{word} {format_duration(duration)}"


def _base(remedy: RemedyRule) -> Iterator[str]:
    match remedy.worth:
        case PercentOf(percent, of):
            yield f"{percent:f} % of {of}"
        case FixedAmount(amounts):
            yield _amounts(amounts)
        case FactAmount(fact):
            yield fact
        case None:
            pass


def options_text(rank: int, takes_add_ons: bool, fallback: bool, floor: object) -> Iterator[str]:
    """The options of a plan that are not what they are unless set."""
    if rank:
        yield f"rank {rank}"
    if not takes_add_ons:
        yield "takes no add-ons"
    if fallback:
        yield "fallback"
    if floor is not None:
        yield f"{floor} floor"


def _amounts(amounts: Mapping[str, Money]) -> str:
    return ", ".join(str(amount) for amount in amounts.values())


def _listed(names: Iterable[str] | None, otherwise: str) -> str:
    return otherwise if names is None else ", ".join(sorted(names))


def value_text(value: object) -> str:
    """A value of a pack as people write it: `5`, `15.00 CNY, 3.00 USD`."""
    if isinstance(value, Mapping):
        return ", ".join(f"{value_text(inner)} {name}" for name, inner in value.items())
    return str(value)
