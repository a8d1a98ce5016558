"""The keys of a policy file, as read and as published."""

from __future__ import annotations

from enum import StrEnum

from policy_engine.core.policy import DateBy, Floor
from policy_engine.packs.caps import POLICY_NAME
from policy_engine.packs.conditions import WHEN
from policy_engine.packs.nodes import Node
from policy_engine.packs.remedies import REMEDY
from policy_engine.packs.scalars import VALUE_NAME, Choice, Duration, Flag, Name, Timestamp, Whole
from policy_engine.packs.shapes import Anything, Key, ListOf, MapOf, Named, Table, Translations

PLANS_AT_MOST = 1_000


class EvidenceField(StrEnum):
    REFERENCE = "reference"
    VERIFIED = "verified"


_NAME = Name("a name")
_TITLE_DOC = "What people call it, by locale."

TITLE = Key("title", Translations(), _TITLE_DOC, example={"en": "Shipping delay"})
REMEDIES = Key(
    "remedies", ListOf(REMEDY, "a list of remedies", at_most=50), "What is given.", required=True
)
EVIDENCE_KIND = Key("kind", _NAME, "Which evidence.", required=True, example="payment_proof")
NEEDS = Key(
    "needs",
    ListOf(Choice(EvidenceField, "field of evidence"), "a list of fields"),
    "What must be filled in: a reference, and whether it is verified.",
    example=["reference"],
)
EVIDENCE = Key(
    "evidence",
    ListOf(
        Table(
            "evidence such as `{kind: payment_proof, needs: [reference]}`", (EVIDENCE_KIND, NEEDS)
        ),
        "a list of evidence",
        may_be_empty=True,
    ),
    "Without this evidence it is not offered.",
)
FOLLOW_UP = Key("follow_up", _NAME, "What to do.", required=True, example="check_in")
ON = Key("on", _NAME, "After which event.", required=True, example="redeemed")
AFTER = Key("after", Duration(), "How long after it.", example="P1D")
FOLLOW_UPS = Key(
    "follow_ups",
    ListOf(
        Table("a follow-up such as `{follow_up: check_in, on: redeemed}`", (FOLLOW_UP, ON, AFTER)),
        "a list of follow-ups",
        may_be_empty=True,
    ),
    "What agents do later.",
)
PLAN_NAME = Key("plan", _NAME, "Its name within the policy.", required=True)
RANK = Key(
    "rank", Whole(-1_000_000, 1_000_000), "Higher ones come first, before value (0).", example=10
)
TAKES_ADD_ONS = Key("takes_add_ons", Flag(), "Do add-ons stack on it? (true)", example=False)
FALLBACK = Key(
    "fallback", Flag(), "Only where no other plan of the policy can be had (false).", example=True
)
FLOOR = Key(
    "floor",
    Choice(Floor, "floor"),
    "Caps don't touch it: the law demands it (statutory), or the shop does (goodwill).",
    example="goodwill",
)
PLAN = Table(
    "a plan such as `{plan: coupon, remedies: […]}`",
    (PLAN_NAME, TITLE, WHEN, REMEDIES, EVIDENCE, FOLLOW_UPS, RANK, TAKES_ADD_ONS, FALLBACK, FLOOR),
    "One of the alternatives: the customer gets one plan.",
)
ADD_ON_NAME = Key("add_on", _NAME, "Its name within the policy.", required=True)
ADD_ON = Table(
    "an add-on such as `{add_on: gift, remedies: […]}`",
    (ADD_ON_NAME, TITLE, WHEN, REMEDIES, EVIDENCE),
    "Stacks on plans, of any policy that applies.",
)
ACTION_NAME = Key("action", _NAME, "Its name within the policy.", required=True)
WITHIN = Key("within", Duration(), "How soon it is due.", example="PT1H")
ACTION = Table(
    "an action such as `{action: open_trace, within: PT1H}`",
    (ACTION_NAME, TITLE, WHEN, WITHIN),
    "A duty that needs no authority, returned as guidance.",
)
START = Key("from", Timestamp(), "From this instant on.", example="2026-01-01T00:00:00+08:00")
END = Key("until", Timestamp(), "Up to, not including, this instant.")
POLICY = Key(
    "policy",
    POLICY_NAME,
    "Its id; files with the same id are versions of one policy.",
    required=True,
)
REASON_CODE = Key(
    "reason_code",
    _NAME,
    "The code under which finance books it.",
    required=True,
    example="SHIPPING_DELAY",
)
EFFECTIVE = Key(
    "effective",
    Table('an interval such as `{from: "2026-01-01T00:00:00+08:00"}`', (START, END)),
    "When this version holds: from (inclusive) until (exclusive). Without it, always.",
)
DATE_BY = Key(
    "date_by",
    Choice(DateBy, "way to pick the version"),
    "Which time picks the version: that of the decision (default), or the incident's reported_at.",
)
APPLIES_TO = Key(
    "applies_to",
    ListOf(VALUE_NAME, "a list of incident types"),
    "For incidents of any of these types.",
    required=True,
    example=["shipping_delay"],
)
PARAMETERS: Key[tuple[Named[Node], ...]] = Key(
    "parameters",
    MapOf(
        Name(
            "the name of a parameter", r"[A-Za-z_][A-Za-z0-9_]{0,63}", "use letters, digits and `_`"
        ),
        Anything("a value"),
        "values by name",
        may_be_empty=True,
    ),
    "Values that ops set; `$name` anywhere in the policy stands for one.",
    example={"coupon_percent": "5"},
)
UNCONFIRMED = Key(
    "unconfirmed",
    ListOf(_NAME, "a list of parameters", may_be_empty=True),
    "Parameters whose value ops must still confirm.",
)
PLANS = Key(
    "plans",
    ListOf(PLAN, "a list of plans", may_be_empty=True, at_most=PLANS_AT_MOST),
    "Alternatives; the customer gets one.",
)
ADD_ONS = Key(
    "add_ons",
    ListOf(ADD_ON, "a list of add-ons", may_be_empty=True, at_most=PLANS_AT_MOST),
    "What stacks on plans.",
)
ACTIONS = Key(
    "actions",
    ListOf(ACTION, "a list of actions", may_be_empty=True, at_most=PLANS_AT_MOST),
    "Duties that need no authority.",
)
MESSAGE = Key("message", _NAME, "The script in messages/<locale>.yaml.", example="shipping_delay")
POLICY_FILE = Table(
    "a policy",
    (
        POLICY, TITLE, REASON_CODE, EFFECTIVE, DATE_BY, APPLIES_TO, PARAMETERS, UNCONFIRMED,
        PLANS, ADD_ONS, ACTIONS, EVIDENCE, FOLLOW_UPS, MESSAGE,
    ),
)  # fmt: skip
