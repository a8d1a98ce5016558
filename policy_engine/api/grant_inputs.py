"""What the calls about orders, grants and caps take, read strictly."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, fields

from policy_engine.api.inputs import CountField, NoQuerySchema
from policy_engine.core.currencies import DECIMALS
from policy_engine.core.grants import GrantStatus
from policy_engine.usecases.grants import DEFAULT_PAGE, MAX_PAGE
from policy_engine.wire.containers import PartField, StrictSchema
from policy_engine.wire.fields import (
    ORDER_CURRENCY,
    Fault,
    IdField,
    StrictField,
    TextField,
    refusal,
    wrong_type,
)
from policy_engine.wire.schemas import AgentSchema, MoneySchema, OrderSchema

_LONGEST_TEXT = 1000


def _about(text: str) -> dict[str, Any]:
    return {"description": text}


class WordField(StrictField, fields.String):
    """One of a few words."""

    wanted = "a string"

    def __init__(self, *words: str, **kwargs: Any) -> None:
        self._words = words
        super().__init__(metadata={"enum": list(words), **kwargs.pop("metadata", {})}, **kwargs)

    def read(self, value: Any) -> str:
        if type(value) is not str:
            raise wrong_type(value, self.wanted)
        if value not in self._words:
            choice = ", ".join(f"`{word}`" for word in self._words)
            raise refusal("NOT_IN_VALUES", f"write one of {choice}")
        return value


_AGENT = PartField(
    AgentSchema,
    allow_none=True,
    metadata=_about("Who asks; required where the credential acts for several people."),
)
_SETTLER = PartField(
    AgentSchema,
    allow_none=True,
    metadata=_about("Who reports it, where a person does and the credential acts for several."),
)
_REMEDY = "The remedy's id in the grant, such as `coupon`."


class CustomerOfOrderSchema(StrictSchema):
    id = IdField(required=True, metadata=_about("The shop's customer number."))


class OrderRegistrationSchema(StrictSchema):
    """An order as a decision request holds it, and whose it is."""

    order = PartField(OrderSchema, required=True)
    customer = PartField(CustomerOfOrderSchema, required=True)

    def load(self, data: Any, **options: Any) -> Any:
        order = data.get("order") if type(data) is dict else None
        currency = order.get("currency") if type(order) is dict else None
        known = type(currency) is str and currency in DECIMALS
        token = ORDER_CURRENCY.set(currency if known else None)
        try:
            return super().load(data, **options)
        finally:
            ORDER_CURRENCY.reset(token)


class GrantRequestSchema(StrictSchema):
    decision_id = IdField(required=True, metadata=_about("Whose offer is taken."))
    plan = IdField(required=True, metadata=_about("`policy/plan`, one of those offered."))
    amount = PartField(
        MoneySchema, metadata=_about("Less than is offered: taking less forfeits the rest.")
    )
    agent = _AGENT


class ApprovalSchema(StrictSchema):
    amount = PartField(MoneySchema, metadata=_about("Less than is pending: the rest is rejected."))
    note = TextField(
        required=True, shortest=1, longest=_LONGEST_TEXT, metadata=_about("Why, for people.")
    )


class RejectionSchema(StrictSchema):
    reason = TextField(
        required=True, shortest=1, longest=_LONGEST_TEXT, metadata=_about("Why, for people.")
    )


class FulfilmentSchema(StrictSchema):
    remedy = IdField(required=True, metadata=_about(_REMEDY))
    status = WordField("done", "failed", required=True, metadata=_about("Was it carried out?"))
    external_ref = TextField(
        shortest=1,
        allow_none=True,
        metadata=_about(
            "The shop's own: a coupon code, the id of a refund. Searchable. Required with `done`; "
            "null where there is none."
        ),
    )
    agent = _SETTLER

    def load(self, data: Any, **options: Any) -> Any:
        read = super().load(data, **options)
        if read["status"] == "done" and "external_ref" not in read:
            fault = [Fault("MISSING_FIELD", "is required with `done`; null where there is none")]
            raise ValidationError({"external_ref": fault})
        return read


class RedemptionSchema(StrictSchema):
    remedy = IdField(required=True, metadata=_about(_REMEDY))
    amount = PartField(MoneySchema, required=True, metadata=_about("How much was used."))
    reference = TextField(
        required=True, shortest=1, metadata=_about("The shop's own, such as the new order.")
    )
    agent = _SETTLER


class ReversalSchema(StrictSchema):
    remedy = IdField(metadata=_about(f"{_REMEDY} Left out: all of them."))
    amount = PartField(
        MoneySchema, metadata=_about("Less than can be reversed; left out: all of that.")
    )
    reason = TextField(
        required=True, shortest=1, longest=_LONGEST_TEXT, metadata=_about("Why, for people.")
    )
    agent = _SETTLER


class GrantListSchema(NoQuerySchema):
    status = WordField(
        *(each.value for each in GrantStatus),
        metadata=_about("In this state; `pending`: whatever waits, in part as well."),
    )
    approver = IdField(metadata=_about("That this role is the lowest to approve."))
    external_ref = TextField(shortest=1, metadata=_about("With this reference of the shop's."))
    order = IdField(metadata=_about("On this order."))
    customer = IdField(metadata=_about("To this customer."))
    agent = IdField(metadata=_about("Asked for by this agent."))
    limit = CountField(
        most=MAX_PAGE, metadata=_about(f"At most as many; {DEFAULT_PAGE} unless told.")
    )
    cursor = TextField(
        longest=512, shortest=1, metadata=_about("`next_cursor` of the page before.")
    )


class CapsQuerySchema(NoQuerySchema):
    """At least one of them."""

    order = IdField(metadata=_about("Caps of scope order and claim."))
    customer = IdField(metadata=_about("Caps of scope customer."))
    agent = IdField(metadata=_about("Caps of scope agent."))

    def load(self, data: Any, **options: Any) -> Any:
        read = super().load(data, **options)
        if not read:
            fault = [Fault("MISSING_PARAMETER", "send `order`, `customer` or `agent`")]
            raise ValidationError({"order": fault})
        return read
