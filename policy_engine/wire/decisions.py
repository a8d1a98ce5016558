"""A decision as the answer that callers get (CONTRACT §2). The shape never varies: what does not
apply is null or empty, never left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from policy_engine.core.caps import Measure, Scope
from policy_engine.core.decision import (
    Because,
    CapReading,
    Decision,
    Due,
    NotOffered,
    OfferedPlan,
    OfferedRemedy,
)
from policy_engine.core.facts import UNKNOWN, Missing, Value, value_text
from policy_engine.core.money import Money, format_minor
from policy_engine.core.policy import (
    Action,
    FollowUp,
    Pack,
    Text,
)
from policy_engine.core.request import DecisionRequest
from policy_engine.core.times import format_duration, format_timestamp
from policy_engine.wire.per_pack import PerPack
from policy_engine.wire.texts import ask_text, language, localised, needed_type, refusal_text
from policy_engine.wire.titles import plan_title

Json = dict[str, Any]


def decision_body(  # noqa: PLR0913 - each is one field of the answer
    decision: Decision,
    request: DecisionRequest,
    pack: Pack,
    *,
    decision_id: str | None,
    locale: str,
    grantable: bool,
    dry_run: bool = False,
    script: Mapping[str, str] | None = None,
    audit: Mapping[str, str] | None = None,
    show_pack_caps: bool = False,
) -> Json:
    """The whole answer. `audit` is `{"record": id, "digest": "sha256:…"}`, of the record's bytes;
    it and `decision_id` are None where nothing was recorded (a dry run,
    an offline evaluation); caps of scope pack are for credentials with `audit` only."""
    answer = _Answer(decision, request, pack, locale)
    return {
        "decision_id": decision_id,
        "outcome": decision.outcome.value,
        "pack_revision": pack.revision,
        "as_of": format_timestamp(decision.as_of),
        "expires_at": _time(decision.expires_at),
        "grantable": grantable,
        "dry_run": dry_run,
        "plans": [answer.plan(plan) for plan in decision.plans],
        "not_offered": [answer.not_offered(plan) for plan in decision.not_offered],
        "facts_needed": [answer.needed(name) for name in decision.facts_needed],
        "caps": [
            answer.cap(reading)
            for reading in decision.caps
            if show_pack_caps or reading.cap.scope is not Scope.PACK
        ],
        "guidance": answer.guidance(script or {}),
        "audit": None if audit is None else dict(audit),
    }


def money_body(minor: int, currency: str) -> Json:
    """4000, CNY → `{"amount": "40.00", "currency": "CNY"}`."""
    return {"amount": format_minor(minor, currency), "currency": currency}


def value_body(value: Value) -> object:
    """A fact's value as JSON: the form in which it could be sent under `facts`."""
    if isinstance(value, str | bool | int):
        return value
    if isinstance(value, Missing):
        return None
    if isinstance(value, Money):
        return money_body(value.minor, value.currency)
    if isinstance(value, frozenset):
        return sorted(value)
    return value_text(value)


def _by_language(pack: Pack) -> dict[str, list[Json]]:
    phrases: dict[str, list[Json]] = {}
    for each in pack.never_say:
        shown = {
            "phrase": each.phrase,
            "family": each.family,
            "instead": each.instead,
            "unless": list(each.unless),
        }
        phrases.setdefault(language(each.locale), []).append(shown)
    return phrases


_never_say = PerPack(_by_language)


class _Answer:
    """One decision in one locale."""

    def __init__(
        self, decision: Decision, request: DecisionRequest, pack: Pack, locale: str
    ) -> None:
        self._decision = decision
        self._request = request
        self._pack = pack
        self._locale = locale
        self._currency = decision.currency

    def plan(self, plan: OfferedPlan) -> Json:
        return {
            "plan": plan.plan,
            "title": self._title(plan),
            "recommended": plan.recommended,
            "remedies": [self._remedy(remedy) for remedy in plan.remedies],
            **self._amounts(plan),
            "binding_cap": plan.binding_cap,
            "authority": {"status": plan.status.value, "approver": plan.approver},
            "because": self._because(plan.because),
        }

    def not_offered(self, plan: NotOffered) -> Json:
        return {
            "plan": plan.plan,
            "code": plan.code.value,
            "because": self._because(plan.because),
            "text": refusal_text(plan.code, plan.lacks, self._locale),
        }

    def needed(self, name: str) -> Json:
        spec = self._pack.facts.get(name)
        default = self._pack.settings.default_locale
        return {
            "fact": name,
            "type": needed_type(name, spec),
            "ask": ask_text(name, spec, self._locale, default),
        }

    def cap(self, reading: CapReading) -> Json:
        cap = reading.cap
        show: Callable[[int], object] = _counted if cap.measure is Measure.COUNT else self._money
        return {
            "cap": cap.name,
            "scope": cap.scope.value,
            "policy": reading.policy,
            "limit": None if reading.limit is None else show(reading.limit),
            "used": show(reading.used),
            "headroom": show(reading.headroom),
            "resets_at": _time(reading.resets_at),
        }

    def guidance(self, script: Mapping[str, str]) -> Json:
        decision = self._decision
        return {
            "facts": {
                name: value_body(value)
                for name, value in decision.derived.items()
                if value is not UNKNOWN
            },
            "actions": [self._action(due) for due in decision.actions],
            "script": dict(script),
            "milestones": [
                {"milestone": due.what.name, "due_at": _time(due.due_at)}
                for due in decision.milestones
            ],
            "follow_ups": [_follow_up(of, what) for of, what in decision.follow_ups],
            "never_say": _never_say(self._pack).get(language(self._locale), []),
        }

    def _action(self, due: Due) -> Json:
        assert isinstance(due.what, Action)
        return {
            "action": due.what.name,
            "title": self._text(due.what.title),
            "policy": due.policy,
            "due_at": _time(due.due_at),
        }

    def _remedy(self, remedy: OfferedRemedy) -> Json:
        rule = remedy.rule
        min_spend = None if rule.min_spend is None else rule.min_spend.get(self._currency)
        return {
            "kind": rule.kind.value,
            "from": remedy.source,
            "status": remedy.status.value,
            **self._amounts(remedy),
            "tax": None if remedy.tax is None else self._money(remedy.tax),
            "net": None if remedy.net is None else self._money(remedy.net),
            "floor": None if remedy.floor is None else remedy.floor.value,
            "valid_for": _duration(rule.valid_for),
            "min_spend": None if min_spend is None else self._money(min_spend.minor),
            "service": rule.service,
            "due_at": _time(remedy.due_at),
        }

    def _amounts(self, of: OfferedPlan | OfferedRemedy) -> Json:
        return {
            "entitled": self._money(of.entitled),
            "allowed": self._money(of.allowed),
            "pending": self._money(of.pending),
            "uncovered": self._money(of.uncovered),
        }

    def _because(self, because: Sequence[Because]) -> list[Json]:
        return [because_body(each, self._currency) for each in because]

    def _title(self, plan: OfferedPlan) -> str:
        return plan_title(self._pack, self._decision, self._request, plan, self._locale)

    def _text(self, text: Text) -> str:
        return localised(text, self._locale, self._pack.settings.default_locale)

    def _money(self, minor: int) -> Json:
        return {"amount": format_minor(minor, self._currency), "currency": self._currency}


def _counted(number: int) -> int:
    return number


def because_body(because: Because, currency: str) -> Json:
    """One reason: the fact, what was observed, what was required, whether that holds."""
    return {
        "fact": because.comparison.fact,
        "observed": value_text(because.observed),
        "required": because.comparison.required(currency),
        "outcome": because.outcome,
    }


def _follow_up(of: str, what: FollowUp) -> Json:
    policy, _, plan = of.partition("/")
    return {
        "follow_up": what.name,
        "on": what.on,
        "policy": policy,
        "plan": of if plan else None,
        "after": _duration(what.after),
    }


def _time(instant: datetime | None) -> str | None:
    return None if instant is None else format_timestamp(instant)


def _duration(duration: timedelta | None) -> str | None:
    return None if duration is None else format_duration(duration)
