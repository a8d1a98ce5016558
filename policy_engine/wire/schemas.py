"""The decision request as schemas: read by them, and documented from them.

`DecisionRequestSchema` is the general form; `pack_schemas.decision_schema` narrows it to one
pack: its declared facts, and its values where it narrows a built-in one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from marshmallow import ValidationError, fields

from policy_engine.core.money import Money, shortened
from policy_engine.wire.containers import PartField, RowsField, SetField, StrictSchema, repeated
from policy_engine.wire.fields import (
    AMOUNT_PATTERN,
    ORDER_CURRENCY,
    BooleanField,
    CurrencyField,
    DecimalField,
    Fault,
    IdField,
    IntegerField,
    OrderMoneyField,
    PatternField,
    StrictField,
    TextField,
    TimestampField,
    read_amount,
    refusal,
    wrong_type,
)

MAX_LINES: Final = 200
MAX_FACTS: Final = 100
MAX_EVIDENCE: Final = 50
MAX_REFERENCES: Final = 20
MAX_VALUES: Final = 100


def _about(text: str, **more: object) -> dict[str, Any]:
    return {"description": text, **more}


def _at(text: str) -> TimestampField:
    return TimestampField(allow_none=True, metadata=_about(text))


class MoneySchema(StrictSchema):
    """Money outside of the order's own fields → core Money."""

    amount = TextField(
        required=True,
        metadata=_about(
            "Digits with exactly the currency's decimals.", pattern=AMOUNT_PATTERN, example="40.00"
        ),
    )
    currency = CurrencyField(required=True, metadata=_about("ISO 4217 code.", example="CNY"))

    def load(self, data: Any, **options: Any) -> Money:
        if type(data) is not dict:
            raise wrong_type(data, 'money, such as {"amount": "40.00", "currency": "CNY"}')
        read = super().load(data, **options)
        try:
            return read_amount(read["amount"], read["currency"])
        except ValidationError as error:
            raise ValidationError({"amount": error.messages}) from None


class FactMoneySchema(MoneySchema):
    """Money of a fact: in the order's currency, because nothing is ever converted."""

    def load(self, data: Any, **options: Any) -> Money:
        money = super().load(data, **options)
        currency = ORDER_CURRENCY.get()
        if currency is not None and money.currency != currency:
            fault = Fault("WRONG_CURRENCY", f"the order is in `{currency}`, not `{money.currency}`")
            raise ValidationError({"currency": [fault]})
        return money


class LineSchema(StrictSchema):
    id = IdField(required=True, metadata=_about("The line's id in this order.", example="1"))
    sku = TextField(
        allow_none=True, longest=128, metadata=_about("The shop's article number.", example="TEA")
    )
    quantity = IntegerField(
        allow_none=True, least=1, most=10**9, metadata=_about("How many pieces.", example=2)
    )
    paid = OrderMoneyField(
        allow_none=True,
        metadata=_about(
            "What was paid for the whole line, tax included and discounts off, in the order's "
            "currency.",
            example="168.00",
        ),
    )
    tax_rate = DecimalField(
        allow_none=True,
        most=100,
        metadata=_about("Percent of tax contained in `paid`.", example="13"),
    )


class LinesField(RowsField):
    """Order lines; their ids differ."""

    def together(self, value: list[Any], faults: Mapping[int, Any]) -> dict[int, Any]:
        ids = [row.get("id") if type(row) is dict else None for row in value]
        return repeated(ids, faults, "DUPLICATE_LINE", "id")


class OrderSchema(StrictSchema):
    id = IdField(required=True, metadata=_about("The shop's order number.", example="SO-1"))
    currency = CurrencyField(
        required=True,
        metadata=_about("ISO 4217 code of every amount of this order.", example="CNY"),
    )
    placed_at = _at("When the customer ordered.")
    paid_at = _at("When the payment was matched.")
    promised_dispatch_by = _at("When dispatch was promised for.")
    expected_dispatch_at = _at("When dispatch is now expected.")
    dispatched_at = _at("When it was handed to the carrier; null: not yet.")
    promised_delivery_by = _at("When delivery was promised for.")
    last_tracking_at = _at("The last movement that the carrier reported.")
    delivered_at = _at("When it arrived; null: not yet.")
    shipping_paid = OrderMoneyField(
        allow_none=True, metadata=_about("What was paid for shipping.", example="0.00")
    )
    express_cost = OrderMoneyField(
        allow_none=True,
        metadata=_about("What express shipping would cost the shop.", example="25.00"),
    )
    lines = LinesField(
        PartField(LineSchema),
        required=True,
        least=1,
        most=MAX_LINES,
        too_many="TOO_MANY_LINES",
        metadata=_about("What was ordered."),
    )


class EvidenceSchema(StrictSchema):
    kind = IdField(required=True, metadata=_about("What it proves.", example="payment_proof"))
    reference = IdField(
        allow_none=True,
        metadata=_about("Where it can be found; one reference serves one order.", example="TX-1"),
    )
    verified = BooleanField(
        allow_none=True, metadata=_about("Has somebody checked it?", example=True)
    )


class IncidentSchema(StrictSchema):
    types = SetField(
        IdField(),
        required=True,
        least=1,
        most=MAX_VALUES,
        metadata=_about("What went wrong.", example=["shipping_delay"]),
    )
    id = IdField(allow_none=True, metadata=_about("The caller's id of the incident."))
    reported_at = _at("When the customer reported it: after placed_at and not in the future.")
    cause = TextField(allow_none=True, metadata=_about("Why it went wrong."))
    lines = SetField(
        IdField(),
        allow_none=True,
        most=MAX_LINES,
        metadata=_about("Ids of the lines concerned; left out, null or empty: all.", example=["1"]),
    )
    trace_opened_at = _at("When the carrier was asked to trace the parcel.")
    evidence = RowsField(
        PartField(EvidenceSchema),
        allow_none=True,
        most=MAX_EVIDENCE,
        metadata=_about("What the customer or the shop can show."),
    )


class CustomerSchema(StrictSchema):
    id = IdField(required=True, metadata=_about("The shop's customer number.", example="C-1"))
    tier = TextField(allow_none=True, longest=128, metadata=_about("Loyalty tier.", example="gold"))
    locale = PatternField(
        r"(?=.{2,35}$)[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*",
        "NOT_A_LOCALE",
        "a language tag, such as `zh-CN`",
        allow_none=True,
        metadata=_about("BCP 47 tag of the language to answer in.", example="zh-CN"),
    )
    name = TextField(allow_none=True, metadata=_about("How the customer is addressed."))


class AgentSchema(StrictSchema):
    id = IdField(required=True, metadata=_about("Who is asking.", example="A-7"))
    role = IdField(required=True, metadata=_about("In which role of the pack.", example="agent"))


class ReferencesField(StrictField, fields.Dict):
    """A flat object of short strings: the caller's own ticket numbers and the like."""

    wanted = "an object of strings"
    # Names are indexed and searched for; plain ASCII has one spelling only.
    _name = PatternField(r"[A-Za-z0-9_.-]{1,64}", "NOT_A_NAME", "a name of letters and digits")
    _text = TextField()

    def read(self, value: Any) -> dict[str, str]:
        if type(value) is not dict:
            raise wrong_type(value, self.wanted)
        if len(value) > MAX_REFERENCES:
            raise refusal(
                "TOO_MANY_REFERENCES", f"{len(value)} references, of at most {MAX_REFERENCES}"
            )
        faults: dict[str, Any] = {}
        for name, text in value.items():
            try:
                self._name.deserialize(name)
                self._text.deserialize(text)
            except ValidationError as error:
                faults[name] = error.messages
        if faults:
            raise ValidationError(faults)
        return value


class FactsSchema(StrictSchema):
    """Facts that the pack declares `from: request`; the fields come from the pack."""

    unknown_code = "UNKNOWN_FACT"
    declared: frozenset[str] = frozenset()
    """Facts that the pack knows but takes from elsewhere."""

    def load(self, data: Any, **options: Any) -> Any:
        if type(data) is dict and len(data) > MAX_FACTS:
            raise refusal("TOO_MANY_FACTS", f"{len(data)} facts, of at most {MAX_FACTS}")
        return super().load(data, **options)

    def unknown_key(self, name: str) -> Fault:
        if name in self.declared:
            why = "is not one to send under `facts`; the engine takes it from the request's fields"
        else:
            why = "is not declared by the active pack; declare it `from: request` first"
        return Fault(self.unknown_code, f"`{shortened(name)}` {why}")


class AnyFactsField(fields.Dict):
    """`facts` without a pack, for documentation."""


class DecisionRequestSchema(StrictSchema):
    """What `POST /v1/decisions` takes. Left out means unknown, null means known to be absent."""

    order = PartField(OrderSchema, required=True)
    incident = PartField(IncidentSchema, required=True)
    customer = PartField(CustomerSchema, required=True)
    agent = PartField(
        AgentSchema,
        allow_none=True,
        metadata=_about("Who asks; required where the credential acts for several people."),
    )
    channel = TextField(
        allow_none=True,
        longest=128,
        metadata=_about("Where the customer is talked to.", example="whatsapp"),
    )
    reference = ReferencesField(
        allow_none=True,
        keys=fields.String(),
        values=fields.String(metadata={"maxLength": 256}),
        metadata=_about(
            "The caller's own references, kept and searchable, never evaluated.",
            example={"ticket": "ZD-88"},
            maxProperties=MAX_REFERENCES,
        ),
    )
    facts = AnyFactsField(
        allow_none=True,
        metadata=_about(
            "Facts that the active pack declares `from: request`; money is an object, decimals "
            "are strings.",
            example={"shop.campaign": True},
            maxProperties=MAX_FACTS,
        ),
    )
    as_of = TimestampField(
        allow_none=True,
        metadata=_about("Decide as of this instant (scope `simulate`); it can't be granted."),
    )
