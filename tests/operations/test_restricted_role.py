"""The set-up of docs/operations.md: a role that owns, and a role that serves and can only add."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests import roles
from tests.api.conftest import PACK, late_order
from tests.api.serving import Server
from tests.operations.conftest import Run

MAY_CHANGE = {"order_pin", "grant_state", "limit_counter", "limit_class"}
MAY_DELETE = {"outbox", "subject", "idempotency", "limit_counter", "limit_class"}


@pytest.fixture
def role_url(postgres_url: str) -> Iterator[str]:
    with roles.application_role(postgres_url) as url:
        yield url


@pytest.fixture
def server(role_url: str, free_port: Callable[[], int], tmp_path: Path) -> Iterator[Server]:
    server = Server(role_url, free_port(), tmp_path, workers=2)
    server.start()
    yield server
    server.kill()


def test_the_service_does_all_it_does_under_a_role_that_can_only_add(
    server: Server, role_url: str, operator: Callable[..., Run], tmp_path: Path
) -> None:
    key = server.key("decide", "grant", "orders", "settle", "packs", "audit")

    def send(path: str, body: dict[str, Any], method: str = "POST") -> Any:
        sent = server.send(method, path, key, body, {"Idempotency-Key": path})
        assert sent.status in (200, 201), sent.body
        return sent.json

    order = {"order": late_order()["order"], "customer": {"id": "C-1"}}
    send("/v1/orders/SO-1", order, "PUT")
    decided = send("/v1/decisions", late_order())
    taken = {"decision_id": decided["decision_id"], "plan": decided["plans"][0]["plan"]}
    grant = send("/v1/grants", taken | {"agent": {"id": "A-7", "role": "agent"}})
    send(f"/v1/grants/{grant['grant_id']}/reversals", {"reason": "sent twice"})
    # A cap that counts what nothing counted before: its counters are built from the entries.
    other = shutil.copytree(PACK, tmp_path / "other")
    with (other / "caps.yaml").open("a") as caps:
        caps.write("  - {cap: more, scope: customer, measure: count, limit: 9}\n")
    run = operator(role_url)
    for words in (
        ("db", "check"),
        ("keys", "create", "--client", "bot", "--scope", "audit"),
        ("pack", "activate", other),
        ("grants", "list"),
        ("caps", "--order", "SO-1", "--customer", "C-1"),
        ("ledger", "check"),
        ("privacy", "erase", "C-1", "--yes"),
        ("log", "verify"),
        ("doctor",),
    ):
        result = run(*words)
        assert result.exit_code == 0, (words, result.output)


def test_it_can_change_and_delete_nothing_that_is_recorded(server: Server, role_url: str) -> None:
    key = server.key("decide")
    assert server.send("POST", "/v1/decisions", key, late_order()).status == 201
    plain = make_url(role_url).set(drivername="postgresql")
    with psycopg.connect(
        plain.render_as_string(hide_password=False), autocommit=True
    ) as connection:
        tables = [
            name
            for (name,) in connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            )
        ]
        assert len(tables) > 20
        tried = 0
        for table in tables:
            (column,) = connection.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = %s "
                "AND is_identity = 'NO' ORDER BY ordinal_position DESC LIMIT 1",
                [table],
            ).fetchone() or ("",)
            forbidden = [f"TRUNCATE {table}", f"ALTER TABLE {table} DISABLE TRIGGER ALL"]
            if table not in MAY_CHANGE:
                forbidden.append(f"UPDATE {table} SET {column} = {column}")
            if table not in MAY_DELETE:
                forbidden.append(f"DELETE FROM {table}")
            for statement in forbidden:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement)  # type: ignore[call-overload]
                tried += 1
        assert tried > 60
