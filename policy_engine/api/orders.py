"""/v1/orders: what the shop's back end registers."""

from __future__ import annotations

from typing import Any

import marshmallow
from flask import Response

from policy_engine.api import reading, sending
from policy_engine.api.door import principal, services
from policy_engine.api.grant_answers import RegisteredOrderSchema
from policy_engine.api.grant_inputs import OrderRegistrationSchema
from policy_engine.api.inputs import NoQuerySchema
from policy_engine.api.spec import JSON, Blueprint
from policy_engine.core.money import MAX_MINOR, Money
from policy_engine.usecases import orders
from policy_engine.usecases.principals import Scope
from policy_engine.wire.fields import IdField, problems_in
from policy_engine.wire.problems import InputProblem, InvalidInputError
from policy_engine.wire.strict_json import read_json

blueprint = Blueprint("orders", __name__, description="Orders that may not be talked away.")

_REGISTRATION = OrderRegistrationSchema()
_ID = IdField()


@blueprint.call(
    "PUT",
    "/v1/orders/<id:order_id>",
    scopes=(Scope.ORDERS,),
    answers={
        200: ("Another version, or the same as before", RegisteredOrderSchema),
        201: ("Registered", RegisteredOrderSchema),
    },
    problems=(400, 409, 410, 413, 415, 422, 503),
    key="required",
    requestBody={"required": True, "content": {JSON: {"schema": OrderRegistrationSchema}}},
)
@blueprint.arguments(NoQuerySchema, location="query")
def register_order(_query: dict[str, Any], order_id: str) -> Response:
    """Register an order, or its next version.

    The customer and the currency stay. Lines and amounts may change until something is granted.
    """
    reading.accepts(JSON)
    body = reading.body_bytes()
    return sending.written(
        lambda: _registration(body, order_id),
        reading.key(body),
        lambda new, key: orders.register(services(), principal(), new, key),
    )


@blueprint.call(
    "GET",
    "/v1/orders/<id:order_id>",
    scopes=(Scope.ORDERS, Scope.AUDIT),
    answers={200: ("The latest version", RegisteredOrderSchema)},
    problems=(404, 422, 503),
)
@blueprint.arguments(NoQuerySchema, location="query")
def read_order(_query: dict[str, Any], order_id: str) -> Response:
    """Read a registered order."""
    reading.accepts(JSON)
    return sending.json(orders.show(services(), order_id))


def _registration(body: bytes, order_id: str) -> orders.NewOrder:
    """The order of a body; its id may be left out, and is that of the address."""
    data = read_json(body)
    _check_id(order_id)
    order = data.get("order") if isinstance(data, dict) else None
    if isinstance(order, dict) and order.setdefault("id", order_id) != order_id:
        raise InvalidInputError(
            [InputProblem("/order/id", "WRONG_ID", "is not the order of the address")]
        )
    read = reading.load(_REGISTRATION, data)
    assert isinstance(order, dict)
    paid = [read["order"].get("shipping_paid"), *(x.get("paid") for x in read["order"]["lines"])]
    if sum(each.minor for each in paid if isinstance(each, Money)) > MAX_MINOR:
        raise InvalidInputError(
            [
                InputProblem(
                    "/order",
                    "AMOUNT_TOO_LARGE",
                    "the order's amounts add up to more than is counted",
                )
            ]
        )
    return orders.NewOrder(order, read["customer"]["id"])


def _check_id(order_id: str) -> None:
    try:
        _ID.deserialize(order_id)
    except marshmallow.ValidationError as error:
        raise InvalidInputError(problems_in(error.messages, ("order", "id"))) from None
