"""The answers as schemas, for the API document. Answers are not built from these.

A test compares every answer of the suite with them, so that they can't drift apart.
"""

from __future__ import annotations

from typing import Any

from marshmallow import RAISE, Schema, fields
from marshmallow.validate import OneOf

from policy_engine.core.caps import Scope
from policy_engine.core.decision import (
    AuthorityStatus,
    DecisionOutcome,
    Refusal,
    RemedyStatus,
)
from policy_engine.core.policy import SCRIPT_PARTS, Floor, RemedyKind
from policy_engine.packs.problems import Severity


class Answer(Schema):
    """An object of exactly these members."""

    class Meta:
        unknown = RAISE


def a_revision(description: str, *, null: bool = False) -> fields.String:
    return a_text(description, null=null, pattern="^sha256:[0-9a-f]{64}$")


def a_text(description: str, *, null: bool = False, **more: Any) -> fields.String:
    return fields.String(
        required=True, allow_none=null, metadata={"description": description, **more}
    )


def a_word(values: Any, description: str) -> fields.String:
    return fields.String(
        required=True,
        validate=OneOf([each.value for each in values]),
        metadata={"description": description},
    )


def an_instant(description: str, *, null: bool = False) -> fields.String:
    return a_text(description, null=null, format="date-time")


def a_flag(description: str) -> fields.Boolean:
    return fields.Boolean(required=True, metadata={"description": description})


def a_part(schema: type[Schema], *, null: bool = False) -> fields.Nested:
    return fields.Nested(schema, required=True, allow_none=null)


def rows_of(schema: type[Schema], description: str) -> fields.List[Any]:
    return fields.List(fields.Nested(schema), required=True, metadata={"description": description})


def texts(description: str) -> fields.List[Any]:
    return fields.List(fields.String(), required=True, metadata={"description": description})


def a_measure(description: str, *, null: bool = False) -> fields.Raw:
    kinds: list[dict[str, str]] = [{"$ref": "#/components/schemas/Amount"}, {"type": "integer"}]
    if null:
        kinds.append({"type": "null"})
    return fields.Raw(required=True, metadata={"description": description, "anyOf": kinds})


def an_object(description: str) -> fields.Dict:
    return fields.Dict(required=True, metadata={"description": description})


class AmountSchema(Answer):
    amount = a_text("Digits with exactly the currency's decimals.", example="40.00")
    currency = a_text("ISO 4217 code.", example="CNY")


class BecauseSchema(Answer):
    fact = a_text("The fact that was compared.", example="shipping.delay")
    observed = a_text("What it was; null: it has no value.", null=True, example="P6D")
    required = a_text("What the condition asks for.", example="over P5D")
    outcome = fields.Boolean(
        required=True, allow_none=True, metadata={"description": "null: unknown."}
    )


class RemedyAnswerSchema(Answer):
    """`entitled` = `allowed` + `pending` + `uncovered`, to the minor unit."""

    kind = a_word(RemedyKind, "What is given.")
    source = fields.String(
        required=True,
        data_key="from",
        metadata={"description": "The policy and plan, or add-on, that it comes from."},
    )
    status = a_word(RemedyStatus, "How much of it the agent can give.")
    entitled = a_part(AmountSchema)
    allowed = a_part(AmountSchema)
    pending = a_part(AmountSchema)
    uncovered = a_part(AmountSchema)
    tax = a_part(AmountSchema, null=True)
    net = a_part(AmountSchema, null=True)
    floor = fields.String(
        required=True,
        allow_none=True,
        validate=OneOf([each.value for each in Floor]),
        metadata={"description": "Why caps don't touch it; null: they do."},
    )
    valid_for = a_text("How long it can be used (ISO 8601).", null=True)
    min_spend = a_part(AmountSchema, null=True)
    service = a_text("The service that is meant, such as a kind of shipping.", null=True)
    due_at = an_instant("When it must be carried out by.", null=True)


class AuthoritySchema(Answer):
    status = a_word(AuthorityStatus, "May the agent give it?")
    approver = a_text("The lowest role that may give what is pending.", null=True)


class PlanAnswerSchema(Answer):
    plan = a_text("`policy/plan`.", example="shipping_delay/delay_coupon")
    title = a_text("In the customer's language.")
    recommended = a_flag("The first of the list is.")
    remedies = rows_of(RemedyAnswerSchema, "What the plan gives.")
    entitled = a_part(AmountSchema)
    allowed = a_part(AmountSchema)
    pending = a_part(AmountSchema)
    uncovered = a_part(AmountSchema)
    binding_cap = a_text("The cap that cut what the agent can give.", null=True)
    authority = a_part(AuthoritySchema)
    because = rows_of(BecauseSchema, "The comparisons that decided.")


class NotOfferedSchema(Answer):
    plan = a_text("`policy/plan`.")
    code = a_word(Refusal, "The first reason that holds.")
    because = rows_of(BecauseSchema, "The comparisons that decided.")
    text = a_text("The reason for people.")


class FactNeededSchema(Answer):
    fact = a_text("What the caller can send.", example="order.promised_delivery_by")
    type = a_text("Its type.", example="timestamp")
    ask = a_text("The question to ask for it.", null=True)


class CapAnswerSchema(Answer):
    """Amounts are money, or numbers of grants where the cap counts those."""

    cap = a_text("Its name.", example="customer_30d")
    scope = a_word(Scope, "What it bounds.")
    policy = a_text("For scope claim: of which policy.", null=True)
    limit = a_measure("What may be given; null: no amount in this currency.", null=True)
    used = a_measure("What was granted in its window.")
    headroom = a_measure("What is left.")
    resets_at = an_instant("When headroom comes back.", null=True)


class ScriptSchema(Answer):
    """What to say, in this order."""

    opening = fields.String()
    empathy = fields.String()
    explanation = fields.String()
    solution = fields.String()
    compensation = fields.String()


assert tuple(ScriptSchema._declared_fields) == SCRIPT_PARTS  # noqa: SLF001 -- documented as such


class ActionSchema(Answer):
    action = a_text("Its name.", example="open_trace")
    title = a_text("In the customer's language.")
    policy = a_text("Whose duty it is.", null=True)
    due_at = an_instant("Until when.", null=True)


class MilestoneSchema(Answer):
    milestone = a_text("Its name.", example="first_reply")
    due_at = an_instant("Until when.", null=True)


class FollowUpSchema(Answer):
    follow_up = a_text("Its name.", example="check_in")
    on = a_text("After what.", example="redeemed")
    policy = a_text("Of which policy.")
    plan = a_text("Of which plan; null: of any of the policy.", null=True)
    after = a_text("How long after (ISO 8601).", null=True)


class NeverSaySchema(Answer):
    phrase = a_text("What not to say.")
    family = a_text("What kind of phrase it is.")
    instead = a_text("What to say instead.")
    unless = texts("Longer phrases that contain it and are harmless.")


class GuidanceSchema(Answer):
    facts = an_object("Derived facts.")
    actions = rows_of(ActionSchema, "Duties that need no authority.")
    script = a_part(ScriptSchema)
    milestones = rows_of(MilestoneSchema, "When the customer hears from us.")
    follow_ups = rows_of(FollowUpSchema, "What comes later.")
    never_say = rows_of(NeverSaySchema, "Phrases to avoid, in the customer's language.")


class AuditSchema(Answer):
    record = a_text("The id of the record.")
    digest = a_revision("SHA-256 over a zero byte and the record.")


class DecisionAnswerSchema(Answer):
    decision_id = a_text("For granting and reading it.", null=True)
    outcome = a_word(DecisionOutcome, "What can be offered.")
    pack_revision = a_revision("The pack that decided.")
    as_of = an_instant("The instant it was decided for.")
    expires_at = an_instant("Until when an offer can be granted.", null=True)
    grantable = a_flag("False for a dry run and for an as_of of the caller's own.")
    dry_run = a_flag("True: nothing was recorded.")
    plans = rows_of(PlanAnswerSchema, "Alternatives, best first: the customer gets one.")
    not_offered = rows_of(NotOfferedSchema, "The other plans, and why not.")
    facts_needed = rows_of(FactNeededSchema, "What would tell more.")
    caps = rows_of(CapAnswerSchema, "The limits that were looked at.")
    guidance = a_part(GuidanceSchema)
    audit = a_part(AuditSchema, null=True)


class DecisionListSchema(Answer):
    decisions = rows_of(DecisionAnswerSchema, "Newest first.")
    next_cursor = a_text("For the next page; null: this is the last.", null=True)


class BatchResultSchema(Answer):
    status = fields.Integer(required=True, metadata={"description": "HTTP status of this one."})
    body = fields.Dict(required=True, metadata={"description": "A decision or a problem."})


class BatchAnswerSchema(Answer):
    results = rows_of(BatchResultSchema, "One for each decision asked for, in order.")


class DifferenceSchema(Answer):
    pointer = a_text("Into the evaluation; rows are named by plan, cap, fact or kind.")
    recorded = fields.Raw(required=True, metadata={"description": "What it was."})
    now = fields.Raw(required=True, metadata={"description": "What it is now."})


class ReplayAnswerSchema(Answer):
    decision_id = a_text("The decision that was evaluated again.")
    recorded_revision = a_revision("The pack that decided then.")
    revision = a_revision("The pack of this evaluation.")
    equal = a_flag("Does it come to the same?")
    differences = rows_of(DifferenceSchema, "Where it comes to something else.")


class PackProblemSchema(Answer):
    file = a_text("In the pack.", example="shipping_delay.yaml")
    line = fields.Integer(required=True, metadata={"description": "From 1."})
    column = fields.Integer(required=True, metadata={"description": "In characters, from 1."})
    severity = a_word(Severity, "An error keeps a pack from becoming active.")
    code = a_text("Stable, for programs.")
    message = a_text("For people.")


class LeftOfRemedySchema(Answer):
    remedy = a_text("Its id in the grant.")
    allowed = a_part(AmountSchema)
    pending = a_part(AmountSchema)


class LeftSchema(Answer):
    """Of what was asked: what would be given at once, and what after approval."""

    allowed = a_part(AmountSchema)
    pending = a_part(AmountSchema)
    remedies = rows_of(LeftOfRemedySchema, "Remedy by remedy.")


class ProblemErrorSchema(Answer):
    where = fields.String(
        required=True,
        data_key="in",
        validate=OneOf(["body", "query"]),
        metadata={"description": "What the pointer leads into."},
    )
    pointer = a_text("JSON Pointer (RFC 6901).", example="/order/lines/0/paid")
    code = a_text("Stable, for programs.", example="WRONG_DECIMALS")
    message = a_text("For people.")


class ProblemSchema(Answer):
    """RFC 9457. `code` is stable; `detail` is for people and may change."""

    type = a_text("Always `about:blank`.")
    title = a_text("The status in words.")
    status = fields.Integer(required=True, metadata={"description": "The HTTP status."})
    code = a_text("Stable, for programs.", example="INVALID_REQUEST")
    detail = a_text("For people.")
    errors = fields.List(
        fields.Nested(ProblemErrorSchema),
        metadata={"description": "What is wrong, place by place."},
    )
    revision = fields.String(metadata={"description": "The pack that was refused."})
    problems = fields.List(
        fields.Nested(PackProblemSchema),
        metadata={"description": "What is wrong with that pack."},
    )
    state = fields.String(metadata={"description": "Which state of a grant forbids it."})
    grant_id = fields.String(metadata={"description": "The grant that took the decision."})
    plan = fields.String(metadata={"description": "The plan that was asked for."})
    plans = fields.List(fields.String(), metadata={"description": "The plans that are offered."})
    offered = fields.Nested(AmountSchema, metadata={"description": "What the plan offers."})
    left = fields.Nested(LeftSchema, metadata={"description": "What could be granted now."})
    binding_cap = fields.String(
        allow_none=True, metadata={"description": "The cap that stands in the way."}
    )
    evidence = fields.List(
        fields.String(), metadata={"description": "Kinds of evidence that are spent."}
    )
    mismatch = fields.String(metadata={"description": "What of the order disagrees."})
    request_id = a_text("Quote it when you ask about this answer.")


class ShownRoleSchema(Answer):
    role = a_text("Its name.", example="agent")
    may = a_text("What it may issue.")
    approver = a_text("Who approves more; empty: nobody.")


class ShownCapSchema(Answer):
    cap = a_text("Its name.")
    scope = a_word(Scope, "What it bounds.")
    window = a_text("Since when it counts.")
    limit = a_text("How much.")
    holds_for = a_text("Which roles, kinds and policies.")


class ShownPlanSchema(Answer):
    name = a_text("Of the plan or add-on.")
    title = a_text("In the pack's default language.")
    when = a_text("Its condition.")
    gives = texts("Its remedies.")
    needs = texts("The evidence it needs.")
    options = texts("What else holds for it.")


class ShownParameterSchema(Answer):
    name = a_text("As in the file.")
    value = a_text("As it is set.")
    confirmed = a_flag("False: it must still be set.")


class ShownPolicySchema(Answer):
    policy = a_text("Its id.", example="shipping_delay")
    title = a_text("In the pack's default language.")
    reason_code = a_text("For the books.")
    applies_to = texts("Incident types.")
    effective = a_text("From when until when.")
    plans = rows_of(ShownPlanSchema, "Alternatives.")
    add_ons = rows_of(ShownPlanSchema, "What stacks on plans.")
    actions = texts("Duties.")
    parameters = rows_of(ShownParameterSchema, "What can be set.")


class PackAnswerSchema(Answer):
    revision = a_revision("Of the active pack.")
    active_since = an_instant("When it became the active one.")
    matcher = a_text("What matches conditions here.", example="rete")
    policies = rows_of(ShownPolicySchema, "Every version of every policy.")
    roles = rows_of(ShownRoleSchema, "Who may issue what.")
    caps = rows_of(ShownCapSchema, "Those of scope pack with the scope `audit` only.")


class PolicyAnswerSchema(Answer):
    policy = a_text("Its id.", example="shipping_delay")
    revision = a_revision("Of the pack it is in.")
    versions = rows_of(ShownPolicySchema, "By when they come into effect.")
    caps = rows_of(ShownCapSchema, "The caps that hold for it.")


class RevisionSchema(Answer):
    revision = a_revision("Of the pack's bytes.")
    stored_at = an_instant("When it was stored.")
    activated_at = an_instant("When it became active last; null: never.", null=True)
    active = a_flag("Is it the active one?")


class RevisionListSchema(Answer):
    revisions = rows_of(RevisionSchema, "Newest first.")


class CheckAnswerSchema(Answer):
    revision = a_revision("Of the candidate.")
    valid = a_flag("Could it become active?")
    problems = rows_of(PackProblemSchema, "Sorted by file, line and column.")


class ActivationSchema(Answer):
    revision = a_revision("Now the active one.")
    activated_at = an_instant("When.")
    previous_revision = a_revision("Active before.", null=True)
    problems = rows_of(PackProblemSchema, "Warnings of the pack.")


class LiveSchema(Answer):
    status = a_text("Always `live`.")


class RefusedPackSchema(Answer):
    revision = a_revision("The candidate.", null=True)
    at = an_instant("When it was refused.")


class ReadyPackSchema(Answer):
    revision = a_revision("The pack that decides.", null=True)
    active_since = an_instant("When it became the active one.", null=True)
    blocked = a_flag("True: the active revision can't be used here, and nothing is decided.")
    refused = a_part(RefusedPackSchema, null=True)


class ReadyDatabaseSchema(Answer):
    kind = a_text("What it is.", example="postgresql")
    answers = a_flag("Does it?")


class ReadyLogSchema(Answer):
    trusted = a_flag("Does it go on from the last checkpoint? If not, nothing is written.")
    because = a_text("What is wrong with it.", null=True)


class ReadySchema(Answer):
    status = a_text("`ready`, or `unready` (503).")
    pack = a_part(ReadyPackSchema)
    matcher = a_text("What matches conditions here.")
    database = a_part(ReadyDatabaseSchema)
    log = a_part(ReadyLogSchema)
    stopping = fields.Boolean(
        required=True, metadata={"description": "It was told to stop, and stays unready."}
    )
    version = a_text("Of the service.")
