"""Orders as the shop's back end registers them: what was ordered, paid and promised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from policy_engine.core.times import format_timestamp
from policy_engine.ledger.orders import OrderPin, Registration, amounts_of
from policy_engine.ledger.shapes import Answer, IdempotencyKey, Sealed
from policy_engine.ledger.transaction import Transaction
from policy_engine.usecases.errors import NotFoundError
from policy_engine.usecases.principals import Principal
from policy_engine.usecases.registered import lines_of, mismatch, read_order
from policy_engine.usecases.services import Services
from policy_engine.wire.records import canonical, leaf_digest


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order as it was sent, already found in order, its `id` included."""

    order: Mapping[str, Any]
    customer_id: str

    @property
    def id(self) -> str:
        return str(self.order["id"])


def register(services: Services, caller: Principal, new: NewOrder, key: IdempotencyKey) -> Answer:
    """Register an order, or its next version.

    The customer and the currency stay what they were; lines and amounts only once something was
    granted. ConflictError where they don't, and what `Ledger.decide` raises.
    """
    typed = read_order(new.order)

    def work(transaction: Transaction) -> Answer:
        customer = transaction.customer(new.customer_id)
        amounts = amounts_of(lines_of(typed), typed.get("shipping_paid"))
        wanted = OrderPin(new.id, customer, typed["currency"], amounts)
        pin = transaction.grants.lock_order(wanted)
        _check(pin, wanted)
        before = transaction.registered(new.id)
        if before is not None and before.order == new.order:
            again = transaction.repeat_answer(before.record_id)
            if again is not None:
                return Answer(200, again)
        now = transaction.look_at_the_clock()
        record_id = services.new_id()
        registration = Registration(
            new.id, pin.version + 1, record_id, now, caller.client, customer, dict(new.order)
        )
        known = wanted.amounts if pin.first_grant_id is None else pin.completed(wanted)
        pin = replace(pin, amounts=known, version=registration.version)
        record = _record(transaction, caller, registration, new.customer_id, pin)
        transaction.add_record(record_id, "order_registration", record)
        transaction.grants.register(registration, pin)
        audit = {"record": record_id, "digest": leaf_digest(record)}
        body = orjson.dumps(_body(registration, new.customer_id, audit))
        transaction.keep_answer(record_id, customer, body)
        return Answer(201 if before is None else 200, body)

    return services.ledger.decide(key, work)


def show(services: Services, order_id: str) -> dict[str, Any]:
    """The latest version. NotFoundError."""
    found = services.ledger.orders.record_of(order_id)
    if found is None:
        raise NotFoundError("NO_SUCH_ORDER", "no order of this id is registered")
    registration, content = found
    record_id = registration.record_id
    sealed = orjson.loads(content)["sealed"]
    personal = services.ledger.decisions.open_personal(
        record_id, Sealed(sealed["subject"], sealed["sealed"])
    )
    customer_id = None if personal is None else orjson.loads(personal)["customer"]
    return _body(registration, customer_id, {"record": record_id, "digest": leaf_digest(content)})


def _check(pin: OrderPin, wanted: OrderPin) -> None:
    if pin.first_grant_id is None:
        # Nothing was granted yet, so what was paid may still be put right.
        wanted = replace(wanted, amounts=pin.amounts)
    found = pin.disagrees(wanted)
    if found is not None:
        raise mismatch(found, "can't change any more")


def _record(
    transaction: Transaction,
    caller: Principal,
    registration: Registration,
    customer_id: str,
    pin: OrderPin,
) -> bytes:
    record_id = registration.record_id
    personal = canonical({"customer": customer_id})
    sealed = transaction.seal(customer_id, record_id, personal)
    return canonical(
        {
            "kind": "order_registration",
            "id": record_id,
            "at": format_timestamp(registration.registered_at),
            "client": caller.client,
            "credential": caller.credential,
            "order": registration.order_id,
            "version": registration.version,
            "customer": registration.customer,
            "registered": dict(registration.order),
            "pin": pin.as_json(),
            "call": transaction.call,
            "sealed": {"subject": sealed.subject, "sealed": sealed.sealed},
        }
    )


def _body(
    registration: Registration, customer_id: str | None, audit: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "order": dict(registration.order),
        "customer": None if customer_id is None else {"id": customer_id},
        "version": registration.version,
        "registered_at": format_timestamp(registration.registered_at),
        "audit": dict(audit),
    }
