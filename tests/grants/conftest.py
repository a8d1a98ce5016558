"""Grants over HTTP on each database, with everybody who takes part in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from werkzeug.test import TestResponse

from policy_engine import bootstrap
from policy_engine.core.request import Agent
from policy_engine.ledger.shapes import CredentialTerms
from policy_engine.settings import Settings
from policy_engine.usecases import packs
from tests.api.conftest import SECRET, Api, app_over, late_order

PACK = Path(__file__).parent / "pack"
COUPON = "shipping_delay/delay_coupon"


def money(amount: str, currency: str = "CNY") -> dict[str, str]:
    return {"amount": amount, "currency": currency}


@dataclass
class Shop:
    """One shop: its API, and keys of those who work in it."""

    api: Api
    bot: str
    agent: str
    supervisor: str
    settle: str
    audit: str
    orders: str

    def decide(self, credential: str, **changes: Any) -> dict[str, Any]:
        body = late_order(**changes)
        if "agent" not in changes:
            del body["agent"]
        answer = self.api.decide(credential, body)
        assert answer.status_code == 201, answer.json
        decided: dict[str, Any] = answer.json
        return decided

    def post(self, credential: str, path: str, body: Any, **options: Any) -> TestResponse:
        return self.api.send("POST", path, credential, json=body, **options)

    def put(self, path: str, body: Any, idempotency_key: str | None = None) -> TestResponse:
        """A call of the shop's back end."""
        headers = {"Idempotency-Key": idempotency_key or str(uuid4())}
        return self.api.send("PUT", path, self.orders, json=body, headers=headers)

    def take(
        self, credential: str, decision: dict[str, Any], plan: str = COUPON, **more: Any
    ) -> TestResponse:
        options = {"idempotency_key": more.pop("idempotency_key", str(uuid4()))}
        body = {"decision_id": decision["decision_id"], "plan": plan, **more}
        return self.post(credential, "/v1/grants", body, **options)

    def granted(self, credential: str, plan: str = COUPON, **changes: Any) -> dict[str, Any]:
        """A decision, taken."""
        answer = self.take(credential, self.decide(credential, **changes), plan)
        assert answer.status_code == 201, answer.json
        grant: dict[str, Any] = answer.json
        return grant

    def move(self, credential: str, grant: dict[str, Any], move: str, **body: Any) -> TestResponse:
        return self.post(credential, f"/v1/grants/{grant['grant_id']}/{move}", body)

    def approve(self, credential: str, grant: dict[str, Any], **body: Any) -> TestResponse:
        return self.move(credential, grant, "approve", **{"note": "fine", **body})

    def read(self, credential: str, grant: dict[str, Any]) -> TestResponse:
        return self.api.send("GET", f"/v1/grants/{grant['grant_id']}", credential)

    def caps(self, credential: str, **whose: str) -> dict[str, Any]:
        query = "&".join(f"{name}={value}" for name, value in whose.items())
        answer = self.api.send("GET", f"/v1/caps?{query}", credential)
        assert answer.status_code == 200, answer.json
        return {
            row["cap"] + ("" if row["policy"] is None else f"/{row['policy']}"): row
            for row in answer.json["caps"]
            if row["currency"] in ("CNY", None)
        }

    def cap(self, name: str, **whose: str) -> dict[str, Any]:
        row: dict[str, Any] = self.caps(self.audit, **(whose or {"order": "SO-1"}))[name]
        return row

    def check(self) -> None:
        """Every counter and line is what the entries come to."""
        assert list(self.api.services.ledger.check_counters()) == []


def person(
    api: Api, name: str, role: str, *scopes: str, client: str, owner: str | None = None
) -> str:
    terms = CredentialTerms(
        client=client, scopes=frozenset(scopes), person=Agent(name, role), owner=owner
    )
    return api.services.ledger.credentials.create(terms, "tests").key


def nobody(api: Api, *scopes: str, client: str) -> str:
    terms = CredentialTerms(client=client, scopes=frozenset(scopes))
    return api.services.ledger.credentials.create(terms, "tests").key


def open_shop(api: Api) -> Shop:
    take = ("decide", "grant")
    return Shop(
        api,
        bot=person(api, "BOT-1", "bot", *take, client="bot", owner="A-1"),
        agent=person(api, "A-7", "agent", *take, "approve", client="desk"),
        supervisor=person(api, "S-1", "supervisor", *take, "approve", client="desk"),
        settle=nobody(api, "settle", client="shop"),
        audit=nobody(api, "audit", client="finance"),
        orders=nobody(api, "orders", client="shop"),
    )


@pytest.fixture
def make_shop() -> Iterator[Callable[..., Shop]]:
    """Opens the shop over a database, as one node of several would."""
    made: list[Api] = []

    def make(url: str, pack: Path | None = PACK, **settings: Any) -> Shop:
        services = bootstrap.build(Settings(database_url=url, secret_key=SECRET, **settings))
        if pack is not None and services.ledger.packs.active() is None:
            packs.activate_folder(services, pack, by="tests")
        packs.follow(services)
        made.append(Api(app_over(services), services))
        return open_shop(made[-1])

    yield make
    for each in made:
        each.services.packs.close()
        each.services.ledger.close()


@pytest.fixture
def shop(make_shop: Callable[..., Shop], sqlite_url: str) -> Shop:
    """For what doesn't depend on the database."""
    return make_shop(sqlite_url)


@pytest.fixture
def shop_on_both(make_shop: Callable[..., Shop], database_url: str) -> Shop:
    return make_shop(database_url)
