"""Reading the log: entries, proofs, checkpoints, and how much waits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, select

from policy_engine.ledger.cursors import Cursors
from policy_engine.ledger.database import Database
from policy_engine.ledger.errors import CursorError
from policy_engine.ledger.log.notes import VerifierKey
from policy_engine.ledger.log.tiles import StoredNodes
from policy_engine.ledger.log.tree import consistency_proof, inclusion_proof, root
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.ledger.tables import CHECKPOINT, LOG_KEY, LOG_LEAF, OUTBOX, RECORD

_SIZE = select(func.coalesce(func.max(LOG_LEAF.c.leaf_index) + 1, 0))
_ENTRY = select(LOG_LEAF.c.leaf_index, RECORD).select_from(
    RECORD.outerjoin(LOG_LEAF, LOG_LEAF.c.record_id == RECORD.c.id)
)
_LISTED = select(LOG_LEAF.c.leaf_index, RECORD).select_from(
    LOG_LEAF.join(RECORD, RECORD.c.id == LOG_LEAF.c.record_id)
)
_LATEST = select(CHECKPOINT).order_by(CHECKPOINT.c.sequence.desc()).limit(1)
_KEYS = (
    select(LOG_KEY.c.verifier_key)
    .join(RECORD, RECORD.c.id == LOG_KEY.c.record_id)
    .order_by(RECORD.c.recorded_at_us)
)
_OLDEST = (
    select(RECORD.c.recorded_at_us)
    .join(OUTBOX, OUTBOX.c.record_id == RECORD.c.id)
    .order_by(OUTBOX.c.record_id)
    .limit(1)
)
_WAITING = select(func.count()).select_from(OUTBOX)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A record and its place; `index` is None while it waits for one."""

    index: int | None
    record_id: str
    kind: str
    recorded_at: datetime
    content: bytes
    leaf_hash: bytes

    @property
    def digest(self) -> str:
        return f"sha256:{self.leaf_hash.hex()}"


@dataclass(frozen=True, slots=True)
class LogFilter:
    """What a list of entries is narrowed to; None lets everything through."""

    kind: str | None = None
    since: datetime | None = None
    """Included."""
    until: datetime | None = None
    """Excluded."""
    after: int | None = None
    """Only entries behind this index."""


@dataclass(frozen=True, slots=True)
class LogPage:
    """In the order of the log."""

    entries: tuple[LogEntry, ...]
    next_cursor: str | None
    """None on the last page; more may be behind it later: go on with `after`."""


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    sequence: int
    size: int
    root: bytes
    note: str


@dataclass(frozen=True, slots=True)
class InclusionProof:
    entry: LogEntry
    size: int
    root: bytes
    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    first: int
    second: int
    first_root: bytes
    second_root: bytes
    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class LogStatus:
    size: int
    waiting: int
    """Records that have no place in the log yet."""
    delay: timedelta
    """For how long the oldest of them has waited."""


class BeyondLogError(ValueError):
    """An index or size that the log has not reached. `size` is what it has."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the log has {size} entries")
        self.size = size


class LogBook:
    """The log, for whoever reads it. Every call sees one consistent state of it."""

    def __init__(self, database: Database, secret: InstanceSecret) -> None:
        self._database = database
        self._secret = secret
        self._cursors = Cursors(secret)

    def key(self) -> VerifierKey | None:
        """What checkpoints are signed with now; None before the log was opened."""
        keys = self.keys()
        return keys[-1] if keys else None

    def keys(self) -> tuple[VerifierKey, ...]:
        """Every key that ever signed, in the order they came into use."""
        return self._database.read(keys_of)

    def checkpoint(self) -> StoredCheckpoint | None:
        """The latest; None while nothing has been sequenced."""
        return self._database.read(latest_checkpoint)

    def status(self) -> LogStatus:
        return self._database.read(self._status)

    def entry(self, index: int) -> LogEntry | None:
        """The entry at an index; None beyond the end."""
        query = _LISTED.where(LOG_LEAF.c.leaf_index == index)
        row = self._database.read(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else _entry(row)

    def record(self, record_id: str) -> LogEntry | None:
        """A record by its id, in the log or still waiting; None for an unknown id."""
        return self._database.read(lambda connection: _find(connection, record_id))

    def list(self, wanted: LogFilter, limit: int = 50, cursor: str | None = None) -> LogPage:
        """A page of entries. CursorError when the cursor is not of this list."""
        of = f"log {wanted!r}"
        after = wanted.after
        if cursor is not None:
            _, last = self._cursors.read(cursor, of)
            if not last.isdecimal():
                raise CursorError
            after = int(last)
        query = _narrowed(wanted, after).limit(limit + 1)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        entries = tuple(_entry(row) for row in rows[:limit])
        if len(rows) <= limit:
            return LogPage(entries, None)
        end = entries[-1]
        return LogPage(entries, self._cursors.after(end.recorded_at, str(end.index), of))

    def last(self, number: int, kind: str | None = None) -> tuple[LogEntry, ...]:
        """The last entries, in the order of the log."""
        query = _LISTED.order_by(LOG_LEAF.c.leaf_index.desc()).limit(number)
        if kind is not None:
            query = query.where(RECORD.c.kind == kind)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return tuple(_entry(row) for row in reversed(rows))

    def inclusion(
        self, *, record_id: str | None = None, index: int | None = None, size: int | None = None
    ) -> InclusionProof | None:
        """That a record (by id or index) is in the log of `size` entries, the latest if None.

        None for an unknown record. BeyondLogError for one that is not in the log of that size.
        """

        def prove(connection: Connection) -> InclusionProof | None:
            reached: int = connection.execute(_SIZE).scalar_one()
            at = _within(size, reached)
            if record_id is not None:
                entry = _find(connection, record_id)
            else:
                query = _LISTED.where(LOG_LEAF.c.leaf_index == index)
                row = connection.execute(query).one_or_none()
                entry = None if row is None else _entry(row)
            if entry is None:
                if index is not None:
                    raise BeyondLogError(reached)
                return None
            if entry.index is None or entry.index >= at:
                raise BeyondLogError(at)
            nodes = StoredNodes(connection)
            hashes = inclusion_proof(entry.index, at, nodes)
            return InclusionProof(entry, at, root(at, nodes), tuple(hashes))

        return self._database.read(prove)

    def consistency(self, first: int, second: int | None = None) -> ConsistencyProof:
        """That the log of `first` entries is a prefix of that of `second`, the latest if None.
        BeyondLogError."""

        def prove(connection: Connection) -> ConsistencyProof:
            reached: int = connection.execute(_SIZE).scalar_one()
            end = _within(second, reached)
            if first > end:
                raise BeyondLogError(end)
            nodes = StoredNodes(connection)
            hashes = consistency_proof(first, end, nodes)
            return ConsistencyProof(first, end, root(first, nodes), root(end, nodes), tuple(hashes))

        return self._database.read(prove)

    def _status(self, connection: Connection) -> LogStatus:
        waiting: int = connection.execute(_WAITING).scalar_one()
        oldest = connection.execute(_OLDEST).scalar_one_or_none() if waiting else None
        delay = timedelta(0)
        if oldest is not None:
            delay = max(delay, self._database.now(connection) - oldest)
        return LogStatus(connection.execute(_SIZE).scalar_one(), waiting, delay)


def keys_of(connection: Connection) -> tuple[VerifierKey, ...]:
    """The log's keys as they are stored, the newest last."""
    return tuple(VerifierKey.parse(each) for each in connection.execute(_KEYS).scalars())


def size_of(connection: Connection) -> int:
    """How many entries the log has."""
    size: int = connection.execute(_SIZE).scalar_one()
    return size


def latest_checkpoint(connection: Connection) -> StoredCheckpoint | None:
    row = connection.execute(_LATEST).one_or_none()
    return None if row is None else StoredCheckpoint(row.sequence, row.size, row.root, row.note)


def _find(connection: Connection, record_id: str) -> LogEntry | None:
    row = connection.execute(_ENTRY.where(RECORD.c.id == record_id)).one_or_none()
    return None if row is None else _entry(row)


def _narrowed(wanted: LogFilter, after: int | None) -> Any:
    query = _LISTED.order_by(LOG_LEAF.c.leaf_index)
    if wanted.kind is not None:
        query = query.where(RECORD.c.kind == wanted.kind)
    if wanted.since is not None:
        query = query.where(RECORD.c.recorded_at_us >= wanted.since)
    if wanted.until is not None:
        query = query.where(RECORD.c.recorded_at_us < wanted.until)
    if after is not None:
        query = query.where(LOG_LEAF.c.leaf_index > after)
    return query


def _within(size: int | None, reached: int) -> int:
    if size is None:
        return reached
    if size > reached:
        raise BeyondLogError(reached)
    return size


def _entry(row: Row[Any]) -> LogEntry:
    return LogEntry(
        row.leaf_index, row.id, row.kind, row.recorded_at_us, row.content, row.leaf_hash
    )
