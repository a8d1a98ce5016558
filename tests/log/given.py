"""A service with a log over each database, and decisions to fill it with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from policy_engine import bootstrap
from policy_engine.ledger.shapes import IdempotencyKey
from policy_engine.settings import Settings
from policy_engine.usecases import packs
from policy_engine.usecases.credentials import Principal
from policy_engine.usecases.deciding import decide
from policy_engine.usecases.principals import ActFor, Scope
from policy_engine.usecases.services import Services
from tests.ready import SECRET

PACK = Path(__file__).parents[1] / "data" / "delay-pack"
CALLER = Principal("helpdesk", frozenset(Scope), act_for=ActFor("supervisor"))

MakeServices = Callable[..., Services]


def open_services(url: str, **settings: Any) -> Services:
    """Services as one process has them; nothing keeps the log yet."""
    return bootstrap.build(Settings(database_url=url, secret_key=SECRET, **settings))


def begin(services: Services) -> None:
    """Sets the database up: the log's key, a pack."""
    bootstrap.open_log(services.settings, services.ledger, by="tests")
    packs.activate_folder(services, PACK, by="tests")


def close(services: Services) -> None:
    services.packs.close()
    services.ledger.close()


def a_request(number: int, customer: str | None = None) -> dict[str, Any]:
    """An order that is late; every fourth with a ticket and a name."""
    who: dict[str, Any] = {"id": customer or f"customer-{number % 7}", "tier": "standard"}
    body: dict[str, Any] = {
        "order": {
            "id": f"SO-{number}",
            "currency": "CNY",
            "promised_delivery_by": "2026-06-01T00:00:00+08:00",
            "shipping_paid": "0.00",
            "lines": [{"id": "1", "quantity": 1, "paid": f"{number % 900 + 1}.50"}],
        },
        "incident": {"types": ["shipping_delay"]},
        "customer": who,
        "agent": {"id": f"A-{number % 3}", "role": "agent"},
    }
    if number % 4 == 0:
        who["name"] = f"Zoë Quennell {number}"
        body["reference"] = {"ticket": f"ticket-{number}"}
    return body


def decide_one(services: Services, number: int, customer: str | None = None) -> str:
    """Decides and records one request; its id."""
    body = a_request(number, customer)
    raw = orjson.dumps(body)
    key = IdempotencyKey("helpdesk", str(uuid4()), "POST", "/v1/decisions", "", "", raw)
    answer = decide(services, CALLER, body, key).answer
    decision_id: str = orjson.loads(answer.body)["decision_id"]
    return decision_id


def sequence(services: Services) -> int:
    """Gives all that waits its place; how many they were."""
    key = bootstrap.open_log(services.settings, services.ledger, by="tests")
    sequencer, total = services.ledger.log.sequencer(key), 0
    while moved := sequencer.run_once().moved:
        total += moved
    return total
