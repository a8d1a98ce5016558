"""When the database can't serve, the call is refused in time, and nothing has happened."""

import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, func, select, text

from policy_engine.ledger.errors import LedgerError, UnavailableError
from policy_engine.ledger.ledger import Ledger
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.ledger.shapes import Answer
from policy_engine.ledger.sqlite import _Writer
from policy_engine.ledger.tables import DECISION
from policy_engine.ledger.transaction import Transaction
from tests.ledger.given import REVISION, a_call, a_decision, deciding

SHORT = timedelta(seconds=0.4)


def decisions_in(ledger: Ledger) -> int:
    with ledger._database.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(DECISION)).scalar_one()


class Slow:
    """Work that waits inside its transaction until it is told to go on."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, transaction: Transaction) -> Answer:
        self.begun.set()
        assert self.go_on.wait(20)
        return Answer(201, a_decision(transaction))


def test_calls_that_wait_too_long_are_refused_and_never_run(
    ledger: Ledger, open_ledger: Callable[..., Ledger]
) -> None:
    node, slow, ran = open_ledger(timeout=SHORT, pool_size=1), Slow(), threading.Event()

    def notice(transaction: Transaction) -> Answer:
        ran.set()
        return Answer(201, a_decision(transaction))

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(node.decide, None, slow)
        assert slow.begun.wait(5)
        begun_at = time.monotonic()
        with pytest.raises(UnavailableError) as refusal:
            node.decide(a_call("k1"), notice)
        waited_seconds = time.monotonic() - begun_at
        slow.go_on.set()
        assert running.result(5).status == 201

    assert waited_seconds < 3
    assert refusal.value.retry_after_seconds >= 1
    assert not ran.is_set()
    assert decisions_in(ledger) == 1
    assert not node.decide(a_call("k1"), notice).replayed


def test_a_closed_ledger_refuses_and_what_had_begun_has_ended(ledger: Ledger) -> None:
    slow = Slow()
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(ledger.decide, None, slow)
        assert slow.begun.wait(5)
        closing = pool.submit(ledger.close)
        slow.go_on.set()
        assert running.result(5).status == 201
        closing.result(5)
    ledger.close()
    with pytest.raises(UnavailableError, match="closed"):
        ledger.decide(None, deciding())
    with pytest.raises(UnavailableError, match="closed"):
        ledger.ping()


def test_only_known_databases_are_opened(secret: InstanceSecret) -> None:
    for url in ("mysql://x/y", "sqlite://", "sqlite:///:memory:", "no url at all", ""):
        with pytest.raises(LedgerError):
            Ledger.open(url, secret)


# --- SQLite --------------------------------------------------------------------------------------


@pytest.fixture
def embedded(sqlite_url: str, secret: InstanceSecret) -> Ledger:
    ledger = Ledger.open(sqlite_url, secret, timeout=SHORT)
    ledger.packs.store(REVISION, b"")
    return ledger


def test_a_file_locked_by_another_process_is_waited_for_and_then_refused(
    embedded: Ledger, sqlite_url: str
) -> None:
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError):
        embedded.decide(a_call("k1"), deciding())
    assert embedded.decisions.get("none") is None
    other.execute("ROLLBACK")
    other.close()
    assert not embedded.decide(a_call("k1"), deciding()).replayed
    embedded.close()


def test_a_full_disk_refuses_all_of_a_group_and_passes(embedded: Ledger) -> None:
    embedded.decide(None, deciding())

    def limit(pages: str) -> None:
        # Another connection has its own limit, so this is set where decisions are written.
        embedded._database.write(
            lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}").all()
        )

    def send(number: int) -> bool:
        try:
            embedded.decide(a_call(f"k{number}"), deciding(name="x" * 50_000))
        except UnavailableError:
            return False
        return True

    limit("1")  # the least possible: as large as it is now
    with ThreadPoolExecutor(8) as pool:
        assert not any(pool.map(send, range(40)))
    assert decisions_in(embedded) == 1

    limit("1000000")
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(send, range(40)))
    assert decisions_in(embedded) == 41
    embedded.close()


def test_whatever_fails_when_a_group_is_undone_the_next_one_is_written(
    embedded: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as broken:
        broken.setattr(_Writer, "commit", fails)
        broken.setattr(Connection, "close", fails)
        with pytest.raises(MemoryError):
            embedded._database.write(lambda connection: connection.execute(select(1)).one())
    assert decisions_in(embedded) == 0
    assert not embedded.decide(a_call("k1"), deciding()).replayed
    assert decisions_in(embedded) == 1
    embedded.close()


def test_more_calls_than_the_queue_holds_are_refused_at_once(
    embedded: Ledger,
) -> None:
    slow = Slow()
    embedded._database._queue.maxsize = 2  # type: ignore[attr-defined]
    with ThreadPoolExecutor(3) as pool:
        running = pool.submit(embedded.decide, None, slow)
        assert slow.begun.wait(5)
        waiting = [pool.submit(embedded.decide, None, deciding()) for _ in range(2)]
        give_up_at = time.monotonic() + 0.2
        while embedded._database._queue.qsize() < 2:  # type: ignore[attr-defined]
            assert time.monotonic() < give_up_at
        with pytest.raises(UnavailableError, match="too many calls"):
            embedded.decide(None, deciding())
        slow.go_on.set()
        assert [each.result(5).status for each in (running, *waiting)] == [201, 201, 201]
    embedded.close()


def test_a_clock_set_back_does_not_set_the_ledger_back(
    embedded: Ledger, sqlite_url: str, secret: InstanceSecret, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded.decide(None, deciding())
    before = embedded.now()
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() - 3_600_000_000_000)
    assert embedded.now() >= before
    embedded.close()

    after_restart = Ledger.open(sqlite_url, secret)
    assert before - after_restart.now() < timedelta(seconds=5)
    after_restart.close()


# --- PostgreSQL ----------------------------------------------------------------------------------


@pytest.fixture
def served(postgres_url: str, secret: InstanceSecret) -> Ledger:
    ledger = Ledger.open(postgres_url, secret, timeout=SHORT, pool_size=4)
    ledger.packs.store(REVISION, b"")
    return ledger


def test_a_broken_connection_is_refused_and_the_next_call_served(
    served: Ledger, postgres_url: str
) -> None:
    def cut(transaction: Transaction) -> Answer:
        with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        return Answer(201, a_decision(transaction))

    with pytest.raises(UnavailableError):
        served.decide(a_call("k1"), cut)
    assert decisions_in(served) == 0
    assert not served.decide(a_call("k1"), deciding()).replayed
    served.close()


def test_a_lock_held_too_long_is_refused(served: Ledger, postgres_url: str) -> None:
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as other:
        other.execute(
            "INSERT INTO subject VALUES (%s, '1', '1', 0)", [served.decisions.customer("C-1")]
        )
        with pytest.raises(UnavailableError):
            served.decide(a_call("k1"), deciding(customer="C-1"))
        other.rollback()
    assert not served.decide(a_call("k1"), deciding(customer="C-1")).replayed
    served.close()


def test_a_statement_that_takes_too_long_is_refused(served: Ledger) -> None:
    with pytest.raises(UnavailableError):
        served._database.read(lambda connection: connection.execute(text("SELECT pg_sleep(5)")))
    served.close()


def test_a_database_that_is_away_is_told_as_unavailable(
    secret: InstanceSecret, free_port: Callable[[], int]
) -> None:
    away = Ledger.open(f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/none", secret)
    for call in (away.ping, away.now, lambda: away.decide(None, deciding())):
        with pytest.raises(UnavailableError):
            call()
    away.close()


def test_a_decision_takes_three_statements(served: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    statements: list[str] = []
    served.ping()  # connecting takes some of its own
    execute = psycopg.Cursor.execute

    def counted(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        statements.append(str(query).split()[0])
        return execute(self, query, *arguments, **options)

    monkeypatch.setattr(psycopg.Cursor, "execute", counted)
    served.decide(a_call("k1"), deciding(references=("ZD-1",)))
    served.close()
    assert statements == ["SELECT", "SELECT", "WITH"]
