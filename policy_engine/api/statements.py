"""/v1/customers/{id}/statement: what one customer got, why, and who allowed it."""

from __future__ import annotations

from typing import Any, Final

import marshmallow
from flask import Response
from marshmallow import Schema, fields

from policy_engine.api import reading, sending
from policy_engine.api.answers import AmountSchema, Answer
from policy_engine.api.door import services
from policy_engine.api.exports import caller_name
from policy_engine.api.inputs import TimeQuerySchema
from policy_engine.api.spec import JSON, Blueprint
from policy_engine.core.grants import GrantStatus, Movement
from policy_engine.usecases import statements
from policy_engine.usecases.errors import NotFoundError
from policy_engine.usecases.principals import Scope
from policy_engine.wire.fields import IdField, TextField, TimestampField

StatementQuerySchema = TimeQuerySchema.from_dict(
    {
        "from": TimestampField(
            required=True, metadata={"description": "What happened at this instant or later."}
        ),
        "to": TimestampField(
            metadata={"description": "What happened before this instant; left out: now."}
        ),
        "locale": TextField(
            shortest=1,
            longest=35,
            metadata={"description": "Of the rules' texts; left out: the pack's default."},
        ),
    },
    name="StatementQuery",
)


def _text(
    description: str, *, null: bool = False, key: str | None = None, **more: Any
) -> fields.String:
    return fields.String(
        required=True,
        allow_none=null,
        data_key=key,
        metadata={"description": description, **more},
    )


def _word(description: str, words: Any) -> fields.String:
    return _text(description, enum=[each.value for each in words])


def _measured(description: str, *, null: bool = False) -> fields.Raw:
    return fields.Raw(required=True, allow_none=null, metadata={"description": description})


def _at(description: str) -> fields.String:
    return _text(description, format="date-time")


def _money(*, null: bool = False) -> fields.Nested:
    return fields.Nested(AmountSchema, required=True, allow_none=null)


def _rows(schema: type[Schema], description: str) -> fields.List[Any]:
    return fields.List(fields.Nested(schema), required=True, metadata={"description": description})


class FiguresSchema(Answer):
    granted = _money()
    pending = _money()
    redeemed = _money()
    reversed = _money()
    expired = _money()
    outstanding = _money()


class StatementRemedySchema(FiguresSchema):
    remedy = _text("Its id in the grant.")
    kind = _text("What is given.")
    source = _text("The policy and plan, or add-on, that it comes from.", key="from")


class ProofSchema(Answer):
    """Ask `/v1/log/proof/inclusion?record=…` for the proof itself."""

    record = _text("The id of the record.")
    digest = _text("The hash of its leaf in the log.")
    log_index = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "Its place in the log; null while it waits for one."},
    )


class RequestedSchema(Answer):
    agent = _text("Who asked for it.")
    role = _text("In which role.")
    role_from = _text("Where the role came from.")
    client = _text("Through which client.")
    owner = _text("Who answers for the credential.", null=True)
    channel = _text("Over which channel.", null=True)


class AllowedBySchema(Answer):
    who = _text("The agent, or the approver.")
    role = _text("In which role.")
    as_ = fields.String(
        required=True,
        data_key="as",
        metadata={"enum": ["agent", "approver"], "description": "Within whose authority."},
    )
    at = _at("When.")
    amount = _money()
    record = _text("The record that says so.")


class RuleSchema(Answer):
    """Only `from` and `revision` where this release can't read the revision any more."""

    source = _text("The policy and plan, or add-on, that it comes from.", key="from")
    revision = _text("The pack that holds it.")
    policy = fields.String(metadata={"description": "The policy's title."})
    reason_code = fields.String(metadata={"description": "Of the policy."})
    title = fields.String(metadata={"description": "The plan's or add-on's title."})
    when = fields.String(metadata={"description": "Its condition."})
    gives = fields.List(fields.String(), metadata={"description": "Its remedies."})


class StatementFactSchema(Answer):
    fact = _text("Its name.")
    value = fields.Raw(
        required=True,
        allow_none=True,
        metadata={"description": "What it was; `{missing}` where there was none."},
    )
    source = _text("Where it came from.", example="asserted")
    required = _text("What the plan's and its add-ons' conditions ask of it.", null=True)


class StatementDecisionSchema(Answer):
    """The plan as it was offered."""

    decision_id = _text("Its id.")
    decided_at = _at("When.")
    entitled = _money()
    allowed = _money()
    pending = _money()
    uncovered = _money()
    binding_cap = _text("The cap that kept it from being more.", null=True)
    authority = fields.Dict(
        required=True, metadata={"description": "Whose authority it was within."}
    )
    pack_revision = _text("The pack that decided.")
    proof = fields.Nested(ProofSchema, required=True)


class MovedSchema(Answer):
    movement = _word("What happened to the remedy.", Movement)
    remedy = _text("Its id in the grant.")
    amount = _money()
    settles = _money(null=True)


class MovedCapSchema(Answer):
    """Amounts are money, or numbers of grants."""

    cap = _text("Its name.")
    scope = _text("Its scope.")
    limit = _measured("Null: none in this currency.", null=True)
    used_before = _measured("Before the move.")
    used_after = _measured("After it.")
    headroom_after = _measured("What was left then.")


class StatementMoveSchema(Answer):
    at = _at("When.")
    by = _text("Who; null: time alone.", null=True)
    said = fields.Dict(
        required=True,
        allow_none=True,
        metadata={"description": "Notes, reasons and references; null once they are erased."},
    )
    entries = _rows(MovedSchema, "What was moved at once.")
    caps = fields.List(
        fields.Nested(MovedCapSchema),
        required=True,
        allow_none=True,
        metadata={"description": "Each cap it counts for; null where they could not be read."},
    )
    proof = fields.Nested(ProofSchema, required=True)


class StatementGrantSchema(Answer):
    grant_id = _text("Its id.")
    status = _word("Of the whole grant.", GrantStatus)
    order = _text("For which order.")
    plan = _text("Which plan.")
    granted_at = _at("When it was asked for.")
    remedies = _rows(StatementRemedySchema, "What became of each.")
    requested = fields.Nested(RequestedSchema, required=True)
    allowed_by = _rows(AllowedBySchema, "Who gave what.")
    rules = _rows(RuleSchema, "As they were worded then.")
    facts = _rows(StatementFactSchema, "What conditions saw and amounts use.")
    decision = fields.Nested(StatementDecisionSchema, required=True)
    moves = _rows(StatementMoveSchema, "All that happened to it, in order.")


StatementSchema = Answer.from_dict(
    {
        "customer": _text("The pseudonym that the customer goes by."),
        "from": _at("Included."),
        "to": _at("Excluded."),
        "record": _text("The record of this look."),
        "totals": _rows(FiguresSchema, "What happened in the time, a row a currency."),
        "grants": _rows(StatementGrantSchema, "Those that anything happened to in the time."),
    },
    name="Statement",
)

_ID: Final = IdField()

blueprint = Blueprint("statements", __name__, description="What one customer got, and why.")


@blueprint.call(
    "GET",
    "/v1/customers/<id:customer_id>/statement",
    scopes=(Scope.AUDIT,),
    cost=10,
    answers={200: ("The statement", StatementSchema)},
    problems=(404, 422, 503),
)
@blueprint.arguments(StatementQuerySchema, location="query")
def read_statement(query: dict[str, Any], customer_id: str) -> Response:
    """What a customer got, by which rule and facts, and who allowed it.

    Looking is recorded. A customer of whom nothing is known has an empty statement.
    """
    reading.accepts(JSON)
    _check_id(customer_id)
    return sending.json(
        statements.statement(
            services(),
            customer_id,
            since=query["from"],
            until=query.get("to") or services().ledger.now(),
            by=caller_name(),
            locale=query.get("locale"),
        )
    )


def _check_id(customer_id: str) -> None:
    """404 for what can be no customer's id."""
    try:
        _ID.deserialize(customer_id)
    except marshmallow.ValidationError:
        raise NotFoundError("NO_SUCH_CUSTOMER", "no customer has such an id") from None
