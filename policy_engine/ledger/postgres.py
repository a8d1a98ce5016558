"""PostgreSQL: several processes and machines beside one primary; a bounded pool a process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    LargeBinary,
    bindparam,
    cast,
    create_engine,
    func,
    literal,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP

from policy_engine.ledger.database import Gate, Job, Load, Opening, T, failures_told, load_of
from policy_engine.ledger.errors import StillRunningError
from policy_engine.ledger.prepared import Prepared
from policy_engine.ledger.tables import IDEMPOTENCY

_CLOCK = cast(func.clock_timestamp(), TIMESTAMP(timezone=True))
_KEPT = (
    select(IDEMPOTENCY.c.fingerprint, IDEMPOTENCY.c.answer_sealed)
    .where(IDEMPOTENCY.c.key_hash == bindparam("key_hash", type_=LargeBinary))
    .subquery("kept")
)
# One round trip: try the key's lock, look the key up, read the clock. The look-up's snapshot is
# older than the lock, so it can miss an answer committed in between; then inserting the key
# fails, and the call begins again (`Ledger.decide`).
_OPEN = Prepared(
    select(
        func.pg_try_advisory_xact_lock(bindparam("lock", type_=BigInteger)).label("locked"),
        _CLOCK.label("now"),
        _KEPT.c.fingerprint,
        _KEPT.c.answer_sealed,
    ).select_from(select(literal(1)).subquery("one").outerjoin(_KEPT, true()))
)
_NOW = Prepared(select(_CLOCK))
_LONGER_SECONDS = 1.0
"""A statement's time-out is the server's own; after so much more it isn't there."""


class PostgresDatabase:
    """Ledger time is the server's clock, the isolation READ COMMITTED."""

    def __init__(self, url: str, timeout_seconds: float, pool_size: int) -> None:
        self._gate = Gate()
        milliseconds = max(1, int(timeout_seconds * 1000))
        self.engine = create_engine(
            url,
            isolation_level="READ COMMITTED",
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=timeout_seconds,
            pool_use_lifo=True,
            connect_args={
                "connect_timeout": max(2, int(timeout_seconds)),
                "options": f"-c lock_timeout={milliseconds} -c statement_timeout={milliseconds} "
                f"-c idle_in_transaction_session_timeout={milliseconds * 4} -c timezone=UTC",
                "application_name": "policy-engine",
            },
        )
        # Needs the driver, which the line above has loaded.
        from policy_engine.ledger.presence import Presence, watch

        self._presence = Presence()
        watch(self.engine, self._presence, timeout_seconds + _LONGER_SECONDS)
        self._snapshots = self.engine.execution_options(isolation_level="REPEATABLE READ")

    def write(self, job: Job[T]) -> T:
        with self._gate.writing(), self._transaction(self.engine) as connection:
            return job(connection)

    def write_first(self, jobs: Sequence[Job[T]]) -> tuple[list[T], Exception | None]:
        # One transaction for all would hold rows of several customers at once, and two that meet
        # in another order would wait for each other.
        done: list[T] = []
        for job in jobs:
            try:
                done.append(self.write(job))
            except Exception as error:  # noqa: BLE001 -- handed back
                return done, error
        return done, None

    def read(self, job: Job[T]) -> T:
        with self._gate.inside(), self._transaction(self._snapshots) as connection:
            return job(connection)

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Connection]:
        with self._presence.needed(), failures_told(), engine.begin() as connection:
            yield connection

    def claim(self, key_hash: bytes | None) -> AbstractContextManager[None]:  # noqa: ARG002 -- the database's lock, taken in `open`, serves all nodes
        return nullcontext()

    def open(self, connection: Connection, key_hash: bytes | None) -> Opening:
        if key_hash is None:
            return Opening(self.now(connection))
        lock = int.from_bytes(key_hash[:8], signed=True)
        ((locked, now, fingerprint, answer_sealed),) = _OPEN.run(
            connection, {"lock": lock, "key_hash": key_hash}
        )
        if not locked:
            raise StillRunningError
        return Opening(now, None if fingerprint is None else (fingerprint, answer_sealed))

    def now(self, connection: Connection) -> datetime:
        now: datetime
        ((now,),) = _NOW.run(connection, {})
        return now

    def load(self) -> Load:
        return load_of(self._gate, self.engine)

    def refuse(self, because: str | None) -> None:
        self._gate.refusal = because

    def forget(self) -> None:
        """VACUUM and the recycling of WAL are the server's (docs/storage.md)."""

    def close(self) -> None:
        if self._gate.close():
            self.engine.dispose()
