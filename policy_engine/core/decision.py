"""The decision: what may be offered, up to which amount, who must approve more, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from policy_engine.core.caps import Cap
from policy_engine.core.conditions import Comparison, Outcome
from policy_engine.core.facts import Source, Value
from policy_engine.core.policy import Action, Floor, FollowUp, Milestone, RemedyRule


class DecisionOutcome(StrEnum):
    OFFER = "offer"
    APPROVAL_REQUIRED = "approval_required"
    FACTS_NEEDED = "facts_needed"
    NOTHING_DUE = "nothing_due"


class Refusal(StrEnum):
    """Why a plan is not offered; the first that holds, in this order."""

    NOT_EFFECTIVE = "NOT_EFFECTIVE"
    CONDITION_FALSE = "CONDITION_FALSE"
    FACTS_MISSING = "FACTS_MISSING"
    EVIDENCE_MISSING = "EVIDENCE_MISSING"
    NO_AMOUNT_FOR_CURRENCY = "NO_AMOUNT_FOR_CURRENCY"
    NOTHING_LEFT = "NOTHING_LEFT"
    ROLE_FORBIDDEN = "ROLE_FORBIDDEN"
    NO_LIMIT_FOR_CURRENCY = "NO_LIMIT_FOR_CURRENCY"
    CAP_EXHAUSTED = "CAP_EXHAUSTED"
    FALLBACK_NOT_NEEDED = "FALLBACK_NOT_NEEDED"
    BEYOND_OFFER_AT_MOST = "BEYOND_OFFER_AT_MOST"


class RemedyStatus(StrEnum):
    ALLOWED = "allowed"
    PARTIAL = "partial"
    PENDING = "pending"
    UNCOVERED = "uncovered"


class AuthorityStatus(StrEnum):
    ALLOWED = "allowed"
    PARTIAL = "partial"
    APPROVAL_REQUIRED = "approval_required"


@dataclass(frozen=True, slots=True)
class Because:
    """One comparison that decided, with what was observed when it was evaluated."""

    comparison: Comparison
    observed: Value
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Share:
    """Part of a remedy that falls on one line (by line id) or on the shipping (`None`)."""

    line: str | None
    minor: int


@dataclass(frozen=True, slots=True)
class OfferedRemedy:
    """entitled = allowed + pending + uncovered, in minor units of the order's currency."""

    rule: RemedyRule
    source: str
    """`policy/plan` or `policy/add_on` that it comes from."""
    policy: str
    floor: Floor | None
    entitled: int
    allowed: int
    pending: int
    uncovered: int
    status: RemedyStatus
    tax: int | None
    net: int | None
    """Tax inside `allowed` and the rest; None where a line concerned has no rate."""
    shares: tuple[Share, ...]
    """How allowed and pending together fall on lines and shipping; empty where no line is
    concerned."""
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class OfferedPlan:
    plan: str
    """`policy/plan`."""
    policy: str
    rank: int
    recommended: bool
    remedies: tuple[OfferedRemedy, ...]
    entitled: int
    allowed: int
    pending: int
    uncovered: int
    binding_cap: str | None
    status: AuthorityStatus
    approver: str | None
    because: tuple[Because, ...]


@dataclass(frozen=True, slots=True)
class NotOffered:
    plan: str
    policy: str
    code: Refusal
    because: tuple[Because, ...] = ()
    lacks: tuple[str, ...] = ()
    """Facts and evidence, where that is the reason."""


@dataclass(frozen=True, slots=True)
class CapReading:
    """A cap as it stood: minor units, or numbers of grants for a count.

    `limit` is None where the cap has no amount in the order's currency.
    """

    cap: Cap
    policy: str | None
    """The policy, for scope claim."""
    limit: int | None
    used: int
    headroom: int
    resets_at: datetime | None


@dataclass(frozen=True, slots=True)
class Due:
    """A milestone or an action with the time it is due."""

    what: Milestone | Action
    policy: str | None
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Decision:
    outcome: DecisionOutcome
    currency: str
    as_of: datetime
    expires_at: datetime | None
    plans: tuple[OfferedPlan, ...]
    not_offered: Sequence[NotOffered]
    facts_needed: tuple[str, ...]
    caps: tuple[CapReading, ...]
    derived: Mapping[str, Value]
    facts: Mapping[str, tuple[Value, Source]]
    """Every fact that was looked at, with its source."""
    trace: Sequence[Because]
    """Every comparison that was evaluated."""
    actions: tuple[Due, ...] = ()
    milestones: tuple[Due, ...] = ()
    follow_ups: tuple[tuple[str, FollowUp], ...] = ()
    """(`policy` or `policy/plan`, follow-up)."""
    message: tuple[str, DecisionOutcome] | None = None
    """The script: message id and outcome, rendered outside the core."""
    policies: tuple[str, ...] = field(default=())
    """The policies that apply and are effective."""
    reason_codes: Mapping[str, str] = field(default_factory=dict)
    """Of each of them, the code that finance books it under."""
