"""New history that somebody with the database, and without the secret key, writes into it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text

from policy_engine.core.times import format_timestamp
from policy_engine.ledger.ids import new_id
from policy_engine.ledger.tables import instant
from policy_engine.ledger.writing import leaf_hash
from policy_engine.usecases import packs, verifying
from policy_engine.usecases.services import Services
from policy_engine.wire.records import canonical
from tests.api.conftest import Api, app_over
from tests.grants.conftest import PACK, Shop, open_shop
from tests.log.filling import DEAR
from tests.log.given import sequence
from tests.log.tampering import unguarded


@pytest.fixture
def shop(make_services: Callable[..., Services], sqlite_url: str) -> Shop:
    services = make_services(sqlite_url)
    services.ledger.upgrade()
    packs.activate_folder(services, PACK, by="tests")
    return open_shop(Api(app_over(services), services))


def slip_in(connection: Connection, document: dict[str, object], named: str) -> None:
    """A record as the sequencer takes it: it will be in the log, under a checkpoint."""
    content = canonical(document)
    values = {
        "id": document[named],
        "kind": document["kind"],
        "at": now_us(),
        "content": content,
        "hash": leaf_hash(content),
    }
    connection.execute(text("INSERT INTO record VALUES (:id, :kind, :at, :content, :hash)"), values)
    connection.execute(text("INSERT INTO outbox VALUES (:id)"), values)


def now_us() -> int:
    return time.time_ns() // 1000


def found(services: Services) -> set[str]:
    assert sequence(services) > 0
    report = verifying.verify(services, (), None)
    assert report.verdict == "broken"
    return {each.message for each in report.findings}


def test_a_key_that_the_service_never_made_is_found(shop: Shop) -> None:
    services = shop.api.services
    with unguarded(services.settings.database_url) as connection:
        row = connection.execute(text("SELECT * FROM credential LIMIT 1")).mappings().one()
        record = text("SELECT content FROM record WHERE id = :id")
        content = connection.execute(record, {"id": row["record_id"]}).scalar_one()
        document = json.loads(content)
        made = {"record": new_id(), "credential": "0123456789abcdef", "secret_hash": "ab" * 32}
        slip_in(connection, document | made, "record")
        values = {
            **row,
            "id": made["credential"],
            "record_id": made["record"],
            "secret_hash": bytes.fromhex(made["secret_hash"]),
        }
        connection.execute(
            text(f"INSERT INTO credential VALUES ({', '.join(f':{name}' for name in values)})"),
            values,
        )
    assert "was not written by the service" in found(services)


def test_headroom_that_is_given_back_before_its_time_is_found(shop: Shop) -> None:
    services = shop.api.services
    grant = shop.granted(shop.bot, order__lines=DEAR)
    with unguarded(services.settings.database_url) as connection:
        query = text("SELECT * FROM grant_entry WHERE movement = 'reserve'")
        reserve = dict(connection.execute(query).mappings().one())
        at, record_id = now_us(), new_id()
        stamp = format_timestamp(instant(at))
        entry = {
            "position": reserve["position"] + 1,
            "remedy": reserve["remedy"],
            "movement": "lapse",
            "minor": reserve["minor"],
            "shares": [],
            "at": stamp,
            "counted_at": format_timestamp(instant(reserve["counted_at_us"])),
            "against": reserve["position"],
        }
        document = {
            "kind": "grant_move",
            "id": record_id,
            "grant": grant["grant_id"],
            "at": stamp,
            "actor": None,
            "entries": [entry],
        }
        slip_in(connection, document, "id")
        row = {
            **reserve,
            "position": entry["position"],
            "record_id": record_id,
            "movement": "lapse",
            "shares": "[]",
            "at_us": at,
            "against": reserve["position"],
            "actor": None,
        }
        connection.execute(
            text(f"INSERT INTO grant_entry VALUES ({', '.join(f':{name}' for name in row)})"), row
        )
    assert "is not what time alone would have brought" in found(services)


def test_an_approval_that_nobody_gave_is_found(shop: Shop) -> None:
    services = shop.api.services
    grant = shop.granted(shop.bot, order__lines=DEAR)
    with unguarded(services.settings.database_url) as connection:
        document = {
            "kind": "grant_move",
            "id": new_id(),
            "grant": grant["grant_id"],
            "move": "approve",
            "at": format_timestamp(instant(now_us())),
            "actor": {"id": "S-1", "role": "supervisor", "client": "desk", "credential": "x"},
            "customer": "nobody",
            "entries": [],
        }
        slip_in(connection, document, "id")
    assert "what was answered with this record is missing" in found(services)
