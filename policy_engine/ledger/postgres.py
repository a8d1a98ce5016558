"""PostgreSQL: several processes and machines beside one primary; a bounded pool a process."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Connection,
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

from policy_engine.ledger.database import Gate, Job, Opening, T, failures_told
from policy_engine.ledger.errors import StillRunningError
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
_OPEN = select(
    func.pg_try_advisory_xact_lock(bindparam("lock", type_=BigInteger)).label("locked"),
    _CLOCK.label("now"),
    _KEPT.c.fingerprint,
    _KEPT.c.answer_sealed,
).select_from(select(literal(1)).subquery("one").outerjoin(_KEPT, true()))
_NOW = select(_CLOCK)


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
        self._snapshots = self.engine.execution_options(isolation_level="REPEATABLE READ")

    def write(self, job: Job[T]) -> T:
        with self._gate.writing(), failures_told(), self.engine.begin() as connection:
            return job(connection)

    def read(self, job: Job[T]) -> T:
        with self._gate.inside(), failures_told(), self._snapshots.begin() as connection:
            return job(connection)

    def claim(self, key_hash: bytes | None) -> AbstractContextManager[None]:  # noqa: ARG002 -- the database's lock, taken in `open`, serves all nodes
        return nullcontext()

    def open(self, connection: Connection, key_hash: bytes | None) -> Opening:
        if key_hash is None:
            return Opening(self.now(connection))
        lock = int.from_bytes(key_hash[:8], signed=True)
        row = connection.execute(_OPEN, {"lock": lock, "key_hash": key_hash}).one()
        if not row.locked:
            raise StillRunningError
        kept = None if row.fingerprint is None else (row.fingerprint, row.answer_sealed)
        return Opening(row.now, kept)

    def now(self, connection: Connection) -> datetime:
        now: datetime = connection.execute(_NOW).scalar_one()
        return now

    def refuse(self, because: str | None) -> None:
        self._gate.refusal = because

    def forget(self) -> None:
        """VACUUM and the recycling of WAL are the server's (docs/storage.md)."""

    def close(self) -> None:
        if self._gate.close():
            self.engine.dispose()
