"""The ledger: opened once a process, safe to call from several threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import partial
from time import time_ns
from typing import TypeVar

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from policy_engine import tracing
from policy_engine.ledger import idempotency, schema
from policy_engine.ledger.counter_check import Difference, Progress, differences
from policy_engine.ledger.credentials import KeyRing
from policy_engine.ledger.database import Database, Job, Load, kind_of
from policy_engine.ledger.decisions import DecisionBook
from policy_engine.ledger.erasing import Subjects
from policy_engine.ledger.errors import StillRunningError, UnavailableError
from policy_engine.ledger.grants import GrantBook
from policy_engine.ledger.history import History
from policy_engine.ledger.idempotency import KEPT_AT_LEAST, KeptAnswers
from policy_engine.ledger.log.log import VerifiableLog
from policy_engine.ledger.orders import OrderBook
from policy_engine.ledger.packs import PackStore
from policy_engine.ledger.postgres import PostgresDatabase
from policy_engine.ledger.sealing import Sealer
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.ledger.server import Server, look
from policy_engine.ledger.shapes import Answer, IdempotencyKey
from policy_engine.ledger.sqlite import SqliteDatabase
from policy_engine.ledger.transaction import Books, Snapshot, Transaction
from policy_engine.ledger.writing import insert_all

T = TypeVar("T")

_ATTEMPTS = 3
_SWEPT_AT_ONCE = 1000
_RACED = frozenset({"pk_idempotency", "pk_subject"})
"""Two calls wrote the same key, or the first row of one customer: the later one looks again."""


class Ledger:
    """Decisions, packs and credentials on record. Build it with `Ledger.open`."""

    def __init__(self, database: Database, secret: InstanceSecret) -> None:
        sealer = Sealer(secret)
        self._database = database
        self._secret = secret
        self._sealer = sealer
        self._kept = KeptAnswers(secret, sealer)
        self.decisions = DecisionBook(database, secret, sealer)
        self.grants = GrantBook(database, secret, sealer, self.decisions)
        self.orders = OrderBook(database)
        self._books = Books(database, self.decisions, self.grants)
        self.packs = PackStore(database, secret)
        self.credentials = KeyRing(database, secret)
        self.subjects = Subjects(database, secret)
        self.log = VerifiableLog(database, secret)
        self.history = History(database, secret)

    @classmethod
    def open(
        cls,
        url: str,
        secret: InstanceSecret,
        *,
        timeout: timedelta = timedelta(seconds=5),
        pool_size: int = 8,
    ) -> Ledger:
        """A ledger over `sqlite:///file` or `postgresql+psycopg://…`; nothing is connected yet.

        `timeout` bounds every statement, every wait for a lock, and for a connection.
        """
        seconds = timeout.total_seconds()
        if kind_of(url) == "sqlite":
            return cls(SqliteDatabase(url, seconds), secret)
        return cls(PostgresDatabase(url, seconds, pool_size), secret)

    def close(self) -> None:
        """Ends what has begun, then lets go of the database."""
        self._database.close()

    def ping(self) -> None:
        """UnavailableError unless the database answers."""
        self._database.read(lambda connection: connection.execute(select(1)).one())

    def server(self) -> Server | None:
        """What the database's server lets the service do; None for an embedded database."""
        if self._database.engine.dialect.name != "postgresql":
            return None
        return self._database.read(look)

    def load(self) -> Load:
        """How busy this process keeps the database; asks nothing of it."""
        return self._database.load()

    def now(self) -> datetime:
        """Ledger time: the database's clock; on SQLite that of the process, never going back."""
        return self._database.read(self._database.now)

    def upgrade(self) -> None:
        """Brings the schema up to date; sets a new instance up. SchemaError on another secret."""
        from policy_engine.ledger import migrating  # a sixth of what a start takes, and rare

        migrating.upgrade(self._database, self._secret.fingerprint)

    def downgrade(self, revision: str) -> None:
        """Takes the schema back to a revision or `base`; what later tables held is lost."""
        from policy_engine.ledger import migrating

        migrating.downgrade(self._database.engine, revision)

    def check_schema(self) -> None:
        """SchemaError unless the schema is this release's and the secret the instance's."""
        self._database.read(lambda connection: schema.check(connection, self._secret.fingerprint))

    def decide(self, key: IdempotencyKey | None, work: Callable[[Transaction], Answer]) -> Answer:
        """Runs `work` in one transaction with all it records, and answers after the commit.

        With a key, the answer of an earlier call is given again, flagged as replayed, without
        running `work`. An exception of `work` is raised here, and nothing is kept. `work` may
        run twice, and on another thread: it has no effect but through the transaction.

        Raises StillRunningError, IdempotencyMismatchError, ErasedError, UnavailableError.
        """
        key_hash = None if key is None else self._kept.key_hash(key)
        with self._database.claim(key_hash):
            for _ in range(_ATTEMPTS):
                try:
                    return self._written(
                        lambda connection: self._decide(connection, key, key_hash, work)
                    )
                except IntegrityError as error:
                    if not _raced(error):
                        raise
        raise UnavailableError("too many calls for the same customer or key at once")

    def decide_first(
        self, calls: Sequence[tuple[IdempotencyKey | None, Callable[[Transaction], Answer]]]
    ) -> tuple[list[Answer], Exception | None]:
        """As `decide` for each of the calls, in order, until one raises: the answers of those
        before it, and what was raised; None where `decide` may still answer it, or all are.
        On SQLite they share a commit."""
        jobs: list[Job[Answer]] = []
        running = None
        with ExitStack() as claims:
            try:
                for key, work in calls:
                    key_hash = None if key is None else self._kept.key_hash(key)
                    claims.enter_context(self._database.claim(key_hash))
                    jobs.append(partial(self._decide, key=key, key_hash=key_hash, work=work))
            except StillRunningError as raised:
                running = raised
            with tracing.span("transaction", calls=str(len(jobs))):
                answers, error = self._database.write_first(jobs)
        if error is None:
            return answers, running
        return answers, None if isinstance(error, IntegrityError) and _raced(error) else error

    def _written(self, job: Job[T]) -> T:
        """As `Database.write`, with a span for the time between the job's end and the answer."""
        done_ns = 0

        def noted(connection: Connection) -> T:
            nonlocal done_ns
            result = job(connection)
            done_ns = time_ns()
            return result

        with tracing.span("transaction"):
            result = self._database.write(noted)
            tracing.past("commit", done_ns)
            return result

    def preview(self, look: Callable[[Snapshot], T]) -> T:
        """Runs `look` on one consistent view; nothing is recorded."""
        return self._database.read(
            lambda connection: look(
                Snapshot(connection, self._database.now(connection), self._secret, self._books)
            )
        )

    def check_counters(
        self, progress: Progress = lambda _done, _total: None
    ) -> tuple[Difference, ...]:
        """What doesn't follow from the entries of the grants; empty when all is well."""
        return self._database.read(lambda connection: tuple(differences(connection, progress)))

    def sweep(self, kept_for: timedelta = KEPT_AT_LEAST) -> int:
        """Deletes kept answers older than `kept_for` (a day at least); returns how many. Others
        write in between."""

        def delete(connection: Connection) -> int:
            before = self._database.now(connection) - max(kept_for, KEPT_AT_LEAST)
            return idempotency.sweep(connection, before, _SWEPT_AT_ONCE)

        swept = 0
        while many := self._database.write(delete):
            swept += many
        return swept

    def _decide(
        self,
        connection: Connection,
        key: IdempotencyKey | None,
        key_hash: bytes | None,
        work: Callable[[Transaction], Answer],
    ) -> Answer:
        opening = self._database.open(connection, key_hash)
        if key is not None:
            again = self._kept.again(key, opening, lambda one: self._answer(connection, one))
            if again is not None:
                return again
        transaction = Transaction(connection, opening.now, self._secret, self._sealer, self._books)
        transaction.call = None if key_hash is None else key_hash.hex()
        answer = work(transaction)
        rows = transaction.rows()
        if key is not None and key_hash is not None:
            rows.append(self._kept.row(key, key_hash, answer, transaction.answers, opening.now))
        insert_all(connection, rows)
        transaction.grants.update_states()
        return answer

    def _answer(self, connection: Connection, record_id: str) -> bytes | None:
        decision = self.decisions.find(connection, record_id)
        if decision is not None:
            return decision.answer
        return self.grants.answer(connection, record_id)


def _raced(error: IntegrityError) -> bool:
    diagnosis = getattr(error.orig, "diag", None)
    return getattr(diagnosis, "constraint_name", None) in _RACED
