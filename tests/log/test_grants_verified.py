"""Grants and orders are part of what verification proves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text

from policy_engine.ledger.log.findings import Report
from policy_engine.usecases import packs, verifying
from policy_engine.usecases.services import Services
from tests.api.conftest import Api, app_over
from tests.grants.conftest import PACK, Shop, money, open_shop
from tests.log.given import sequence
from tests.log.tampering import unguarded

ORDER = {
    "currency": "CNY",
    "shipping_paid": "0.00",
    "lines": [{"id": "1", "quantity": 1, "paid": "800.00"}],
}


@pytest.fixture
def worked(make_services: Callable[..., Services], database_url: str) -> Services:
    """Grants in several states: pending, approved, partly used, reversed; one order registered."""
    services = make_services(database_url)
    services.ledger.upgrade()
    packs.activate_folder(services, PACK, by="tests")
    shop = open_shop(Api(app_over(services), services))
    work(shop)
    sequence(services)
    shop.granted(shop.agent, order__id="SO-9", customer__id="C-9")
    return services


def work(shop: Shop) -> None:
    grant = shop.granted(shop.bot)
    assert shop.approve(shop.supervisor, grant).status_code == 201
    used = {"remedy": "coupon", "amount": money("15.50"), "reference": "SO-2"}
    assert shop.move(shop.settle, grant, "redemptions", **used).status_code == 201
    assert shop.move(shop.settle, grant, "reversals", reason="it arrived").status_code == 201
    shop.granted(shop.bot, order__id="SO-8", customer__id="C-8")
    body = {"order": {**ORDER, "id": "SO-7"}, "customer": {"id": "C-7"}}
    registered = shop.api.send(
        "PUT",
        "/v1/orders/SO-7",
        shop.orders,
        json=body,
        headers={"Idempotency-Key": "register-1"},
    )
    assert registered.status_code == 201, registered.json


def verified(services: Services) -> Report:
    return verifying.verify(services, (), None)


def test_grants_in_every_state_are_good(worked: Services) -> None:
    report = verified(worked)
    assert (report.findings, report.verdict) == ([], "good")
    assert report.counts["grants"] == 3
    assert report.counts["grant entries"] >= 7


@pytest.mark.parametrize(
    ("table", "statement"),
    [
        ("grant_entry", "UPDATE grant_entry SET minor = minor + 1 WHERE movement = 'redeem'"),
        ("grant_entry", "UPDATE grant_entry SET actor = 'somebody' WHERE position = 0"),
        ("grant_entry", "UPDATE grant_entry SET at_us = at_us + 1 WHERE position = 1"),
        ("grant_entry", "DELETE FROM grant_entry WHERE movement = 'reverse'"),
        (
            "grant_entry",
            """INSERT INTO grant_entry
            SELECT grant_id, position + 50, record_id, remedy, movement, minor, shares, at_us,
            counted_at_us, against, actor FROM grant_entry WHERE movement = 'redeem'""",
        ),
        ("grant_", "UPDATE grant_ SET approver = 'bot' WHERE approver IS NOT NULL"),
        ("grant_", "UPDATE grant_ SET role = 'supervisor' WHERE role = 'bot'"),
        ("grant_remedy", "UPDATE grant_remedy SET policy = 'another'"),
        ("grant_state", "UPDATE grant_state SET status = 'granted'"),
        ("grant_state", "DELETE FROM grant_state"),
        ("cap_movement", "DELETE FROM cap_movement WHERE position = 0"),
        ("cap_movement", "UPDATE cap_movement SET minor = minor - 1"),
        ("limit_counter", "UPDATE limit_counter SET amount = amount - 1 WHERE amount > 0"),
        ("order_pin", "DELETE FROM order_pin"),
        ("order_registration", "UPDATE order_registration SET version = 2"),
        ("order_registration", "UPDATE order_registration SET facts = '{}'"),
        ("order_registration", "DELETE FROM order_registration"),
    ],
)
def test_a_changed_grant_is_found(worked: Services, table: str, statement: str) -> None:
    with unguarded(worked.settings.database_url) as connection:
        assert connection.execute(text(statement)).rowcount > 0
    report = verified(worked)
    assert report.verdict == "broken"
    assert table in {finding.table for finding in report.findings}, report.findings
