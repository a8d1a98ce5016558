"""The answers about orders, grants and caps as schemas, for the API document."""

from __future__ import annotations

from marshmallow import fields
from marshmallow.validate import OneOf

from policy_engine.api.answers import (
    AmountSchema,
    Answer,
    AuditSchema,
    CapAnswerSchema,
    a_measure,
    a_part,
    a_revision,
    a_text,
    a_word,
    an_instant,
    rows_of,
)
from policy_engine.core.grants import GrantStatus, Movement
from policy_engine.core.policy import RemedyKind
from policy_engine.wire.schemas import OrderSchema

_REMEDY_STATES = [*(each.value for each in GrantStatus), "expired"]


class RegisteredCustomerSchema(Answer):
    id = a_text("The shop's customer number.")


class RegisteredOrderSchema(Answer):
    order = fields.Nested(OrderSchema, required=True, metadata={"description": "As it was sent."})
    customer = a_part(RegisteredCustomerSchema, null=True)
    version = fields.Integer(required=True, metadata={"description": "From 1."})
    registered_at = an_instant("When this version was registered.")
    audit = a_part(AuditSchema)


class GrantAgentSchema(Answer):
    id = a_text("Who asked for it.")
    role = a_text("In which role.")


class FulfilmentAnswerSchema(Answer):
    status = fields.String(
        required=True,
        validate=OneOf(["done", "failed"]),
        metadata={"description": "Was it carried out?"},
    )
    external_ref = a_text("The shop's own reference.", null=True)


class GrantRemedySchema(Answer):
    """`pending` and `granted` less `reversed` and `expired` hold the caps."""

    remedy = a_text("Its id in the grant.", example="coupon")
    kind = a_word(RemedyKind, "What it is.")
    source = fields.String(
        required=True,
        data_key="from",
        metadata={"description": "The policy and plan, or add-on, that it comes from."},
    )
    status = fields.String(
        required=True,
        validate=OneOf(_REMEDY_STATES),
        metadata={"description": "What has become of it."},
    )
    granted = a_part(AmountSchema)
    pending = a_part(AmountSchema)
    redeemed = a_part(AmountSchema)
    reversed = a_part(AmountSchema)
    expired = a_part(AmountSchema)
    valid_until = an_instant("Until when the customer can use it.", null=True)
    expires_at = an_instant("Until when a late report of a use is taken.", null=True)
    fulfilment = a_part(FulfilmentAnswerSchema, null=True)


class GrantEntrySchema(Answer):
    movement = a_word(Movement, "What happened.")
    remedy = a_text("To which remedy.")
    amount = a_part(AmountSchema)
    settles = a_part(AmountSchema, null=True)
    """What was set aside and no longer waits."""
    at = an_instant("When.")
    actor = a_text("Who did it; null: time alone.", null=True)
    note = a_text("What they said of it.", null=True)
    reference = a_text("The shop's own reference.", null=True)
    record = a_text("The id of its record.")


class GrantAnswerSchema(Answer):
    grant_id = a_text("For moving and reading it.")
    decision_id = a_text("Whose offer was taken.")
    status = a_word(GrantStatus, "What has become of it.")
    plan = a_text("`policy/plan`.")
    order = a_text("The order it is on.")
    customer = a_text("Who gets it; null: erased.", null=True)
    agent = a_part(GrantAgentSchema)
    requested_by = a_text("The client that asked for it.")
    granted_at = an_instant("When it was asked for.")
    approver = a_text("The lowest role that may approve; null: nothing waited.", null=True)
    pending_until = an_instant("When what waits lapses; null: nothing waits.", null=True)
    remedies = rows_of(GrantRemedySchema, "What was given or waits.")
    granted = a_part(AmountSchema)
    pending = a_part(AmountSchema)
    redeemed = a_part(AmountSchema)
    reversed = a_part(AmountSchema)
    expired = a_part(AmountSchema)
    caps = fields.List(
        fields.Nested(CapAnswerSchema),
        required=True,
        allow_none=True,
        metadata={"description": "What each cap that counts it holds now; null in lists."},
    )
    entries = rows_of(GrantEntrySchema, "All that happened, in order.")
    audit = a_part(AuditSchema)


class GrantListAnswerSchema(Answer):
    grants = rows_of(GrantAnswerSchema, "Oldest first.")
    next_cursor = a_text("For the next page; null: this is the last.", null=True)


class CapStateSchema(CapAnswerSchema):
    roles = fields.List(
        fields.String(),
        required=True,
        allow_none=True,
        metadata={"description": "Whom it bounds; null: everybody."},
    )
    currency = a_text("Of its amounts; null: it counts grants.", null=True)
    pending = a_measure("What of `used` waits for approval.")


class CapsAnswerSchema(Answer):
    as_of = an_instant("When this was so.")
    pack_revision = a_revision("The pack whose caps these are.")
    caps = rows_of(CapStateSchema, "In the pack's order, a row a currency.")
