"""What happened, in the order it did: decisions and grants with all their entries.

For exports, reports, the journal and statements. Everything is read a page at a time, so memory
does not grow with the ledger.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, exists, select, tuple_

from policy_engine.core.grants import Entry
from policy_engine.ledger.database import Database
from policy_engine.ledger.events import record_event
from policy_engine.ledger.grant_shapes import Grant
from policy_engine.ledger.grant_tables import GRANT, GRANT_ENTRY, GRANT_REMEDY
from policy_engine.ledger.grants import entry_of, grant_of
from policy_engine.ledger.names import CUSTOMER
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.ledger.tables import DECISION, LOG_LEAF, RECORD

_PAGE = 200


@dataclass(frozen=True, slots=True)
class Place:
    """A record, and where it is in the log; `index` is None while it waits for its place."""

    record_id: str
    recorded_at: datetime
    digest: str
    index: int | None


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    place: Place
    client: str
    order_id: str
    customer: str
    """A pseudonym."""
    grantable: bool
    expires_at: datetime | None
    content: bytes
    """The record: canonical JSON."""


@dataclass(frozen=True, slots=True)
class RecordedEntry:
    """One entry of a grant, who made it, and the record that proves it."""

    entry: Entry
    actor: str | None
    """None where time alone brought it."""
    place: Place
    content: bytes
    """The record of the move: canonical JSON. Entries made at once share one."""


@dataclass(frozen=True, slots=True)
class RecordedGrant:
    """A grant, its entries so far, in order, and the decision that it takes an offer of."""

    grant: Grant
    entries: tuple[RecordedEntry, ...]
    decision: RecordedDecision


_DECISION = (
    select(
        DECISION.c.id,
        DECISION.c.decided_at_us,
        DECISION.c.client,
        DECISION.c.order_id,
        DECISION.c.customer,
        DECISION.c.grantable,
        DECISION.c.expires_at_us,
        RECORD.c.recorded_at_us,
        RECORD.c.content,
        RECORD.c.leaf_hash,
        LOG_LEAF.c.leaf_index,
    )
    .join(RECORD, RECORD.c.id == DECISION.c.id)
    .outerjoin(LOG_LEAF, LOG_LEAF.c.record_id == DECISION.c.id)
)
_ENTRY = (
    select(
        GRANT_ENTRY,
        RECORD.c.recorded_at_us,
        RECORD.c.content,
        RECORD.c.leaf_hash,
        LOG_LEAF.c.leaf_index,
    )
    .join(RECORD, RECORD.c.id == GRANT_ENTRY.c.record_id)
    .outerjoin(LOG_LEAF, LOG_LEAF.c.record_id == GRANT_ENTRY.c.record_id)
    .order_by(GRANT_ENTRY.c.grant_id, GRANT_ENTRY.c.position)
)
_REMEDY = select(GRANT_REMEDY).order_by(GRANT_REMEDY.c.grant_id, GRANT_REMEDY.c.position)


class History:
    """The ledger as it came about."""

    def __init__(self, database: Database, secret: InstanceSecret) -> None:
        self._database = database
        self._secret = secret

    def customer(self, customer_id: str) -> str:
        """The pseudonym that a customer goes by."""
        return self._secret.pseudonym(CUSTOMER, customer_id)

    def note(self, kind: str, by: str, fields: Mapping[str, object]) -> str:
        """Records that somebody looked (an export, a statement); returns the record's id."""
        return self._database.write(
            lambda connection: record_event(
                connection, self._secret, kind, self._database.now(connection), by, fields
            )
        )

    def decisions(
        self, since: datetime, until: datetime, *, below: int | None = None
    ) -> Iterator[RecordedDecision]:
        """Decisions made in [since, until), in that order.

        `below`: only those whose place in the log is before this index.
        """
        query = _DECISION.where(DECISION.c.decided_at_us >= since, DECISION.c.decided_at_us < until)
        if below is not None:
            query = query.where(LOG_LEAF.c.leaf_index < below)
        for row in self._pages(query, DECISION.c.decided_at_us, DECISION.c.id):
            yield _decision(row)

    def grants(
        self,
        until: datetime,
        *,
        since: datetime | None = None,
        customer: str | None = None,
        below: int | None = None,
    ) -> Iterator[RecordedGrant]:
        """Grants with all their entries before `until`, in the order they were granted.

        `since`: only grants with an entry at that instant or later. `customer`: a pseudonym.
        `below`: entries only up to the first whose place in the log is not before this index.
        """
        query = select(GRANT).where(GRANT.c.granted_at_us < until)
        if since is not None:
            mine = GRANT_ENTRY.c.grant_id == GRANT.c.id
            query = query.where(exists().where(mine, GRANT_ENTRY.c.at_us >= since))
        if customer is not None:
            query = query.where(GRANT.c.customer == customer)
        pages = self._paged(query, GRANT.c.granted_at_us, GRANT.c.id)
        for rows in pages:
            for grant in self._whole(rows, until):
                kept = _below(grant.entries, below)
                if kept:
                    yield replace(grant, entries=kept)

    def _whole(self, rows: Sequence[Row[Any]], until: datetime) -> Iterator[RecordedGrant]:
        ids = [row.id for row in rows]

        def read(connection: Connection) -> tuple[Any, Any, Any]:
            return (
                connection.execute(_REMEDY.where(GRANT_REMEDY.c.grant_id.in_(ids))).all(),
                connection.execute(
                    _ENTRY.where(GRANT_ENTRY.c.grant_id.in_(ids), GRANT_ENTRY.c.at_us < until)
                ).all(),
                connection.execute(
                    _DECISION.where(DECISION.c.id.in_([row.decision_id for row in rows]))
                ).all(),
            )

        remedies, entries, decisions = self._database.read(read)
        by_id = {row.id: _decision(row) for row in decisions}
        remedies_of, entries_of = _by_grant(remedies), _by_grant(entries)
        for row in rows:
            yield RecordedGrant(
                grant_of(row, remedies_of[row.id]),
                tuple(_entry(each) for each in entries_of[row.id]),
                by_id[row.decision_id],
            )

    def _pages(self, query: Select[Any], at: Any, entry_id: Any) -> Iterator[Row[Any]]:
        for rows in self._paged(query, at, entry_id):
            yield from rows

    def _paged(self, query: Select[Any], at: Any, entry_id: Any) -> Iterator[Sequence[Row[Any]]]:
        ordered = query.order_by(at, entry_id).limit(_PAGE)
        page = ordered
        while rows := self._read(page):
            yield rows
            if len(rows) < _PAGE:
                return
            last = rows[-1]
            page = ordered.where(tuple_(at, entry_id) > (getattr(last, at.name), last.id))

    def _read(self, query: Select[Any]) -> Sequence[Row[Any]]:
        return self._database.read(lambda connection: connection.execute(query).all())


def _by_grant(rows: Sequence[Row[Any]]) -> Mapping[str, list[Row[Any]]]:
    found: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        found[row.grant_id].append(row)
    return found


def _below(entries: tuple[RecordedEntry, ...], below: int | None) -> tuple[RecordedEntry, ...]:
    if below is None:
        return entries
    for position, each in enumerate(entries):
        if each.place.index is None or each.place.index >= below:
            return entries[:position]
    return entries


def _decision(row: Row[Any]) -> RecordedDecision:
    return RecordedDecision(
        place=Place(row.id, row.recorded_at_us, f"sha256:{row.leaf_hash.hex()}", row.leaf_index),
        client=row.client,
        order_id=row.order_id,
        customer=row.customer,
        grantable=row.grantable,
        expires_at=row.expires_at_us,
        content=row.content,
    )


def _entry(row: Row[Any]) -> RecordedEntry:
    digest = f"sha256:{row.leaf_hash.hex()}"
    place = Place(row.record_id, row.recorded_at_us, digest, row.leaf_index)
    return RecordedEntry(entry_of(row), row.actor, place, row.content)
