"""What differs between two packs, in words: policies, plans, caps, roles and all else that decides
or is said. Files, comments and order of keys make no difference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from policy_engine.core.caps import Cap
from policy_engine.core.facts import FactSpec, Missing
from policy_engine.core.policy import (
    Action,
    AddOn,
    EvidenceNeed,
    FollowUp,
    Pack,
    PackSettings,
    Plan,
    Policy,
    Text,
)
from policy_engine.core.times import format_duration, format_timestamp
from policy_engine.packs.show import (
    condition_text,
    options_text,
    remedy_text,
    shown_cap,
    value_text,
)

Described = Mapping[tuple[str, str], Mapping[str, str]]
"""(what it is, its name) → field → text."""


class ChangeKind(StrEnum):
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Difference:
    """One field; an empty text where the field is not there."""

    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Change:
    """A thing of a pack that came, went or changed: `plan`, `shipping_delay/delay_coupon`."""

    kind: ChangeKind
    what: str
    name: str
    differences: tuple[Difference, ...]


def changes(before: Pack, after: Pack) -> tuple[Change, ...]:
    """All that differs, in the order of the packs; empty when both decide and say the same."""
    versioned = _versioned(before) | _versioned(after)
    old, new = described(before, versioned), described(after, versioned)
    return tuple(_compared(old, new))


def described(pack: Pack, versioned: frozenset[str] = frozenset()) -> Described:
    """A pack flattened to texts. Policies whose ids are `versioned` are told apart by when they
    begin."""
    return {
        **dict(_settings(pack.settings)),
        **{("role", role.name): _role(role.may, role.approver) for role in pack.roles.values()},
        **dict(_caps(pack.caps)),
        **{("fact", name): _fact(spec) for name, spec in sorted(pack.facts.items())},
        **dict(_derived(pack)),
        **{
            key: fields
            for policy in pack.policies
            for key, fields in _policy(policy, policy.id in versioned)
        },
        **dict(_said(pack)),
    }


def _compared(old: Described, new: Described) -> Iterator[Change]:
    for key in dict.fromkeys((*old, *new)):
        was, now = old.get(key), new.get(key)
        if was == now:
            continue
        kind = (
            ChangeKind.ADDED
            if was is None
            else ChangeKind.REMOVED
            if now is None
            else ChangeKind.CHANGED
        )
        fields = dict.fromkeys((*(was or {}), *(now or {})))
        pairs = [(name, (was or {}).get(name, ""), (now or {}).get(name, "")) for name in fields]
        yield Change(
            kind, key[0], key[1], tuple(Difference(*each) for each in pairs if each[1] != each[2])
        )


def _versioned(pack: Pack) -> frozenset[str]:
    ids = [policy.id for policy in pack.policies]
    return frozenset(each for each in ids if ids.count(each) > 1)


def _settings(settings: PackSettings) -> Iterator[tuple[tuple[str, str], dict[str, str]]]:
    for channel, length in settings.offer_valid_for.items():
        yield ("setting", f"offer_valid_for {channel}"), {"is": format_duration(length)}
    at_most = settings.offer_at_most
    for name, value in (
        ("pending_for", format_duration(settings.pending_for)),
        ("offer_at_most", "unlimited" if at_most is None else str(at_most)),
        ("default_locale", settings.default_locale),
    ):
        yield ("setting", name), {"is": value}
    for each in settings.milestones:
        name = each.name if each.channel is None else f"{each.name} on {each.channel}"
        yield ("milestone", name), {"within": format_duration(each.within)}


def _role(may: frozenset[str] | None, approver: str | None) -> dict[str, str]:
    kinds = "all kinds" if may is None else ", ".join(sorted(may))
    return {"may issue": kinds, "approver": approver or "nobody"}


def _caps(caps: Iterable[Cap]) -> Iterator[tuple[tuple[str, str], dict[str, str]]]:
    for place, cap in enumerate(caps, 1):
        shown = shown_cap(cap)
        yield (
            ("cap", cap.name),
            {
                "scope": shown.scope,
                "window": shown.window,
                "measure": cap.measure.value,
                "limit": shown.limit,
                "holds for": shown.holds_for,
                "place among the caps": str(place),
            },
        )


def _fact(spec: FactSpec) -> dict[str, str]:
    source = "request" if spec.from_request else "derived" if spec.derived else ""
    default = "" if isinstance(spec.default, Missing) else value_text(spec.default)
    return _filled(
        {
            "type": spec.type.value,
            "values": ", ".join(spec.values or ()),
            "from": source,
            "since": spec.since or "",
            "until": spec.until or "",
            "default": default,
            "question": _translations(spec.ask),
        }
    )


def _derived(pack: Pack) -> Iterator[tuple[tuple[str, str], dict[str, str]]]:
    for fact in (each for layer in pack.derived for each in layer):
        rules = {
            f"rule {place}": f"{value_text(rule.value)} when {condition_text(rule.when)}"
            for place, rule in enumerate(fact.rules, 1)
        }
        yield ("derivation", fact.fact), rules


def _policy(policy: Policy, versioned: bool) -> Iterator[tuple[tuple[str, str], dict[str, str]]]:
    start = "always" if policy.effective_from is None else format_timestamp(policy.effective_from)
    end = "" if policy.effective_until is None else format_timestamp(policy.effective_until)
    name = f"{policy.id} from {start}" if versioned else policy.id
    yield (
        ("policy", name),
        _filled(
            {
                "title": _translations(policy.title),
                "reason code": policy.reason_code,
                "applies to": ", ".join(sorted(policy.applies_to)),
                "effective from": start,
                "effective until": end,
                "dated by": policy.date_by.value,
                "needs": _needs(policy.evidence),
                "follow-ups": _follow_ups(policy.follow_ups),
                "message": policy.message or "",
            }
        ),
    )
    for parameter, value in policy.parameters.items():
        confirmed = "" if parameter not in policy.unconfirmed else "no"
        fields = _filled({"is": value_text(value), "confirmed": confirmed})
        yield ("parameter", f"{name}/{parameter}"), fields
    for plan in policy.plans:
        yield ("plan", f"{name}/{plan.name}"), _plan(plan)
    for add_on in policy.add_ons:
        yield ("add-on", f"{name}/{add_on.name}"), _gift(add_on)
    for action in policy.actions:
        yield ("action", f"{name}/{action.name}"), _action(action)


def _plan(plan: Plan) -> dict[str, str]:
    options = options_text(plan.rank, plan.takes_add_ons, plan.fallback, plan.floor)
    more = {"options": ", ".join(options), "follow-ups": _follow_ups(plan.follow_ups)}
    return _gift(plan) | _filled(more)


def _gift(plan: Plan | AddOn) -> dict[str, str]:
    remedies = {
        f"gives {place}": remedy_text(remedy) for place, remedy in enumerate(plan.remedies, 1)
    }
    return {
        **_filled({"title": _translations(plan.title)}),
        "when": condition_text(plan.when),
        **remedies,
        **_filled({"needs": _needs(plan.evidence)}),
    }


def _action(action: Action) -> dict[str, str]:
    within = "" if action.within is None else format_duration(action.within)
    title = _translations(action.title)
    return _filled({"title": title, "when": condition_text(action.when), "within": within})


def _said(pack: Pack) -> Iterator[tuple[tuple[str, str], dict[str, str]]]:
    for locale, messages in pack.scripts.items():
        for message, outcomes in messages.items():
            for outcome, parts in outcomes.items():
                yield ("message", f"{message}, {outcome}, {locale}"), dict(parts)
    for each in pack.never_say:
        fields = {"family": each.family, "instead": each.instead, "unless": ", ".join(each.unless)}
        yield ("never say", f"{each.phrase} ({each.locale})"), _filled(fields)


def _needs(evidence: Iterable[EvidenceNeed]) -> str:
    return "; ".join(" with ".join(filter(None, (x.kind, ", ".join(x.needs)))) for x in evidence)


def _follow_ups(follow_ups: Iterable[FollowUp]) -> str:
    return "; ".join(
        f"{each.name} on {each.on}"
        + ("" if each.after is None else f", {format_duration(each.after)} later")
        for each in follow_ups
    )


def _translations(text: Text) -> str:
    return "; ".join(f"{locale}: {words}" for locale, words in sorted(text.items()))


def _filled(fields: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in fields.items() if text}
