"""A policy pack as the engine sees it: checked, typed, parameters filled in.

Built by `policy_engine.packs` from files; nothing here knows of YAML or positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from policy_engine.core.caps import Cap
from policy_engine.core.conditions import Condition
from policy_engine.core.facts import FactSpec, Value
from policy_engine.core.money import Money

Text = Mapping[str, str]
"""Locale → text."""

Amounts = Mapping[str, Money]
"""Currency → amount."""


class RemedyKind(StrEnum):
    REFUND = "refund"
    DISCOUNT = "discount"
    WAIVER = "waiver"
    COUPON = "coupon"
    STORE_CREDIT = "store_credit"
    COMPENSATION = "compensation"
    GIFT = "gift"
    RESHIP = "reship"
    SWAP = "swap"
    SHIPPING_UPGRADE = "shipping_upgrade"
    RETURN_LABEL = "return_label"
    KEEP_ITEM = "keep_item"
    PRIORITY_DISPATCH = "priority_dispatch"


MONEY_BACK = frozenset({RemedyKind.REFUND, RemedyKind.DISCOUNT, RemedyKind.WAIVER})
"""Never more than was paid for the line or the shipping it is given on."""
MONEY_GIVEN = frozenset({RemedyKind.COUPON, RemedyKind.STORE_CREDIT, RemedyKind.COMPENSATION})
IN_KIND = frozenset(
    {
        RemedyKind.GIFT,
        RemedyKind.RESHIP,
        RemedyKind.SWAP,
        RemedyKind.SHIPPING_UPGRADE,
        RemedyKind.RETURN_LABEL,
    }
)
"""Worth what they cost the shop; given whole or not at all."""
ACTS = frozenset({RemedyKind.KEEP_ITEM, RemedyKind.PRIORITY_DISPATCH})
"""Worth nothing."""
WHOLE_ONLY = IN_KIND | ACTS

REMAINING = "remaining"
"""`of: remaining`: goods_paid less the money back before it in the plan."""


@dataclass(frozen=True, slots=True)
class PercentOf:
    """`percent` of a money fact, or of REMAINING."""

    percent: Decimal
    of: str


@dataclass(frozen=True, slots=True)
class FixedAmount:
    amounts: Amounts


@dataclass(frozen=True, slots=True)
class FactAmount:
    """As much as a money fact says."""

    fact: str


Worth = PercentOf | FixedAmount | FactAmount


@dataclass(frozen=True, slots=True)
class Per:
    """Times the whole periods of `every` in a duration (or integer) fact."""

    fact: str
    every: timedelta | int


@dataclass(frozen=True, slots=True)
class RemedyRule:
    """What a remedy is worth, and what people are told of it. `worth` is None for acts only."""

    kind: RemedyKind
    worth: Worth | None = None
    per: Per | None = None
    round_to: Amounts | None = None
    min: Amounts | None = None
    max: Amounts | None = None
    valid_for: timedelta | None = None
    min_spend: Amounts | None = None
    service: str | None = None
    within: timedelta | None = None


class Floor(StrEnum):
    STATUTORY = "statutory"
    GOODWILL = "goodwill"


@dataclass(frozen=True, slots=True)
class EvidenceNeed:
    """An evidence of this kind with all the named fields (`reference`, `verified`) filled."""

    kind: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FollowUp:
    name: str
    on: str
    after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    name: str
    title: Text
    remedies: tuple[RemedyRule, ...]
    when: Condition | None = None
    evidence: tuple[EvidenceNeed, ...] = ()
    follow_ups: tuple[FollowUp, ...] = ()
    rank: int = 0
    takes_add_ons: bool = True
    fallback: bool = False
    floor: Floor | None = None


@dataclass(frozen=True, slots=True)
class AddOn:
    name: str
    title: Text
    remedies: tuple[RemedyRule, ...]
    when: Condition | None = None
    evidence: tuple[EvidenceNeed, ...] = ()


@dataclass(frozen=True, slots=True)
class Action:
    """A duty that needs no authority."""

    name: str
    title: Text
    when: Condition | None = None
    within: timedelta | None = None


class DateBy(StrEnum):
    DECISION = "decision"
    INCIDENT = "incident"


@dataclass(frozen=True, slots=True)
class Policy:
    """One version of a policy: effective in [effective_from, effective_until)."""

    id: str
    title: Text
    reason_code: str
    applies_to: frozenset[str]
    plans: tuple[Plan, ...]
    add_ons: tuple[AddOn, ...] = ()
    actions: tuple[Action, ...] = ()
    evidence: tuple[EvidenceNeed, ...] = ()
    follow_ups: tuple[FollowUp, ...] = ()
    effective_from: datetime | None = None
    effective_until: datetime | None = None
    date_by: DateBy = DateBy.DECISION
    message: str | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)
    """As written, for showing; the rules already hold the values."""
    unconfirmed: tuple[str, ...] = ()

    def effective_at(self, instant: datetime) -> bool:
        return (self.effective_from is None or self.effective_from <= instant) and (
            self.effective_until is None or instant < self.effective_until
        )


@dataclass(frozen=True, slots=True)
class Role:
    name: str
    may: frozenset[str] | None = None
    """Kinds of remedy this role may issue; None: all."""
    approver: str | None = None

    def may_issue(self, kind: str) -> bool:
        return self.may is None or kind in self.may


@dataclass(frozen=True, slots=True)
class DerivedRule:
    """`{is: value, when: …}`; without a condition it is the else."""

    value: Value
    when: Condition | None = None


@dataclass(frozen=True, slots=True)
class DerivedFact:
    fact: str
    rules: tuple[DerivedRule, ...]


@dataclass(frozen=True, slots=True)
class Milestone:
    name: str
    within: timedelta
    channel: str | None = None
    """None: every channel that has no milestone of this name of its own."""


@dataclass(frozen=True, slots=True)
class ForbiddenPhrase:
    phrase: str
    locale: str
    family: str
    instead: str
    unless: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PackSettings:
    """pack.yaml."""

    offer_valid_for: Mapping[str, timedelta] = field(
        default_factory=lambda: {"default": timedelta(minutes=15)}
    )
    """Channel → how long an offer can be granted; `default` for every other channel."""
    pending_for: timedelta = timedelta(days=3)
    offer_at_most: int | None = None
    default_locale: str = "en"
    milestones: tuple[Milestone, ...] = (
        Milestone("first_reply", timedelta(minutes=5), "whatsapp"),
    )


Script = Mapping[str, str]
"""Part (opening, empathy, explanation, solution, compensation) → template."""

SCRIPT_PARTS = ("opening", "empathy", "explanation", "solution", "compensation")


@dataclass(frozen=True, slots=True)
class Pack:
    """Everything that decides. `revision` is `sha256:…` over the pack's bytes."""

    revision: str
    roles: Mapping[str, Role]
    caps: tuple[Cap, ...]
    policies: tuple[Policy, ...]
    """Versions of one id stand together, by effective_from; ids in order."""
    facts: Mapping[str, FactSpec]
    """Built in and declared."""
    derived: tuple[tuple[DerivedFact, ...], ...] = ()
    """Layers: a layer uses only facts that are not derived, or derived by a layer before it."""
    settings: PackSettings = field(default_factory=PackSettings)
    scripts: Mapping[str, Mapping[str, Mapping[str, Script]]] = field(default_factory=dict)
    """Locale → message id → outcome → script."""
    never_say: tuple[ForbiddenPhrase, ...] = ()

    def approver_chain(self, role: str) -> tuple[str, ...]:
        """The role itself and those up its approver chain, lowest first."""
        chain: list[str] = []
        at: str | None = role
        while at is not None and at in self.roles and at not in chain:
            chain.append(at)
            at = self.roles[at].approver
        return tuple(chain)
