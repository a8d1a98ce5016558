"""Orders that the shop's back end registered, as decisions meet them.

What was registered may not be talked away: a request leaves it out or says the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from marshmallow import ValidationError

from policy_engine.core.currencies import DECIMALS
from policy_engine.core.facts import ABSENT
from policy_engine.core.request import DecisionRequest, Line
from policy_engine.ledger.orders import OrderPin, pin_of_request
from policy_engine.usecases.errors import ConflictError
from policy_engine.wire.fields import ORDER_CURRENCY
from policy_engine.wire.schemas import OrderSchema

_ORDER: Final = OrderSchema()


def order_id_of(data: object) -> str | None:
    """The order that a body leaves for the registration to say; None when it says it all."""
    order = data.get("order") if isinstance(data, dict) else None
    if not isinstance(order, dict) or ("lines" in order and "currency" in order):
        return None
    order_id = order.get("id")
    return order_id if isinstance(order_id, str) else None


def without_repetitions(data: object, registered: Mapping[str, Any]) -> object:
    """The body less what it repeats of the registered order, for the registration to fill in.

    ConflictError where it says something else. What can't be read stays, to be reported.
    """
    order = data.get("order") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(order, dict):
        return data
    known, said = read_order(registered), _as_far_as_read(order, registered["currency"])
    for name, value in said.items():
        if name in known and name != "id" and not _agree(name, value, known[name]):
            raise mismatch(f"order.{name}", "was registered otherwise")
    kept = {
        name: value
        for name, value in order.items()
        if name == "id" or name not in said or name not in known
    }
    return {**data, "order": kept}


def read_order(order: Mapping[str, Any]) -> dict[str, Any]:
    """An order that was accepted before, typed."""
    token = ORDER_CURRENCY.set(order["currency"])
    try:
        read: dict[str, Any] = _ORDER.load(dict(order))
    finally:
        ORDER_CURRENCY.reset(token)
    return read


def lines_of(order: Mapping[str, Any]) -> tuple[Line, ...]:
    """The lines of a typed order."""
    return tuple(Line(**line) for line in order["lines"])


def check_pin(pin: OrderPin | None, request: DecisionRequest, customer: str) -> None:
    """ConflictError when a request contradicts what its order is pinned to."""
    if pin is None:
        return
    found = pin.disagrees(pin_of_request(request, customer))
    if found is not None:
        raise mismatch(found, "is not what this order is pinned to")


def check_registered(pin: OrderPin | None, *, required: bool) -> None:
    """ConflictError for an order that was never registered, where that is required."""
    if required and (pin is None or pin.version == 0):
        raise ConflictError(
            "ORDER_NOT_REGISTERED", "only registered orders are served; register the order first"
        )


def mismatch(what: str, why: str) -> ConflictError:
    return ConflictError("ORDER_MISMATCH", f"`{what}` {why}", {"mismatch": what})


def _as_far_as_read(order: Mapping[str, Any], currency: str) -> dict[str, Any]:
    said = order.get("currency")
    known = said if isinstance(said, str) and said in DECIMALS else currency
    token = ORDER_CURRENCY.set(known)
    try:
        read = _ORDER.load(dict(order))
    except ValidationError as error:
        faulty = error.messages if isinstance(error.messages, dict) else {}
        valid = error.valid_data if isinstance(error.valid_data, dict) else {}
        read = {name: value for name, value in valid.items() if name not in faulty}
    finally:
        ORDER_CURRENCY.reset(token)
    return dict(read)


def _agree(name: str, said: Any, known: Any) -> bool:
    if name != "lines":
        return bool(said == known)
    lines = {line["id"]: line for line in known}
    if lines.keys() != {line["id"] for line in said}:
        return False
    return all(
        value == lines[line["id"]].get(field, ABSENT if value is ABSENT else None)
        for line in said
        for field, value in line.items()
    )
