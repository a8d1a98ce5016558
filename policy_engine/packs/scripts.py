"""What the agent says: the pack's templates filled with one decision's figures and times.

Templates are Jinja in an immutable sandbox, compiled once a pack. Text never decides: a
template that fails leaves its decision as it is and the script empty, with the error beside it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_datetime
from babel.numbers import format_currency
from jinja2 import StrictUndefined, TemplateError, meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from policy_engine.core.decision import Decision, Due, OfferedPlan, OfferedRemedy
from policy_engine.core.facts import Missing, Source, Value, value_text
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
    script = None
    if decision.message is not None:
        message, outcome = decision.message
        script = _scripts_of(pack).script(message, outcome.value, locale)
    if script is None:
        return RenderedScript()
    used, compiled = script
    try:
        slots = _slots(pack, decision, request, _Words(used, zone))
        parts = {name: part.said(slots) for name, part in compiled.items()}
    except Exception as error:  # noqa: BLE001 - a template can raise anything; the decision stands
        return RenderedScript(error=f"{type(error).__name__}: {error}")
    return RenderedScript(parts)


def parsed(source: str) -> nodes.Template:
    """A template as it will be filled in. Raises TemplateSyntaxError."""
    return _environment().parse(source)


def template_error(tree: nodes.Template) -> str | None:
    """Why a template cannot be used, for the pack's check; None when it compiles."""
    try:
        _environment().compile(tree)
    except TemplateError as error:
        return str(error)
    return None


class _Part:
    """One part of a script; what uses no slot is always the same, and made once."""

    def __init__(self, source: str) -> None:
        self._template = _environment().from_string(source)
        self._varies = bool(meta.find_undeclared_variables(_environment().parse(source)))
        self._said: str | None = None

    def said(self, slots: dict[str, object]) -> str:
        if self._varies:
            return self._filled(slots)
        if self._said is None:
            self._said = self._filled(slots)
        return self._said

    def _filled(self, slots: dict[str, object]) -> str:
        pieces: list[str] = []
        length = 0
        # `generate` would copy all slots for every part. A template changes none of them.
        context = self._template.new_context(slots, shared=True)
        for piece in self._template.root_render_func(context):
            pieces.append(piece)
            length += len(piece)
            if length > MAX_PART_CHARACTERS:
                raise ValueError(f"a part is longer than {MAX_PART_CHARACTERS} characters")
        return "".join(pieces).strip()


class _Scripts:
    """A pack's scripts as they are asked for."""

    def __init__(self, pack: Pack) -> None:
        self._pack = pack
        self._found: dict[tuple[str, str, str], tuple[str, dict[str, _Part]] | None] = {}

    def script(
        self, message: str, outcome: str, locale: str
    ) -> tuple[str, dict[str, _Part]] | None:
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
    ) -> tuple[str, dict[str, _Part]] | None:
        found = {
            each: script
            for each, messages in self._pack.scripts.items()
            if (script := messages.get(message, {}).get(outcome))
        }
        default = self._pack.settings.default_locale
        used = localised({each: each for each in found}, locale, default)
        if not used:
            return None
        return used, {
            name: _compiled(found[used][name]) for name in SCRIPT_PARTS if name in found[used]
        }


_SCRIPTS_KEPT = 1_024
_scripts_of = PerPack(_Scripts)


@functools.lru_cache(maxsize=4_096)
def _compiled(source: str) -> _Part:
    return _Part(source)


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

    def getattr(self, obj: object, attribute: str) -> object:
        # Slots are dicts; looking for an attribute first costs more than the rest of a script.
        if type(obj) is dict and attribute in obj and not hasattr(dict, attribute):
            return obj[attribute]
        return super().getattr(obj, attribute)

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
        self._zone = zone

    def money(self, minor: int, currency: str) -> str:
        return _money(minor, currency, self.locale)

    def time(self, instant: datetime | None) -> str:
        if instant is None:
            return ""
        return _time(instant, self.locale, self._zone)


@functools.lru_cache(maxsize=256)
def _babel_locale(locale: str) -> Locale:
    try:
        return Locale.parse(locale, sep="-")
    except (UnknownLocaleError, ValueError):
        return Locale("en")


@functools.lru_cache(maxsize=16_384)
def _money(minor: int, currency: str, locale: str) -> str:
    assert -MAX_MINOR * 1_000 <= minor <= MAX_MINOR * 1_000
    text = format_minor(minor, currency)
    digits = [each for each in text if each.isdigit()]
    sign, integer = ("-" if minor < 0 else ""), len(text.lstrip("-").partition(".")[0])
    form = _money_form(sign, integer, len(digits) - integer, currency, locale)
    return _formatted(text, currency, locale) if form is None else form % tuple(digits)


@functools.lru_cache(maxsize=4_096)
def _money_form(sign: str, integer: int, decimals: int, currency: str, locale: str) -> str | None:
    """How amounts of so many digits are written, with `%s` for each digit: where the symbol, the
    separators and the sign stand depends on nothing else. None if that can't be told."""
    point = "." if decimals else ""
    ones = _formatted(f"{sign}{'1' * integer}{point}{'1' * decimals}", currency, locale)
    form = "%s".join(ones.replace("%", "%%").split("1"))
    # Some locales leave zeros at the end out.
    whole = ("1",) * integer + ("0",) * decimals
    even = _formatted(f"{sign}{'1' * integer}{point}{'0' * decimals}", currency, locale)
    return form if form.count("%s") == len(whole) and form % whole == even else None


def _formatted(amount: str, currency: str, locale: str) -> str:
    return format_currency(
        EXACT.create_decimal(amount),
        currency,
        locale=_babel_locale(locale),
        decimal_quantization=False,
    )


@functools.lru_cache(maxsize=4_096)
def _time(instant: datetime, locale: str, zone: tzinfo | None) -> str:
    if zone is None:
        return f"{instant.astimezone(UTC).isoformat(' ')[:16]} UTC"
    return format_datetime(instant, "yyyy-MM-dd HH:mm z", tzinfo=zone, locale=_babel_locale(locale))


def _slots(
    pack: Pack, decision: Decision, request: DecisionRequest, words: _Words
) -> dict[str, object]:
    default = pack.settings.default_locale
    titles = _titles_of(pack)
    return {
        # A global, which a shared context doesn't have by itself.
        "range": _range,
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
        "facts": _FactTexts(decision.facts),
    }


class _FactTexts(Mapping[str, str | None]):
    """Facts that have a value, as text; most scripts look at one or two of them."""

    def __init__(self, facts: Mapping[str, tuple[Value, Source]]) -> None:
        self._facts = facts

    def __getitem__(self, name: str) -> str | None:
        value, _ = self._facts[name]
        if isinstance(value, Missing):
            raise KeyError(name)
        return value_text(value)

    def __iter__(self) -> Iterator[str]:
        return (name for name, (value, _) in self._facts.items() if not isinstance(value, Missing))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))


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
