"""Typed facts: what conditions may name, where a fact comes from, and what it is worth now.

A fact is a value of its declared type, or it is missing in one of two ways that mean
different things (CONTRACT §2): `Missing.UNKNOWN` (omitted) or `Missing.ABSENT` (null).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any, Final

from policy_engine.core.money import Money
from policy_engine.core.times import format_duration, format_timestamp


class Missing(Enum):
    """Why a fact has no value."""

    UNKNOWN = "unknown"
    """The caller left it out: nothing can be concluded from it."""
    ABSENT = "absent"
    """The caller said null: it is known not to be there."""

    def __bool__(self) -> bool:
        return False


UNKNOWN: Final = Missing.UNKNOWN
ABSENT: Final = Missing.ABSENT

KnownValue = bool | int | Decimal | Money | timedelta | datetime | str | frozenset[str]
Value = KnownValue | Missing
"""bool, int, Decimal, Money, timedelta, aware datetime, str (string and enum), frozenset of str,
or one of the two ways to be missing."""


class FactType(StrEnum):
    BOOLEAN = "boolean"
    INTEGER = "integer"
    DECIMAL = "decimal"
    MONEY = "money"
    DURATION = "duration"
    TIMESTAMP = "timestamp"
    ENUM = "enum"
    SET = "set"
    STRING = "string"


class Source(StrEnum):
    """Where the value of a fact came from; written into every record."""

    REGISTERED = "registered"
    """The shop's back end registered it with the order."""
    ASSERTED = "asserted"
    """The caller of the decision claims it."""
    COMPUTED = "computed"
    """The engine computed it from other facts."""
    DERIVED = "derived"
    """A rule of the pack derived it."""
    DEFAULTED = "defaulted"
    """The caller left it out and the pack declares a default."""


@dataclass(frozen=True, slots=True)
class FactSpec:
    """The declaration of one fact. Exactly one of the sources below is set."""

    name: str
    type: FactType
    values: tuple[str, ...] | None = None
    """Allowed values of an enum or a set; None: any."""
    ask: Mapping[str, str] = field(default_factory=dict)
    """Locale → the question to ask for it."""
    default: Value | tuple[Money, ...] = UNKNOWN
    """Only for facts declared `from: request`; of a money fact one amount for each currency."""
    from_request: bool = False
    """Sent under `facts` of a request."""
    sent: bool = False
    """A field of the request's order, incident, customer, agent or channel."""
    since: str | None = None
    until: str | None = None
    """A duration from `since` until `until`, or until the decision's as_of."""
    derived: bool = False
    needs: tuple[str, ...] = ()
    """For a computed fact: the fields of a request that it is computed from."""

    def default_in(self, currency: str) -> Value:
        """What it is worth when a caller leaves it out; UNKNOWN without a default, and for money
        without one in this currency."""
        if not isinstance(self.default, tuple):
            return self.default
        return next((money for money in self.default if money.currency == currency), UNKNOWN)


def _sent(type_: FactType, *names: str) -> list[FactSpec]:
    return [FactSpec(name, type_, sent=True) for name in names]


SHIPPING: Final = "shipping"
"""The name of the part of an order's payment that belongs to no line."""

_LINES_PAID = ("order.lines.paid",)

BUILT_IN: Final[Mapping[str, FactSpec]] = {
    spec.name: spec
    for spec in (
        *_sent(FactType.STRING, "order.id", "order.currency"),
        *_sent(
            FactType.TIMESTAMP,
            "order.placed_at",
            "order.paid_at",
            "order.promised_dispatch_by",
            "order.expected_dispatch_at",
            "order.dispatched_at",
            "order.promised_delivery_by",
            "order.last_tracking_at",
            "order.delivered_at",
        ),
        *_sent(FactType.MONEY, "order.shipping_paid", "order.express_cost"),
        *_sent(FactType.SET, "order.lines"),
        *_sent(FactType.SET, "incident.types", "incident.lines", "incident.evidence"),
        *_sent(FactType.STRING, "incident.id", "incident.cause"),
        *_sent(FactType.TIMESTAMP, "incident.reported_at", "incident.trace_opened_at"),
        *_sent(FactType.STRING, "customer.id", "customer.tier", "customer.locale", "customer.name"),
        *_sent(FactType.STRING, "agent.id", "agent.role", "channel"),
        FactSpec("order.goods_paid", FactType.MONEY, needs=_LINES_PAID),
        FactSpec("order.total_paid", FactType.MONEY, needs=(*_LINES_PAID, "order.shipping_paid")),
        FactSpec("incident.lines_paid", FactType.MONEY, needs=_LINES_PAID),
        FactSpec("order.age", FactType.DURATION, since="order.placed_at"),
        FactSpec(
            "shipping.delay",
            FactType.DURATION,
            since="order.promised_delivery_by",
            until="order.delivered_at",
        ),
        FactSpec("shipping.silent_for", FactType.DURATION, since="order.last_tracking_at"),
        FactSpec(
            "dispatch.delay",
            FactType.DURATION,
            since="order.promised_dispatch_by",
            until="order.dispatched_at",
        ),
        FactSpec("dispatch.due_in", FactType.DURATION, needs=("order.promised_dispatch_by",)),
    )
}
"""Every fact that exists without being declared (CONTRACT §1)."""


def value_text(value: Value) -> str | None:
    """How a value is shown in reasons: `P6D`, `40.00 CNY`, `true`, `gold`; None when missing."""
    show = _TEXTS.get(type(value))
    return str(value) if show is None else show(value)


_TEXTS: Final[Mapping[type, Callable[[Any], str | None]]] = {
    Missing: lambda _: None,
    bool: lambda value: "true" if value else "false",
    timedelta: format_duration,
    datetime: format_timestamp,
    frozenset: lambda value: ", ".join(sorted(value)),
    Decimal: lambda value: format(value, "f"),
}
"""Of the types that `str` doesn't show as it should."""
