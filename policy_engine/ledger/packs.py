"""Pack revisions: their bytes, kept for ever, and which one is active.

The active revision is the last activation; activations are only ever added.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from policy_engine.ledger.building import build, keep_only
from policy_engine.ledger.counting import CounterClass
from policy_engine.ledger.database import Database
from policy_engine.ledger.errors import TamperedError, UnknownRevisionError
from policy_engine.ledger.events import record_event
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.ledger.shapes import Activation, StoredRevision
from policy_engine.ledger.tables import ACTIVATION, PACK_REVISION

_ACTIVE = select(ACTIVATION).order_by(ACTIVATION.c.sequence.desc()).limit(1)
ACTIVATION_LOCK = 0x706F6C69
"""Held alone by activations, so that their sequence is the order in which they became visible;
shared by grants, so that none is made under a pack that another one has just replaced."""
_TURN = select(func.pg_advisory_xact_lock(ACTIVATION_LOCK))
_STEP_SECONDS = 0.1
"""How long grants wait at a time while counters are built for a pack that is to become active."""


class PackStore:
    """The packs on record."""

    def __init__(self, database: Database, secret: InstanceSecret) -> None:
        self._database = database
        self._secret = secret

    def store(self, revision: str, archive: bytes) -> bool:
        """Keeps the bytes of a revision; False if they were there already."""
        return self._database.write(lambda connection: self._store(connection, revision, archive))

    def archive(self, revision: str) -> bytes:
        """The bytes of a stored revision; UnknownRevisionError if there are none."""
        query = select(PACK_REVISION.c.archive).where(PACK_REVISION.c.revision == revision)
        found: bytes | None = self._database.read(
            lambda connection: connection.execute(query).scalar_one_or_none()
        )
        if found is None:
            raise _unknown(revision)
        return found

    def build(self, revision: str, counts: Iterable[CounterClass]) -> None:
        """Builds the counters that a revision's caps need, while grants go on.

        `counts` is what its caps count. What was built is kept if this is cut short.
        """
        classes = tuple(counts)
        while not self._database.write(lambda each: self._build(each, revision, classes)):
            pass

    def activate(self, revision: str, by: str, counts: Iterable[CounterClass] = ()) -> Activation:
        """Makes a stored revision the active one, and records it. Every node follows.

        `counts` is what its caps count: counters that are not kept yet are built first.
        Activating the active one again changes and records nothing.
        """
        classes = tuple(counts)
        while True:
            self.build(revision, classes)
            activation = self._database.write(
                lambda each: self._activate(each, revision, by, classes)
            )
            if activation is not None:
                return activation

    def active(self) -> Activation | None:
        """The active revision; None before the first activation. Cheap enough for polling."""
        return self._database.read(_active)

    def revisions(self) -> tuple[StoredRevision, ...]:
        """All stored revisions, the newest first."""
        return self._database.read(_revisions)

    def _store(self, connection: Connection, revision: str, archive: bytes) -> bool:
        _take_turn(connection)
        query = select(PACK_REVISION.c.archive).where(PACK_REVISION.c.revision == revision)
        stored = connection.execute(query).scalar_one_or_none()
        if stored is None:
            now = self._database.now(connection)
            connection.execute(
                insert(PACK_REVISION),
                {"revision": revision, "archive": archive, "stored_at_us": now},
            )
            return True
        if stored != archive:
            raise TamperedError(f"other bytes are stored for the revision `{revision}`")
        return False

    def _build(
        self, connection: Connection, revision: str, classes: tuple[CounterClass, ...]
    ) -> bool:
        _take_turn(connection)
        active = _active(connection)
        if active is not None and active.revision == revision:
            # Grants are decided by these counters now: either all of them are right, or none.
            return build(connection, classes)
        return build(connection, classes, _STEP_SECONDS)

    def _activate(
        self, connection: Connection, revision: str, by: str, classes: tuple[CounterClass, ...]
    ) -> Activation | None:
        """None where counters are missing again, since another activation came in between."""
        _take_turn(connection)
        query = select(PACK_REVISION.c.revision).where(PACK_REVISION.c.revision == revision)
        if connection.execute(query).one_or_none() is None:
            raise _unknown(revision)
        if not build(connection, classes, _STEP_SECONDS):
            return None
        keep_only(connection, classes)
        before = _active(connection)
        if before is not None and before.revision == revision:
            return before
        now = self._database.now(connection)
        previous = None if before is None else before.revision
        fields = {"revision": revision, "previous": previous}
        activation = {
            "record_id": record_event(connection, self._secret, "activation", now, by, fields),
            "revision": revision,
            "activated_by": by,
            "activated_at_us": now,
        }
        returned = insert(ACTIVATION).returning(ACTIVATION)
        return _activation(connection.execute(returned, activation).one())


def _active(connection: Connection) -> Activation | None:
    row = connection.execute(_ACTIVE).one_or_none()
    return None if row is None else _activation(row)


def _activation(row: Row[Any]) -> Activation:
    return Activation(row.sequence, row.revision, row.activated_at_us, row.activated_by)


def _revisions(connection: Connection) -> tuple[StoredRevision, ...]:
    last = (
        select(
            ACTIVATION.c.revision,
            func.max(ACTIVATION.c.activated_at_us).label("activated_at"),
            func.max(ACTIVATION.c.sequence).label("sequence"),
        )
        .group_by(ACTIVATION.c.revision)
        .subquery()
    )
    query = (
        select(
            PACK_REVISION.c.revision,
            PACK_REVISION.c.stored_at_us,
            last.c.activated_at,
            last.c.sequence,
        )
        .outerjoin(last, last.c.revision == PACK_REVISION.c.revision)
        .order_by(PACK_REVISION.c.stored_at_us.desc(), PACK_REVISION.c.revision)
    )
    active = _active(connection)
    newest = None if active is None else active.sequence
    return tuple(
        StoredRevision(
            row.revision,
            row.stored_at_us,
            row.activated_at,
            row.sequence is not None and row.sequence == newest,
        )
        for row in connection.execute(query)
    )


def _take_turn(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(_TURN)


def _unknown(revision: str) -> UnknownRevisionError:
    return UnknownRevisionError(f"no pack of the revision `{revision}` is stored")
