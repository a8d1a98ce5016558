"""What the agent says: the pack's templates filled with one decision's figures and times.

Text never decides: a template that fails leaves its decision as it is and the script empty, with
the error beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from policy_engine.core.decision import Decision, Due, OfferedPlan, OfferedRemedy
from policy_engine.core.factbase import FactBase
from policy_engine.core.facts import Missing, Value, value_text
from policy_engine.core.policy import SCRIPT_PARTS, Pack
from policy_engine.core.request import DecisionRequest
from policy_engine.core.times import format_duration
from policy_engine.packs.sandbox import Part, limited_range, part
from policy_engine.packs.words import Words
from policy_engine.wire.per_pack import PerPack
from policy_engine.wire.texts import ask_text, localised
from policy_engine.wire.titles import plan_title

SLOTS = (
    "customer_name", "order_id", "agent_id", "channel", "plans", "facts_needed",
    "first_reply_by", "resolved_by", "follow_ups", "facts",
)  # fmt: skip
"""The names a template may use."""


@dataclass(frozen=True, slots=True)
class RenderedScript:
    """The parts of a script in the order they are said; `error` when a template failed."""

    parts: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None


def render_script(
    pack: Pack,
    decision: Decision,
    request: DecisionRequest,
    locale: str,
    *,
    zone: tzinfo | None = None,
) -> dict[str, str]:
    """`guidance.script`: opening, empathy, explanation, solution, compensation, in this order.

    Empty where the pack has no script for the decision, or one of its templates fails.
    `zone` is what times are shown in; UTC if it is None.
    """
    return dict(rendered(pack, decision, request, locale, zone=zone).parts)


def rendered(
    pack: Pack,
    decision: Decision,
    request: DecisionRequest,
    locale: str,
    *,
    zone: tzinfo | None = None,
) -> RenderedScript:
    """As `render_script`, and says why a script is empty that should not be."""
    script = None
    if decision.message is not None:
        message, outcome = decision.message
        script = _scripts_of(pack).script(message, outcome.value, locale)
    if script is None:
        return RenderedScript()
    used, compiled = script
    try:
        slots = _slots(pack, decision, request, Words(used, zone))
        parts = {name: part.said(slots) for name, part in compiled.items()}
    except Exception as error:  # noqa: BLE001 - a template can raise anything; the decision stands
        return RenderedScript(error=f"{type(error).__name__}: {error}")
    return RenderedScript(parts)


class _Scripts:
    """A pack's scripts as they are asked for."""

    def __init__(self, pack: Pack) -> None:
        self._pack = pack
        self._found: dict[tuple[str, str, str], tuple[str, dict[str, Part]] | None] = {}

    def script(self, message: str, outcome: str, locale: str) -> tuple[str, dict[str, Part]] | None:
        """The locale that serves this one, and its parts in the order they are said."""
        key = (message, outcome, locale)
        if key not in self._found:
            # Callers choose the locale.
            if len(self._found) >= _SCRIPTS_KEPT:
                self._found.clear()
            self._found[key] = self._script(message, outcome, locale)
        return self._found[key]

    def _script(
        self, message: str, outcome: str, locale: str
    ) -> tuple[str, dict[str, Part]] | None:
        found = {
            each: script
            for each, messages in self._pack.scripts.items()
            if (script := messages.get(message, {}).get(outcome))
        }
        default = self._pack.settings.default_locale
        used = localised({each: each for each in found}, locale, default)
        if not used:
            return None
        return used, {name: part(found[used][name]) for name in SCRIPT_PARTS if name in found[used]}


_SCRIPTS_KEPT = 1_024
_scripts_of = PerPack(_Scripts)


def _slots(
    pack: Pack, decision: Decision, request: DecisionRequest, words: Words
) -> dict[str, object]:
    default = pack.settings.default_locale
    return {
        # A global, which a shared context doesn't have by itself.
        "range": limited_range,
        "customer_name": _field(request, "customer.name"),
        "order_id": request.order_id,
        "agent_id": request.agent.id,
        "channel": _field(request, "channel"),
        "plans": [
            _plan(
                position,
                plan,
                plan_title(pack, decision, request, plan, words.locale),
                words,
                decision.currency,
            )
            for position, plan in enumerate(decision.plans)
        ],
        "facts_needed": [
            {"fact": fact, "ask": ask_text(fact, pack.facts.get(fact), words.locale, default)}
            for fact in decision.facts_needed
        ],
        "first_reply_by": words.time(_due(decision.milestones, "first_reply")),
        "resolved_by": words.time(_due(decision.milestones, "resolved")),
        "follow_ups": [follow_up.name for _, follow_up in decision.follow_ups],
        "facts": _FactTexts(pack, decision, request),
    }


class _FactTexts(Mapping[str, str | None]):
    """Facts that have a value, as text; most scripts look at one or two of them."""

    def __init__(self, pack: Pack, decision: Decision, request: DecisionRequest) -> None:
        self._pack = pack
        self._facts = decision.facts
        self._request = request
        self._as_of = decision.as_of

    def __getitem__(self, name: str) -> str | None:
        value = self._facts[name][0] if name in self._facts else self._looked_up(name)
        if isinstance(value, Missing):
            raise KeyError(name)
        return value_text(value)

    def _looked_up(self, name: str) -> Value:
        """What no rule had to look at, so that the decision doesn't hold it."""
        return FactBase(self._pack.facts, self._request, self._as_of).value(name)

    def __iter__(self) -> Iterator[str]:
        return (name for name, (value, _) in self._facts.items() if not isinstance(value, Missing))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))


def _field(request: DecisionRequest, name: str) -> str:
    value = request.fields.get(name)
    return value if isinstance(value, str) else ""


def _due(milestones: Iterable[Due], name: str) -> datetime | None:
    return next((each.due_at for each in milestones if each.what.name == name), None)


def _plan(
    position: int, plan: OfferedPlan, title: str, words: Words, currency: str
) -> dict[str, object]:
    return {
        "id": plan.plan,
        "title": title,
        "letter": chr(ord("A") + position) if position < 26 else str(position + 1),
        "allowed": words.money(plan.allowed, currency),
        "pending": words.money(plan.pending, currency),
        "entitled": words.money(plan.entitled, currency),
        "has_allowed": plan.allowed > 0,
        "has_pending": plan.pending > 0,
        "status": plan.status.value,
        "remedies": [_remedy(remedy, words, currency) for remedy in plan.remedies],
    }


def _remedy(remedy: OfferedRemedy, words: Words, currency: str) -> dict[str, object]:
    rule = remedy.rule
    return {
        "kind": rule.kind.value,
        "status": remedy.status.value,
        "allowed": words.money(remedy.allowed, currency),
        "pending": words.money(remedy.pending, currency),
        "valid_for": format_duration(rule.valid_for) if rule.valid_for is not None else "",
        "valid_days": rule.valid_for.days if rule.valid_for is not None else 0,
        "service": rule.service or "",
        "due_at": words.time(remedy.due_at),
    }
