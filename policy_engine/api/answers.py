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


def _revision(description: str, *, null: bool = False) -> fields.String:
    return _text(description, null=null, pattern="^sha256:[0-9a-f]{64}$")


def _text(description: str, *, null: bool = False, **more: Any) -> fields.String:
    return fields.String(
        required=True, allow_none=null, metadata={"description": description, **more}
    )


def _word(values: Any, description: str) -> fields.String:
    return fields.String(
        required=True,
        validate=OneOf([each.value for each in values]),
        metadata={"description": description},
    )


def _instant(description: str, *, null: bool = False) -> fields.String:
    return _text(description, null=null, format="date-time")


def _flag(description: str) -> fields.Boolean:
    return fields.Boolean(required=True, metadata={"description": description})


def _part(schema: type[Schema], *, null: bool = False) -> fields.Nested:
    return fields.Nested(schema, required=True, allow_none=null)


def _rows(schema: type[Schema], description: str) -> fields.List[Any]:
    return fields.List(fields.Nested(schema), required=True, metadata={"description": description})


def _texts(description: str) -> fields.List[Any]:
    return fields.List(fields.String(), required=True, metadata={"description": description})


def _measured(description: str, *, null: bool = False) -> fields.Raw:
    kinds: list[dict[str, str]] = [{"$ref": "#/components/schemas/Amount"}, {"type": "integer"}]
    if null:
        kinds.append({"type": "null"})
    return fields.Raw(required=True, metadata={"description": description, "anyOf": kinds})


def _object(description: str) -> fields.Dict:
    return fields.Dict(required=True, metadata={"description": description})


class AmountSchema(Answer):
    amount = _text("Digits with exactly the currency's decimals.", example="40.00")
    currency = _text("ISO 4217 code.", example="CNY")


class BecauseSchema(Answer):
    fact = _text("The fact that was compared.", example="shipping.delay")
    observed = _text("What it was; null: it has no value.", null=True, example="P6D")
    required = _text("What the condition asks for.", example="over P5D")
    outcome = fields.Boolean(
        required=True, allow_none=True, metadata={"description": "null: unknown."}
    )


class RemedyAnswerSchema(Answer):
    """`entitled` = `allowed` + `pending` + `uncovered`, to the minor unit."""

    kind = _word(RemedyKind, "What is given.")
    source = fields.String(
        required=True,
        data_key="from",
        metadata={"description": "The policy and plan, or add-on, that it comes from."},
    )
    status = _word(RemedyStatus, "How much of it the agent can give.")
    entitled = _part(AmountSchema)
    allowed = _part(AmountSchema)
    pending = _part(AmountSchema)
    uncovered = _part(AmountSchema)
    tax = _part(AmountSchema, null=True)
    net = _part(AmountSchema, null=True)
    floor = fields.String(
        required=True,
        allow_none=True,
        validate=OneOf([each.value for each in Floor]),
        metadata={"description": "Why caps don't touch it; null: they do."},
    )
    valid_for = _text("How long it can be used (ISO 8601).", null=True)
    min_spend = _part(AmountSchema, null=True)
    service = _text("The service that is meant, such as a kind of shipping.", null=True)
    due_at = _instant("When it must be carried out by.", null=True)


class AuthoritySchema(Answer):
    status = _word(AuthorityStatus, "May the agent give it?")
    approver = _text("The lowest role that may give what is pending.", null=True)


class PlanAnswerSchema(Answer):
    plan = _text("`policy/plan`.", example="shipping_delay/delay_coupon")
    title = _text("In the customer's language.")
    recommended = _flag("The first of the list is.")
    remedies = _rows(RemedyAnswerSchema, "What the plan gives.")
    entitled = _part(AmountSchema)
    allowed = _part(AmountSchema)
    pending = _part(AmountSchema)
    uncovered = _part(AmountSchema)
    binding_cap = _text("The cap that cut what the agent can give.", null=True)
    authority = _part(AuthoritySchema)
    because = _rows(BecauseSchema, "The comparisons that decided.")


class NotOfferedSchema(Answer):
    plan = _text("`policy/plan`.")
    code = _word(Refusal, "The first reason that holds.")
    because = _rows(BecauseSchema, "The comparisons that decided.")
    text = _text("The reason for people.")


class FactNeededSchema(Answer):
    fact = _text("What the caller can send.", example="order.promised_delivery_by")
    type = _text("Its type.", example="timestamp")
    ask = _text("The question to ask for it.", null=True)


class CapAnswerSchema(Answer):
    """Amounts are money, or numbers of grants where the cap counts those."""

    cap = _text("Its name.", example="customer_30d")
    scope = _word(Scope, "What it bounds.")
    policy = _text("For scope claim: of which policy.", null=True)
    limit = _measured("What may be given; null: no amount in this currency.", null=True)
    used = _measured("What was granted in its window.")
    headroom = _measured("What is left.")
    resets_at = _instant("When headroom comes back.", null=True)


class ScriptSchema(Answer):
    """What to say, in this order."""

    opening = fields.String()
    empathy = fields.String()
    explanation = fields.String()
    solution = fields.String()
    compensation = fields.String()


assert tuple(ScriptSchema._declared_fields) == SCRIPT_PARTS  # noqa: SLF001 -- documented as such


class ActionSchema(Answer):
    action = _text("Its name.", example="open_trace")
    title = _text("In the customer's language.")
    policy = _text("Whose duty it is.", null=True)
    due_at = _instant("Until when.", null=True)


class MilestoneSchema(Answer):
    milestone = _text("Its name.", example="first_reply")
    due_at = _instant("Until when.", null=True)


class FollowUpSchema(Answer):
    follow_up = _text("Its name.", example="check_in")
    on = _text("After what.", example="redeemed")
    policy = _text("Of which policy.")
    plan = _text("Of which plan; null: of any of the policy.", null=True)
    after = _text("How long after (ISO 8601).", null=True)


class NeverSaySchema(Answer):
    phrase = _text("What not to say.")
    family = _text("What kind of phrase it is.")
    instead = _text("What to say instead.")


class GuidanceSchema(Answer):
    facts = _object("Derived facts.")
    actions = _rows(ActionSchema, "Duties that need no authority.")
    script = _part(ScriptSchema)
    milestones = _rows(MilestoneSchema, "When the customer hears from us.")
    follow_ups = _rows(FollowUpSchema, "What comes later.")
    never_say = _rows(NeverSaySchema, "Phrases to avoid, in the customer's language.")


class AuditSchema(Answer):
    record = _text("The id of the record.")
    digest = _revision("SHA-256 over a zero byte and the record.")


class DecisionAnswerSchema(Answer):
    decision_id = _text("For granting and reading it.", null=True)
    outcome = _word(DecisionOutcome, "What can be offered.")
    pack_revision = _revision("The pack that decided.")
    as_of = _instant("The instant it was decided for.")
    expires_at = _instant("Until when an offer can be granted.", null=True)
    grantable = _flag("False for a dry run and for an as_of of the caller's own.")
    dry_run = _flag("True: nothing was recorded.")
    plans = _rows(PlanAnswerSchema, "Alternatives, best first: the customer gets one.")
    not_offered = _rows(NotOfferedSchema, "The other plans, and why not.")
    facts_needed = _rows(FactNeededSchema, "What would tell more.")
    caps = _rows(CapAnswerSchema, "The limits that were looked at.")
    guidance = _part(GuidanceSchema)
    audit = _part(AuditSchema, null=True)


class DecisionListSchema(Answer):
    decisions = _rows(DecisionAnswerSchema, "Newest first.")
    next_cursor = _text("For the next page; null: this is the last.", null=True)


class BatchResultSchema(Answer):
    status = fields.Integer(required=True, metadata={"description": "HTTP status of this one."})
    body = fields.Dict(required=True, metadata={"description": "A decision or a problem."})


class BatchAnswerSchema(Answer):
    results = _rows(BatchResultSchema, "One for each decision asked for, in order.")


class DifferenceSchema(Answer):
    pointer = _text("Into the evaluation; rows are named by plan, cap, fact or kind.")
    recorded = fields.Raw(required=True, metadata={"description": "What it was."})
    now = fields.Raw(required=True, metadata={"description": "What it is now."})


class ReplayAnswerSchema(Answer):
    decision_id = _text("The decision that was evaluated again.")
    recorded_revision = _revision("The pack that decided then.")
    revision = _revision("The pack of this evaluation.")
    equal = _flag("Does it come to the same?")
    differences = _rows(DifferenceSchema, "Where it comes to something else.")


class PackProblemSchema(Answer):
    file = _text("In the pack.", example="shipping_delay.yaml")
    line = fields.Integer(required=True, metadata={"description": "From 1."})
    column = fields.Integer(required=True, metadata={"description": "In characters, from 1."})
    severity = _word(Severity, "An error keeps a pack from becoming active.")
    code = _text("Stable, for programs.")
    message = _text("For people.")


class ProblemErrorSchema(Answer):
    where = fields.String(
        required=True,
        data_key="in",
        validate=OneOf(["body", "query"]),
        metadata={"description": "What the pointer leads into."},
    )
    pointer = _text("JSON Pointer (RFC 6901).", example="/order/lines/0/paid")
    code = _text("Stable, for programs.", example="WRONG_DECIMALS")
    message = _text("For people.")


class ProblemSchema(Answer):
    """RFC 9457. `code` is stable; `detail` is for people and may change."""

    type = _text("Always `about:blank`.")
    title = _text("The status in words.")
    status = fields.Integer(required=True, metadata={"description": "The HTTP status."})
    code = _text("Stable, for programs.", example="INVALID_REQUEST")
    detail = _text("For people.")
    errors = fields.List(
        fields.Nested(ProblemErrorSchema),
        metadata={"description": "What is wrong, place by place."},
    )
    revision = fields.String(metadata={"description": "The pack that was refused."})
    problems = fields.List(
        fields.Nested(PackProblemSchema),
        metadata={"description": "What is wrong with that pack."},
    )
    request_id = _text("Quote it when you ask about this answer.")


class ShownRoleSchema(Answer):
    role = _text("Its name.", example="agent")
    may = _text("What it may issue.")
    approver = _text("Who approves more; empty: nobody.")


class ShownCapSchema(Answer):
    cap = _text("Its name.")
    scope = _word(Scope, "What it bounds.")
    window = _text("Since when it counts.")
    limit = _text("How much.")
    holds_for = _text("Which roles, kinds and policies.")


class ShownPlanSchema(Answer):
    name = _text("Of the plan or add-on.")
    title = _text("In the pack's default language.")
    when = _text("Its condition.")
    gives = _texts("Its remedies.")
    needs = _texts("The evidence it needs.")
    options = _texts("What else holds for it.")


class ShownParameterSchema(Answer):
    name = _text("As in the file.")
    value = _text("As it is set.")
    confirmed = _flag("False: it must still be set.")


class ShownPolicySchema(Answer):
    policy = _text("Its id.", example="shipping_delay")
    title = _text("In the pack's default language.")
    reason_code = _text("For the books.")
    applies_to = _texts("Incident types.")
    effective = _text("From when until when.")
    plans = _rows(ShownPlanSchema, "Alternatives.")
    add_ons = _rows(ShownPlanSchema, "What stacks on plans.")
    actions = _texts("Duties.")
    parameters = _rows(ShownParameterSchema, "What can be set.")


class PackAnswerSchema(Answer):
    revision = _revision("Of the active pack.")
    active_since = _instant("When it became the active one.")
    matcher = _text("What matches conditions here.", example="rete")
    policies = _rows(ShownPolicySchema, "Every version of every policy.")
    roles = _rows(ShownRoleSchema, "Who may issue what.")
    caps = _rows(ShownCapSchema, "Those of scope pack with the scope `audit` only.")


class PolicyAnswerSchema(Answer):
    policy = _text("Its id.", example="shipping_delay")
    revision = _revision("Of the pack it is in.")
    versions = _rows(ShownPolicySchema, "By when they come into effect.")
    caps = _rows(ShownCapSchema, "The caps that hold for it.")


class RevisionSchema(Answer):
    revision = _revision("Of the pack's bytes.")
    stored_at = _instant("When it was stored.")
    activated_at = _instant("When it became active last; null: never.", null=True)
    active = _flag("Is it the active one?")


class RevisionListSchema(Answer):
    revisions = _rows(RevisionSchema, "Newest first.")


class CheckAnswerSchema(Answer):
    revision = _revision("Of the candidate.")
    valid = _flag("Could it become active?")
    problems = _rows(PackProblemSchema, "Sorted by file, line and column.")


class ActivationSchema(Answer):
    revision = _revision("Now the active one.")
    activated_at = _instant("When.")
    previous_revision = _revision("Active before.", null=True)
    problems = _rows(PackProblemSchema, "Warnings of the pack.")


class LiveSchema(Answer):
    status = _text("Always `live`.")


class RefusedPackSchema(Answer):
    revision = _revision("The candidate.", null=True)
    at = _instant("When it was refused.")


class ReadyPackSchema(Answer):
    revision = _revision("The pack that decides.", null=True)
    active_since = _instant("When it became the active one.", null=True)
    blocked = _flag("True: the active revision can't be used here, and nothing is decided.")
    refused = _part(RefusedPackSchema, null=True)


class ReadyDatabaseSchema(Answer):
    kind = _text("What it is.", example="postgresql")
    answers = _flag("Does it?")


class ReadyLogSchema(Answer):
    trusted = _flag("Does it go on from the last checkpoint? If not, nothing is written.")
    because = _text("What is wrong with it.", null=True)


class ReadySchema(Answer):
    status = _text("`ready`, or `unready` (503).")
    pack = _part(ReadyPackSchema)
    matcher = _text("What matches conditions here.")
    database = _part(ReadyDatabaseSchema)
    log = _part(ReadyLogSchema)
    version = _text("Of the service.")
