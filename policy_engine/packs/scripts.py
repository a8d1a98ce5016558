"""What the agent says: the pack's templates filled with one decision's figures and times.

Templates are Jinja in an immutable sandbox, compiled once a pack. Text never decides: a
template that fails leaves its decision as it is and the script empty, with the error beside it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_datetime
from babel.numbers import format_currency
from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from policy_engine.core.decision import Decision, Due, OfferedPlan, OfferedRemedy
from policy_engine.core.facts import Missing, value_text
from policy_engine.core.money import EXACT, MAX_MINOR, format_minor
from policy_engine.core.policy import SCRIPT_PARTS, Pack, Text
from policy_engine.core.request import DecisionRequest
from policy_engine.core.times import format_duration
from policy_engine.wire.per_pack import PerPack
from policy_engine.wire.texts import ask_text, localised

MAX_PART_CHARACTERS = 4_000
MAX_RANGE = 100
"""How far a template may count; what a script lists is never longer."""

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
    templates = _templates(pack, decision, locale)
    if templates is None:
        return RenderedScript()
    used, compiled = templates
    try:
        slots = _slots(pack, decision, request, _Words(used, zone))
        parts = {name: _part(compiled[name], slots) for name in SCRIPT_PARTS if name in compiled}
    except Exception as error:  # noqa: BLE001 - a template can raise anything; the decision stands
        return RenderedScript(error=f"{type(error).__name__}: {error}")
    return RenderedScript(parts)


def template_error(source: str) -> str | None:
    """Why a template cannot be used, for the pack's check; None when it compiles."""
    try:
        _environment().from_string(source)
    except TemplateError as error:
        return str(error)
    return None


def _part(template: Template, slots: Mapping[str, object]) -> str:
    pieces: list[str] = []
    length = 0
    for piece in template.generate(slots):
        pieces.append(piece)
        length += len(piece)
        if length > MAX_PART_CHARACTERS:
            raise ValueError(f"a part is longer than {MAX_PART_CHARACTERS} characters")
    return "".join(pieces).strip()


def _templates(
    pack: Pack, decision: Decision, locale: str
) -> tuple[str, Mapping[str, Template]] | None:
    if decision.message is None:
        return None
    message, outcome = decision.message
    found = {
        each: script
        for each, messages in pack.scripts.items()
        if (script := messages.get(message, {}).get(outcome.value))
    }
    used = localised({each: each for each in found}, locale, pack.settings.default_locale)
    if not used:
        return None
    return used, {part: _compiled(text) for part, text in found[used].items()}


@functools.lru_cache(maxsize=4_096)
def _compiled(source: str) -> Template:
    return _environment().from_string(source)


_TEXT_METHODS = frozenset(
    {"capitalize", "endswith", "lower", "startswith", "strip", "title", "upper"}
)


class _Sandbox(ImmutableSandboxedEnvironment):
    """No attribute that begins with `_`, no changing of slots, and no long loops or texts."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: object, operator: str, left: object, right: object) -> object:
        # `'x' * 10**9`, `'%9999999d' % 1` and `9**9**9` cost memory and time; scripts need none.
        del context, left, right
        raise SecurityError(f"`{operator}` is not available in scripts")

    def is_safe_attribute(self, obj: object, attr: str, value: object) -> bool:
        # Likewise `'x'.ljust(10**9)`: of a text's methods only those that make it no longer.
        if isinstance(obj, str) and attr not in _TEXT_METHODS:
            return False
        return super().is_safe_attribute(obj, attr, value)


def _range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > MAX_RANGE:
        raise SecurityError(f"range() counts to {MAX_RANGE} at most")
    return numbers


@functools.cache
def _environment() -> ImmutableSandboxedEnvironment:
    # Plain text for a chat window, not HTML: escaping would show `&amp;` to customers.
    environment = _Sandbox(
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals = {"range": _range}
    # Filters that can make a long text out of a short one.
    for name in ("center", "format", "indent", "pprint", "urlize", "xmlattr", "tojson"):
        environment.filters.pop(name, None)
    return environment


class _Words:
    """Amounts, instants and durations as people of one locale write them."""

    def __init__(self, locale: str, zone: tzinfo | None) -> None:
        self.locale = locale
        self._babel = _babel_locale(locale)
        self._zone = zone

    def money(self, minor: int, currency: str) -> str:
        return _money(minor, currency, self._babel)

    def time(self, instant: datetime | None) -> str:
        if instant is None:
            return ""
        return _time(instant, self._babel, self._zone)


@functools.lru_cache(maxsize=256)
def _babel_locale(locale: str) -> Locale:
    try:
        return Locale.parse(locale, sep="-")
    except (UnknownLocaleError, ValueError):
        return Locale("en")


@functools.lru_cache(maxsize=16_384)
def _money(minor: int, currency: str, locale: Locale) -> str:
    assert -MAX_MINOR * 1_000 <= minor <= MAX_MINOR * 1_000
    amount = EXACT.create_decimal(format_minor(minor, currency))
    return format_currency(amount, currency, locale=locale, decimal_quantization=False)


@functools.lru_cache(maxsize=4_096)
def _time(instant: datetime, locale: Locale, zone: tzinfo | None) -> str:
    shown = "yyyy-MM-dd HH:mm"
    if zone is None:
        return format_datetime(instant, f"{shown} 'UTC'", locale=locale)
    return format_datetime(instant, f"{shown} z", tzinfo=zone, locale=locale)


def _slots(
    pack: Pack, decision: Decision, request: DecisionRequest, words: _Words
) -> dict[str, object]:
    default = pack.settings.default_locale
    titles = _titles_of(pack)
    return {
        "customer_name": _field(request, "customer.name"),
        "order_id": request.order_id,
        "agent_id": request.agent.id,
        "channel": _field(request, "channel"),
        "plans": [
            _plan(
                position,
                plan,
                localised(titles.get(plan.plan, {}), words.locale, default),
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
        "facts": {
            name: value_text(value)
            for name, (value, _) in decision.facts.items()
            if not isinstance(value, Missing)
        },
    }


def _titles(pack: Pack) -> dict[str, Text]:
    """`policy/plan` → its title; of several versions, the last."""
    return {
        f"{policy.id}/{plan.name}": plan.title for policy in pack.policies for plan in policy.plans
    }


_titles_of = PerPack(_titles)


def _field(request: DecisionRequest, name: str) -> str:
    value = request.fields.get(name)
    return value if isinstance(value, str) else ""


def _due(milestones: Iterable[Due], name: str) -> datetime | None:
    return next((each.due_at for each in milestones if each.what.name == name), None)


def _plan(
    position: int, plan: OfferedPlan, title: str, words: _Words, currency: str
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


def _remedy(remedy: OfferedRemedy, words: _Words, currency: str) -> dict[str, object]:
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
