"""SQLite: one process, one writer, group commit.

A writer thread takes what is queued, runs each job in a savepoint of one transaction, and
answers all of them after the one commit: concurrent calls share its fsync. Jobs queue up
while a commit waits for the disk, so groups form on their own, and nobody waits for one.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    LargeBinary,
    bindparam,
    create_engine,
    event,
    select,
    text,
)
from sqlalchemy.engine import make_url

from policy_engine.ledger.database import Gate, Job, Load, Opening, T, failures_told, load_of
from policy_engine.ledger.errors import StillRunningError, UnavailableError
from policy_engine.ledger.prepared import Prepared
from policy_engine.ledger.tables import IDEMPOTENCY, instant

_QUEUED_AT_MOST = 512
_GROUP_SECONDS = 0.02
"""After this long a group takes in no more jobs, so that the first one isn't kept waiting."""
_READERS = 8
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "recursive_triggers=ON",  # without it, INSERT OR REPLACE would slip past the delete triggers
    "secure_delete=ON",  # a destroyed key leaves no bytes behind in the file
)
_LATEST = text("SELECT recorded_at_us FROM record ORDER BY rowid DESC LIMIT 1")
# A transaction or a savepoint of SQLAlchemy's costs as much as what a decision writes.
_BEGIN = Prepared(text("BEGIN IMMEDIATE"))
_COMMIT = Prepared(text("COMMIT"))
_BEGIN_JOB = Prepared(text("SAVEPOINT job"))
_UNDO_JOB = Prepared(text("ROLLBACK TO job"))
_END_JOB = Prepared(text("RELEASE job"))
_KEPT = Prepared(
    select(IDEMPOTENCY.c.fingerprint, IDEMPOTENCY.c.answer_sealed).where(
        IDEMPOTENCY.c.key_hash == bindparam("key_hash", type_=LargeBinary)
    )
)


@dataclass(frozen=True, slots=True)
class _Outcome:
    result: Any = None
    error: Exception | None = None


@dataclass(slots=True)
class _Queued:
    job: Callable[[Connection], Any]
    context: Context = field(default_factory=copy_context)
    future: Future[Any] = field(default_factory=Future)
    begun: bool = False

    def begin(self) -> bool:
        """False when whoever handed it in has given up waiting."""
        self.begun = self.future.set_running_or_notify_cancel()
        return self.begun

    def answer(self, outcome: _Outcome) -> None:
        if self.future.cancelled() or not (self.begun or self.begin()):
            return
        if outcome.error is None:
            self.future.set_result(outcome.result)
        else:
            self.future.set_exception(outcome.error)


class SqliteDatabase:
    """The embedded database. Several processes are safe on one file, but wait for each other."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._file = Path(make_url(url).database or "")
        self.engine = self._engine(url, "BEGIN IMMEDIATE", pool_size=1)
        writing = self._engine(url, None, pool_size=1)
        event.listen(writing, "connect", _undo_from_memory)
        self._writer = _Writer(writing)
        self._readers = self._engine(url, "BEGIN", pool_size=_READERS)
        event.listen(self._readers, "connect", _never_write)
        self._running: set[bytes] = set()
        self._running_lock = threading.Lock()
        self._clock = _Clock()
        self._queue: queue.Queue[_Queued | None] = queue.Queue(_QUEUED_AT_MOST)
        self._gate = Gate()
        self._thread = threading.Thread(target=self._write_groups, name="ledger-writer")
        # Whoever forgets to close the ledger still gets out; what is queued was not answered.
        self._thread.daemon = True
        self._thread.start()

    def write(self, job: Job[T]) -> T:
        queued = _Queued(job)
        with self._gate.writing(), failures_told():
            try:
                self._queue.put_nowait(queued)
            except queue.Full:
                raise UnavailableError("too many calls wait for the database") from None
            try:
                queued.future.exception(self._timeout_seconds)
            except FutureTimeoutError:
                if queued.future.cancel():
                    raise UnavailableError("the database is too busy") from None
            # It has ended, or begun; then only its end tells whether it happened.
            result: T = queued.future.result()
            return result

    def write_first(self, jobs: Sequence[Job[T]]) -> tuple[list[T], Exception | None]:
        def one_after_the_other(connection: Connection) -> tuple[list[T], Exception | None]:
            done: list[T] = []
            for job in jobs:
                outcome = _apart(connection, job)
                if outcome.error is not None:
                    return done, outcome.error
                done.append(outcome.result)
            return done, None

        try:
            return self.write(one_after_the_other)
        except Exception as error:  # noqa: BLE001 -- handed back, like one of a job
            return [], error

    def read(self, job: Job[T]) -> T:
        with self._gate.inside(), failures_told(), self._readers.begin() as connection:
            return job(connection)

    @contextmanager
    def claim(self, key_hash: bytes | None) -> Iterator[None]:
        if key_hash is None:
            yield
            return
        with self._running_lock:
            if key_hash in self._running:
                raise StillRunningError
            self._running.add(key_hash)
        try:
            yield
        finally:
            with self._running_lock:
                self._running.discard(key_hash)

    def open(self, connection: Connection, key_hash: bytes | None) -> Opening:
        kept = None
        if key_hash is not None:
            for fingerprint, answer_sealed in _KEPT.run(connection, {"key_hash": key_hash}):
                kept = (fingerprint, answer_sealed)
        return Opening(self.now(connection), kept)

    def now(self, connection: Connection) -> datetime:
        return self._clock.now(connection)

    def load(self) -> Load:
        others = load_of(self._gate, self._readers)
        return replace(
            others,
            connections=others.connections + self._writer.busy,
            connections_limit=others.connections_limit + 1,
        )

    def refuse(self, because: str | None) -> None:
        self._gate.refusal = because

    def forget(self) -> None:
        """Empties the WAL, which holds older pages, as far as nobody reads in it."""
        with self._gate.inside(), failures_told():
            connection = sqlite3.connect(self._file, timeout=self._timeout_seconds)
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                connection.close()

    def close(self) -> None:
        if not self._gate.close():
            return
        self._queue.put(None)
        self._thread.join()
        self._writer.close()
        self._readers.dispose()
        self.engine.dispose()

    def _engine(self, url: str, begin: str | None, pool_size: int) -> Engine:
        engine = create_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=self._timeout_seconds,
            connect_args={"timeout": self._timeout_seconds, "check_same_thread": False},
        )
        event.listen(engine, "connect", _prepare)
        # The driver is told to leave transactions alone (below), so this is the only BEGIN.
        if begin is not None:
            event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        event.listen(engine, "do_connect", self._create_folder)
        return engine

    def _create_folder(self, *_: object) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)

    def _write_groups(self) -> None:
        while (first := self._queue.get()) is not None:
            self._commit_group(first)

    def _commit_group(self, first: _Queued) -> None:
        group, outcomes = [first], list[_Outcome]()
        give_up_at = time.monotonic() + _GROUP_SECONDS
        try:
            connection = self._writer.begin()
            while len(outcomes) < len(group):
                outcomes.append(_run(connection, group[-1]))
                following = self._following() if time.monotonic() < give_up_at else None
                if following is not None:
                    group.append(following)
            self._writer.commit()
        except Exception as error:  # noqa: BLE001 -- whatever it was, nobody is left waiting
            self._writer.undo()
            outcomes = [_Outcome(error=error)] * len(group)
        for queued, outcome in zip(group, outcomes, strict=True):
            queued.answer(outcome)

    def _following(self) -> _Queued | None:
        try:
            following = self._queue.get_nowait()
        except queue.Empty:
            return None
        if following is None:
            # The end: nothing is queued after it, and the loop has to see it too.
            self._queue.put_nowait(None)
        return following


class _Writer:
    """The connection that groups are written on: it stays open from one to the next, and begins
    and commits by itself. Used by one thread at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self.busy = False
        """Is a transaction open?"""

    def begin(self) -> Connection:
        self.busy = True
        if self._connection is None:
            self._connection = self._engine.connect()
        _BEGIN.run(self._connection, {})
        return self._connection

    def commit(self) -> None:
        assert self._connection is not None
        _COMMIT.run(self._connection, {})
        self.busy = False

    def undo(self) -> None:
        """Rolls back what is open. The next group takes a connection anew."""
        connection, self._connection, self.busy = self._connection, None, False
        if connection is not None:
            try:
                connection.close()
            except Exception:  # noqa: BLE001 -- whatever it was, the thread goes on writing
                with suppress(Exception):
                    connection.invalidate()

    def close(self) -> None:
        self.undo()
        self._engine.dispose()


def _run(connection: Connection, queued: _Queued) -> _Outcome:
    if not queued.begin():
        return _Outcome()
    return _apart(connection, lambda each: queued.context.run(queued.job, each))


def _apart(connection: Connection, job: Job[Any]) -> _Outcome:
    """Runs a job so that what it raises undoes what it wrote, and nothing else."""
    _BEGIN_JOB.run(connection, {})
    try:
        result = job(connection)
    except Exception as error:  # noqa: BLE001 -- raised again where the job was handed in
        # Where SQLite has already given up the whole transaction (a full disk, say), this
        # raises, and the group fails as one.
        _UNDO_JOB.run(connection, {})
        _END_JOB.run(connection, {})
        return _Outcome(error=error)
    _END_JOB.run(connection, {})
    return _Outcome(result)


class _Clock:
    """The clock of this process; it never goes behind what it or the database has shown."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_us: int | None = None

    def now(self, connection: Connection) -> datetime:
        with self._lock:
            if self._last_us is None:
                self._last_us = connection.execute(_LATEST).scalar() or 0
            self._last_us = max(self._last_us, time.time_ns() // 1000)
            return instant(self._last_us)


def _prepare(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _undo_from_memory(connection: sqlite3.Connection, _: object) -> None:
    # Else each savepoint writes what it may have to undo to a file. Only for the writer, whose
    # jobs are small: what anybody sorts would stay in memory too.
    connection.execute("PRAGMA temp_store=MEMORY")


def _never_write(connection: sqlite3.Connection, _: object) -> None:
    connection.execute("PRAGMA query_only=ON")
