"""Orders: registered by the back end, pinned by their first grant, never talked away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest

from policy_engine.ledger.orders import OrderPin
from tests.api.conftest import late_order
from tests.grants.conftest import COUPON, Shop, money

ORDER: dict[str, Any] = late_order()["order"]


def register(shop: Shop, order: dict[str, Any] | None = None, **more: Any) -> Any:
    customer = more.pop("customer", "C-1")
    body = {"order": ORDER if order is None else order, "customer": {"id": customer}}
    order_id = more.pop("order_id", ORDER["id"])
    return shop.put(f"/v1/orders/{order_id}", body, **more)


def short(**changes: Any) -> dict[str, Any]:
    body = late_order(order={"id": "SO-1"}, **changes)
    del body["agent"]
    return body


def source(shop: Shop, decision: dict[str, Any], fact: str) -> str:
    stored = shop.api.services.ledger.decisions.get(decision["decision_id"])
    assert stored is not None
    facts = orjson.loads(stored.record)["evaluation"]["facts"]
    return next(str(each["source"]) for each in facts if each["fact"] == fact)


def test_a_decision_may_send_only_the_id_of_a_registered_order(shop_on_both: Shop) -> None:
    shop = shop_on_both
    assert register(shop).status_code == 201
    answer = shop.api.decide(shop.agent, short())
    assert answer.status_code == 201, answer.json
    assert answer.json["plans"][0]["allowed"] == money("40.00")
    assert source(shop, answer.json, "order.promised_delivery_by") == "registered"
    assert shop.take(shop.agent, answer.json).status_code == 201
    replayed = shop.post(shop.audit, f"/v1/decisions/{answer.json['decision_id']}/replay", {})
    assert replayed.json["equal"] is True


def test_a_decision_may_repeat_the_registered_order(shop: Shop) -> None:
    register(shop)
    decision = shop.decide(shop.agent)
    assert source(shop, decision, "order.promised_delivery_by") == "registered"


def test_a_field_that_was_not_registered_is_asserted(shop: Shop) -> None:
    register(shop)
    decision = shop.decide(shop.agent, order__delivered_at="2026-06-10T00:00:00+08:00")
    assert source(shop, decision, "order.delivered_at") == "asserted"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"order__promised_delivery_by": "2026-05-01T00:00:00+08:00"}, "promised_delivery_by"),
        ({"order__currency": "JPY", "order__lines": [{"id": "1", "paid": "800"}],
          "order__shipping_paid": "0"}, "currency"),
        ({"order__lines": [{"id": "1", "paid": "900.00"}]}, "lines"),
        ({"order__lines": [{"id": "1"}, {"id": "2"}]}, "lines"),
        ({"order__shipping_paid": None}, "shipping_paid"),
        ({"customer__id": "C-2"}, "customer"),
    ],
)  # fmt: skip
def test_a_request_that_disagrees_with_the_registration_is_refused(
    shop: Shop, changes: dict[str, Any], what: str
) -> None:
    register(shop)
    body = late_order(**changes)
    del body["agent"]
    answer = shop.api.decide(shop.agent, body)
    assert (answer.status_code, answer.json["code"]) == (409, "ORDER_MISMATCH")
    assert what in answer.json["mismatch"]


def test_the_same_amount_and_instant_written_otherwise_agree(shop: Shop) -> None:
    register(shop)
    shop.decide(shop.agent, order__promised_delivery_by="2026-05-31T16:00:00Z")


def test_what_cannot_be_read_is_reported_and_not_compared(shop: Shop) -> None:
    register(shop)
    body = late_order(order__shipping_paid="0.000")
    del body["agent"]
    answer = shop.api.decide(shop.agent, body)
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (
        422,
        "/order/shipping_paid",
    )


def test_the_first_grant_pins_an_order_that_nobody_registered(shop_on_both: Shop) -> None:
    shop = shop_on_both
    shop.granted(shop.agent)
    for changes in (
        {"order__lines": [{"id": "1", "paid": "900.00"}]},
        {"order__lines": [{"id": "1", "paid": "800.00"}, {"id": "2", "paid": "1.00"}]},
        {"customer__id": "C-2"},
    ):
        body = late_order(**changes)
        del body["agent"]
        answer = shop.api.decide(shop.agent, body)
        assert (answer.status_code, answer.json["code"]) == (409, "ORDER_MISMATCH"), changes
    assert register(shop, {**ORDER, "currency": "JPY", "lines": [{"id": "1", "paid": "800"}],
                           "shipping_paid": "0"}).status_code == 409  # fmt: skip
    assert register(shop).status_code == 201


def test_a_pin_takes_in_what_nobody_had_said_before() -> None:
    pin = OrderPin("SO-1", "p", "CNY", {"line:1": None, "shipping": 0})
    said = OrderPin("SO-1", "p", "CNY", {"line:1": 80000, "shipping": None})
    assert pin.disagrees(said) is None
    whole = replace(pin, amounts=pin.completed(said))
    assert whole.amounts == {"line:1": 80000, "shipping": 0}
    assert whole.disagrees(said) is None
    raised = replace(said, amounts={"line:1": 90000, "shipping": 0})
    assert whole.disagrees(raised) == "paid of `line:1`"
    assert whole.disagrees(replace(said, amounts={"line:1": 80000, "shipping": 1})) == (
        "shipping_paid"
    )


def test_a_decision_made_before_the_order_was_pinned_otherwise_is_not_granted(shop: Shop) -> None:
    decision = shop.decide(shop.agent, order__lines=[{"id": "1", "paid": "900.00"}])
    register(shop)
    answer = shop.take(shop.agent, decision)
    assert (answer.status_code, answer.json["code"]) == (409, "ORDER_MISMATCH")


def test_versions_follow_each_other_until_something_is_granted(shop_on_both: Shop) -> None:
    shop = shop_on_both
    first = register(shop)
    assert (first.status_code, first.json["version"]) == (201, 1)
    raised = {**ORDER, "lines": [{"id": "1", "paid": "1000.00"}, {"id": "2", "paid": "5.00"}]}
    second = register(shop, raised)
    assert (second.status_code, second.json["version"]) == (200, 2)
    assert register(shop, raised).json["version"] == 2
    assert shop.api.decide(shop.agent, short()).json["plans"][0]["allowed"] == money("50.25")

    shop.take(shop.agent, shop.api.decide(shop.agent, short()).json)
    lowered = register(shop, ORDER)
    assert (lowered.status_code, lowered.json["code"]) == (409, "ORDER_MISMATCH")
    delivered = register(shop, {**raised, "delivered_at": "2026-06-20T00:00:00+08:00"})
    assert (delivered.status_code, delivered.json["version"]) == (200, 3)
    other = register(shop, raised, customer="C-2")
    assert (other.status_code, other.json["code"]) == (409, "ORDER_MISMATCH")
    shown = shop.api.send("GET", "/v1/orders/SO-1", shop.orders)
    assert shown.json == delivered.json


def test_the_first_answer_of_a_registration_is_given_again(shop_on_both: Shop) -> None:
    shop = shop_on_both
    first = register(shop, idempotency_key="k-1")
    again = register(shop, idempotency_key="k-1")
    assert (again.data, again.status_code) == (first.data, 201)
    assert again.headers["Idempotent-Replayed"] == "true"
    other = register(shop, {**ORDER, "shipping_paid": "1.00"}, idempotency_key="k-1")
    assert (other.status_code, other.json["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


def test_only_registered_orders_are_served_where_that_is_required(
    make_shop: Callable[..., Shop], sqlite_url: str
) -> None:
    shop = make_shop(sqlite_url, require_registered_orders=True)
    refused = shop.api.decide(shop.agent, {**late_order(), "agent": None})
    assert (refused.status_code, refused.json["code"]) == (409, "ORDER_NOT_REGISTERED")
    register(shop)
    assert shop.take(shop.agent, shop.decide(shop.agent)).status_code == 201


def test_an_offer_made_before_registration_was_required_is_not_granted(
    make_shop: Callable[..., Shop], sqlite_url: str
) -> None:
    before = make_shop(sqlite_url)
    decision = before.decide(before.agent)
    strict = make_shop(sqlite_url, require_registered_orders=True)
    refused = strict.take(before.agent, decision)
    assert (refused.status_code, refused.json["code"]) == (409, "ORDER_NOT_REGISTERED")


@pytest.mark.parametrize(
    ("order", "pointer"),
    [
        ({**ORDER, "id": "SO-2"}, "/order/id"),
        ({**ORDER, "colour": "red"}, "/order/colour"),
        ({**ORDER, "lines": []}, "/order/lines"),
        ({**ORDER, "shipping_paid": "1.5"}, "/order/shipping_paid"),
        ({**ORDER, "currency": "XXZ"}, "/order/currency"),
        (
            {**ORDER, "lines": [{"id": "1", "paid": "9999999999999.99"}],
             "shipping_paid": "9999999999999.99"},
            "/order",
        ),
    ],
)  # fmt: skip
def test_a_bad_registration_names_the_place(
    shop: Shop, order: dict[str, Any], pointer: str
) -> None:
    answer = register(shop, order)
    assert answer.status_code == 422, answer.json
    assert [each["pointer"] for each in answer.json["errors"]] == [pointer]


def test_an_order_that_was_never_registered_is_not_there(shop: Shop) -> None:
    answer = shop.api.send("GET", "/v1/orders/SO-404", shop.orders)
    assert (answer.status_code, answer.json["code"]) == (404, "NO_SUCH_ORDER")


def test_an_order_id_may_hold_a_slash(shop: Shop) -> None:
    for id_, address in (("SO/1 a", "SO%2F1%20a"), ("/x/", "%2Fx/")):
        assert register(shop, {**ORDER, "id": id_}, order_id=address).status_code == 201
        read = shop.api.send("GET", f"/v1/orders/{address}", shop.orders)
        assert read.json["order"]["id"] == id_
        body = late_order(order={"id": id_})
        del body["agent"]
        assert shop.api.decide(shop.agent, body).json["plans"][0]["plan"] == COUPON


def test_the_record_of_a_registration_names_no_customer(shop: Shop) -> None:
    answer = register(shop, customer="Cust-4711")
    found = shop.api.services.ledger.orders.record_of("SO-1")
    assert found is not None
    assert b"Cust-4711" not in found[1]
    assert answer.json["customer"] == {"id": "Cust-4711"}
