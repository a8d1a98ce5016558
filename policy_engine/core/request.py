"""A decision request, already read and typed: what the caller says happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from policy_engine.core.facts import UNKNOWN, Missing, Value
from policy_engine.core.money import Money


@dataclass(frozen=True, slots=True)
class Line:
    """One order line. `paid` is the line's total, tax included, discounts off."""

    id: str
    paid: Money | Missing = UNKNOWN
    tax_rate: Decimal | Missing = UNKNOWN
    """Percent, contained in `paid`."""
    sku: str | Missing = UNKNOWN
    quantity: int | Missing = UNKNOWN


@dataclass(frozen=True, slots=True)
class Evidence:
    kind: str
    reference: str | None = None
    verified: bool = False


@dataclass(frozen=True, slots=True)
class Agent:
    """Who asks, and the role that bounds what is allowed."""

    id: str
    role: str


@dataclass(frozen=True, slots=True)
class DecisionRequest:
    """`fields` holds every scalar field that the caller sent, by fact name (`order.paid_at`),
    ABSENT for null; what is not in it was omitted. `facts` are those declared `from: request`."""

    order_id: str
    currency: str
    customer_id: str
    incident_types: frozenset[str]
    lines: tuple[Line, ...]
    agent: Agent
    incident_lines: frozenset[str] = frozenset()
    """Empty: all lines."""
    evidence: tuple[Evidence, ...] = ()
    fields: Mapping[str, Value] = field(default_factory=dict)
    facts: Mapping[str, Value] = field(default_factory=dict)
    reference: Mapping[str, str] = field(default_factory=dict)
    """The caller's own references (ticket numbers), kept and searchable, never evaluated."""
    registered: frozenset[str] = frozenset()
    """Names of fields that come from the order's registration, not from this caller."""
