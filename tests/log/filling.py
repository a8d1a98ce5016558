"""A database with everything in it that verification proves: each table has rows."""

from __future__ import annotations

from pathlib import Path

from bench import demo
from policy_engine.core.request import Agent
from policy_engine.ledger.shapes import CredentialTerms
from policy_engine.usecases import packs, privacy
from policy_engine.usecases.services import Services
from tests.api.conftest import Api, app_over
from tests.grants.conftest import PACK, Shop, money, open_shop
from tests.log.given import close, decide_one, open_services, sequence

WAITING = 4
PHOTO = {"kind": "photo", "reference": "IMG-4711"}
OTHER_PACK = Path(__file__).parents[1] / "api" / "pack"


def fill(url: str, orders: int, *, leaves: int = 300) -> None:
    """A quarter of `orders` decisions with grants in every state, keys, two erased customers,
    orders that were registered, evidence that was spent; and some records that wait."""
    services = open_services(url)
    services.ledger.upgrade()
    demo.fill(services, orders)
    close(services)

    services = open_services(url)
    packs.activate_folder(services, PACK, by="tests")
    shop = open_shop(Api(app_over(services), services))
    work(shop)
    _keys(services)
    for customer in ("C-3", "C-8"):
        privacy.erase(services, customer, "officer")
    packs.activate_folder(services, OTHER_PACK, by="tests")
    packs.activate_folder(services, PACK, by="tests")
    # Enough leaves for an inner node to be stored, cheaply.
    while services.ledger.log.status().waiting + services.ledger.log.status().size < leaves:
        _keys(services)
    sequence(services)
    for number in range(WAITING):
        decide_one(services, 10_000 + number, f"waiting-{number}")
    shop.granted(shop.agent, order__id="SO-W", customer__id="C-W")
    close(services)


def work(shop: Shop) -> None:
    """Grants as people make and move them: approved, used, carried out, taken back, rejected; on
    registered orders and with evidence."""
    for number in range(3):
        grant = shop.granted(
            shop.bot, order__id=f"SO-A{number}", customer__id=f"C-A{number}", order__lines=DEAR
        )
        assert shop.approve(shop.supervisor, grant).status_code == 201
        used = {"remedy": "coupon", "amount": money("5.50"), "reference": f"SO-B{number}"}
        assert shop.move(shop.settle, grant, "redemptions", **used).status_code == 201
        assert shop.move(shop.settle, grant, "reversals", reason="it arrived").status_code == 201
        photo = {**PHOTO, "reference": f"IMG-{number}"}
        proven = shop.granted(
            shop.agent,
            "broken/proven",
            order__id=f"SO-C{number}",
            customer__id="C-8",
            incident__types=["broken"],
            incident__evidence=[photo],
        )
        done = {"remedy": "compensation", "status": "done", "external_ref": f"WH-{number}"}
        assert shop.move(shop.settle, proven, "fulfilments", **done).status_code == 201
        _register(shop, f"SO-D{number}", "400.00")
        _register(shop, f"SO-D{number}", "800.00")
    waits = shop.granted(shop.bot, order__id="SO-E", customer__id="C-E", order__lines=DEAR)
    assert shop.move(shop.supervisor, waits, "reject", reason="no").status_code == 201


DEAR = [{"id": "1", "sku": "TEA", "quantity": 2, "paid": "800.00"}]


def _register(shop: Shop, order_id: str, paid: str) -> None:
    order = {
        "id": order_id,
        "currency": "CNY",
        "shipping_paid": "0.00",
        "lines": [{"id": "1", "quantity": 1, "paid": paid}],
    }
    body = {"order": order, "customer": {"id": f"C-{order_id}"}}
    answer = shop.put(f"/v1/orders/{order_id}", body)
    assert answer.status_code in (200, 201), answer.json


def _keys(services: Services) -> None:
    """Keys of every kind, some of them revoked."""
    ring = services.ledger.credentials
    scopes = frozenset({"decide", "grant"})
    for number in range(6):
        made = ring.create(CredentialTerms("shop", scopes, Agent("A-7", "agent")), "tests")
        if number % 2:
            ring.revoke(made.credential.id, "tests")
    ring.create(CredentialTerms("desk", scopes, ceiling="agent", roster={"A-1": "agent"}), "tests")
