"""Orders: what the shop's back end registered, and what their first grant pinned.

A pin holds what may not be talked away: the customer, the currency, the lines and what was paid
for each of them and for the shipping. What nobody has said yet is null, and is filled in by the
first who does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from policy_engine.core.facts import ABSENT
from policy_engine.core.money import Money
from policy_engine.core.request import DecisionRequest, Line
from policy_engine.ledger.database import Database
from policy_engine.ledger.grant_tables import ORDER_PIN, ORDER_REGISTRATION
from policy_engine.ledger.prepared import Prepared
from policy_engine.ledger.tables import RECORD
from policy_engine.ledger.writing import Row, insert_absent

_PIN_OF = select(ORDER_PIN).where(
    ORDER_PIN.c.order_id == bindparam("order_id", type_=ORDER_PIN.c.order_id.type)
)
_PIN = Prepared(_PIN_OF)
_LOCKED_PIN = Prepared(_PIN_OF.with_for_update())

Amounts = Mapping[str, int | None]
"""`line:<id>` or `shipping` → minor units paid; None: nobody has said."""

SHIPPING = "shipping"


@dataclass(frozen=True, slots=True)
class OrderPin:
    """What holds for an order. `customer` is a pseudonym."""

    order_id: str
    customer: str
    currency: str
    amounts: Amounts
    version: int = 0
    """Of its registration; 0: it was never registered."""
    first_grant_id: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The pin as the record of what changed it holds it."""
        return {
            "customer": self.customer,
            "currency": self.currency,
            "amounts": dict(self.amounts),
            "version": self.version,
            "first_grant": self.first_grant_id,
        }

    def disagrees(self, other: OrderPin) -> str | None:
        """What of `other` contradicts this; None when nothing does."""
        if other.customer != self.customer:
            return "customer"
        if other.currency != self.currency:
            return "currency"
        if other.amounts.keys() != self.amounts.keys():
            return "lines"
        for place, minor in self.amounts.items():
            said = other.amounts[place]
            if minor is not None and said is not None and minor != said:
                return "shipping_paid" if place == SHIPPING else f"paid of `{place}`"
        return None

    def completed(self, other: OrderPin) -> Amounts:
        """The amounts, with what `other` is the first to say."""
        return {
            place: other.amounts.get(place) if minor is None else minor
            for place, minor in self.amounts.items()
        }


@dataclass(frozen=True, slots=True)
class Registration:
    """One version of an order as the back end sent it. `customer` is a pseudonym."""

    order_id: str
    version: int
    record_id: str
    registered_at: datetime
    client: str
    customer: str
    order: Mapping[str, Any]


class OrderBook:
    """The orders on record."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def registered(self, order_id: str) -> Registration | None:
        """The latest version; None for an order that was never registered."""
        return self._database.read(lambda connection: registered(connection, order_id))

    def record_of(self, order_id: str) -> tuple[Registration, bytes] | None:
        """The latest version, with its record."""

        def read(connection: Connection) -> tuple[Registration, bytes] | None:
            found = registered(connection, order_id)
            if found is None:
                return None
            query = select(RECORD.c.content).where(RECORD.c.id == found.record_id)
            return found, connection.execute(query).scalar_one()

        return self._database.read(read)


def pin_of_request(request: DecisionRequest, customer: str) -> OrderPin:
    """What a request says of its order; `customer` is the pseudonym."""
    shipping = request.fields.get("order.shipping_paid")
    amounts = amounts_of(request.lines, shipping)
    return OrderPin(request.order_id, customer, request.currency, amounts)


def amounts_of(lines: Iterable[Line], shipping_paid: object) -> Amounts:
    """What was paid, as far as lines and shipping say it."""
    amounts = {f"line:{line.id}": _minor_of(line.paid) for line in lines}
    return {**amounts, SHIPPING: _minor_of(shipping_paid)}


def _minor_of(paid: object) -> int | None:
    # Null money is zero (CONTRACT §4 (2)); only what is left out is not said.
    if paid is ABSENT:
        return 0
    return paid.minor if isinstance(paid, Money) else None


def registered(connection: Connection, order_id: str) -> Registration | None:
    table = ORDER_REGISTRATION
    query = (
        select(table).where(table.c.order_id == order_id).order_by(table.c.version.desc()).limit(1)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return Registration(
        row.order_id,
        row.version,
        row.record_id,
        row.registered_at_us,
        row.client,
        row.customer,
        row.facts,
    )


def pin_now(connection: Connection, order_id: str) -> OrderPin | None:
    """The pin of an order, unlocked."""
    for row in _PIN.typed(connection, {"order_id": order_id}):
        return pin_of(row)
    return None


def lock_pin(connection: Connection, wanted: OrderPin) -> OrderPin:
    """The order's pin, locked; `wanted` becomes it where there was none."""
    row = {
        "order_id": wanted.order_id,
        "customer": wanted.customer,
        "currency": wanted.currency,
        "amounts": dict(wanted.amounts),
        "version": wanted.version,
        "first_grant_id": wanted.first_grant_id,
    }
    insert_absent(connection, ORDER_PIN, [row])
    return existing_pin(connection, wanted.order_id)


def existing_pin(connection: Connection, order_id: str) -> OrderPin:
    """The pin of an order that has one, locked."""
    (row,) = _LOCKED_PIN.typed(connection, {"order_id": order_id})
    return pin_of(row)


def write_pin(connection: Connection, pin: OrderPin) -> None:
    """Changes a pin that this transaction has locked."""
    connection.execute(
        update(ORDER_PIN)
        .where(ORDER_PIN.c.order_id == pin.order_id)
        .values(amounts=dict(pin.amounts), version=pin.version, first_grant_id=pin.first_grant_id)
    )


def registration_row(registration: Registration) -> Row:
    values = {
        "order_id": registration.order_id,
        "version": registration.version,
        "record_id": registration.record_id,
        "registered_at_us": registration.registered_at,
        "client": registration.client,
        "customer": registration.customer,
        "facts": dict(registration.order),
    }
    return ORDER_REGISTRATION, values


def pin_of(row: Any) -> OrderPin:
    return OrderPin(
        row.order_id, row.customer, row.currency, row.amounts, row.version, row.first_grant_id
    )
