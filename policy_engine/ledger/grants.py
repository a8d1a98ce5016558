"""Reading grants: one by its id, and lists with a cursor, oldest first."""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, exists, or_, select, tuple_

from policy_engine.core.decision import Share
from policy_engine.core.grants import Entry, GrantRemedy, GrantStatus, Movement, fold
from policy_engine.core.policy import RemedyKind
from policy_engine.core.request import Agent
from policy_engine.ledger.cursors import Cursors
from policy_engine.ledger.database import Database
from policy_engine.ledger.decisions import DecisionBook
from policy_engine.ledger.grant_shapes import (
    Grant,
    GrantFilter,
    GrantPage,
    GrantView,
    Happened,
    StoredGrant,
    WaitingGrant,
)
from policy_engine.ledger.grant_tables import (
    GRANT,
    GRANT_ENTRY,
    GRANT_REFERENCE,
    GRANT_REMEDY,
    GRANT_STATE,
    KEPT_ANSWER,
)
from policy_engine.ledger.names import (
    CUSTOMER,
    EXTERNAL_REFERENCE,
    answer_context,
    personal_context,
)
from policy_engine.ledger.sealing import Sealer, key_id_of
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.ledger.subjects import SubjectKeys
from policy_engine.ledger.tables import RECORD, SUBJECT

_MICROSECOND = timedelta(microseconds=1)
_WAITING = (GrantStatus.PENDING.value, GrantStatus.PARTLY_PENDING.value)


class GrantBook:
    """The grants on record."""

    def __init__(
        self,
        database: Database,
        secret: InstanceSecret,
        sealer: Sealer,
        decisions: DecisionBook,
    ) -> None:
        self._database = database
        self._secret = secret
        self._sealer = sealer
        self._decisions = decisions
        self._cursors = Cursors(secret)

    def get(self, grant_id: str, view: GrantView) -> StoredGrant | None:
        """One grant; None for one that the caller may not see as for an unknown id."""
        return self._database.read(lambda connection: self.find(connection, grant_id, view))

    def find(self, connection: Connection, grant_id: str, view: GrantView) -> StoredGrant | None:
        """As `get`, on a connection that is already there."""
        row = connection.execute(select(GRANT).where(GRANT.c.id == grant_id)).one_or_none()
        if row is None:
            return None
        found = self._stored(connection, [row])[0]
        return found if view.shows(found.grant) else None

    def list(
        self, wanted: GrantFilter, view: GrantView, limit: int, cursor: str | None = None
    ) -> GrantPage:
        """A page of grants, oldest first. CursorError when the cursor is not of this list."""
        of = f"grants {wanted!r}"
        position = (GRANT.c.granted_at_us, GRANT.c.id)
        query = self._narrowed(wanted, view).order_by(*position).limit(limit + 1)
        if cursor is not None:
            query = query.where(tuple_(*position) > self._cursors.read(cursor, of))

        def read(connection: Connection) -> tuple[Sequence[Row[Any]], tuple[StoredGrant, ...]]:
            rows = connection.execute(query).all()
            return rows, self._stored(connection, rows[:limit])

        rows, grants = self._database.read(read)
        if len(rows) <= limit:
            return GrantPage(grants, None)
        last = grants[-1].grant
        return GrantPage(grants, self._cursors.after(last.granted_at, last.id, of))

    def due(self, limit: int, since: timedelta = timedelta(0)) -> tuple[str, ...]:
        """Grants with a reserve or a coupon that ran out `since` ago or before that, and nobody
        has written it down; those due longest first."""

        def read(connection: Connection) -> tuple[str, ...]:
            query = (
                select(GRANT_STATE.c.grant_id)
                .where(GRANT_STATE.c.due_at_us <= self._database.now(connection) - since)
                .order_by(GRANT_STATE.c.due_at_us, GRANT_STATE.c.grant_id)
                .limit(limit)
            )
            return tuple(connection.execute(query).scalars())

        return self._database.read(read)

    def answer(self, connection: Connection, record_id: str) -> bytes | None:
        """What was answered with a record of a grant or order; None once it is erased."""
        query = (
            select(KEPT_ANSWER, SUBJECT.c.key_id, SUBJECT.c.key_sealed)
            .outerjoin(SUBJECT, SUBJECT.c.subject == KEPT_ANSWER.c.customer)
            .where(KEPT_ANSWER.c.record_id == record_id)
        )
        row = connection.execute(query).one_or_none()
        if row is None or row.key_id is None or row.key_id != key_id_of(row.answer_sealed):
            return None
        key = self._sealer.stored_key(row.customer, row.key_id, row.key_sealed)
        return key.open(answer_context(record_id), row.answer_sealed)

    def _narrowed(self, wanted: GrantFilter, view: GrantView) -> Select[Any]:
        query = select(GRANT).join(GRANT_STATE, GRANT_STATE.c.grant_id == GRANT.c.id)
        equal = {
            GRANT.c.approver: wanted.approver,
            GRANT.c.order_id: wanted.order_id,
            GRANT.c.agent_id: wanted.agent_id,
        }
        query = query.where(
            *(column == value for column, value in equal.items() if value is not None)
        )
        if wanted.status is GrantStatus.PENDING:
            query = query.where(GRANT_STATE.c.status.in_(_WAITING))
        elif wanted.status is not None:
            query = query.where(GRANT_STATE.c.status == wanted.status.value)
        if wanted.customer_id is not None:
            pseudonym = self._secret.pseudonym(CUSTOMER, wanted.customer_id)
            query = query.where(GRANT.c.customer == pseudonym)
        if wanted.external_ref is not None:
            value = self._secret.pseudonym(EXTERNAL_REFERENCE, wanted.external_ref)
            query = query.where(
                exists().where(
                    GRANT_REFERENCE.c.value == value, GRANT_REFERENCE.c.grant_id == GRANT.c.id
                )
            )
        if view.everything:
            return query
        return query.where(
            or_(GRANT.c.client == view.client, GRANT.c.approver.in_(sorted(view.approves)))
        )

    def _stored(self, connection: Connection, rows: Sequence[Row[Any]]) -> tuple[StoredGrant, ...]:
        ids = [row.id for row in rows]
        remedies = grouped(connection, GRANT_REMEDY, ids)
        entries = grouped(connection, GRANT_ENTRY, ids)
        keys = SubjectKeys(connection, self._sealer)
        found = []
        for row in rows:
            grant = grant_of(row, remedies[row.id])
            records = _records(connection, [grant.id, *(e.record_id for e in entries[row.id])])
            decision = self._decisions.find(connection, row.decision_id)
            assert decision is not None
            found.append(
                StoredGrant(
                    grant,
                    fold(
                        grant.remedies,
                        [entry_of(each) for each in entries[row.id]],
                        grant.pending_until,
                    ),
                    tuple(
                        Happened(
                            each.record_id,
                            each.actor,
                            _said(keys, each.record_id, records[each.record_id].content) or {},
                        )
                        for each in entries[row.id]
                    ),
                    decision,
                    _said(keys, decision.id, decision.record),
                    {each.id: f"sha256:{each.leaf_hash.hex()}" for each in records.values()},
                )
            )
        return tuple(found)


def waiting(
    connection: Connection,
    order_id: str | None,
    customer: str | None,
    agent_id: str | None,
    *,
    every: bool,
) -> tuple[WaitingGrant, ...]:
    """Grants with open reserves of an order, a customer (pseudonym) or an agent, or of all."""
    query = (
        select(GRANT)
        .join(GRANT_STATE, GRANT_STATE.c.grant_id == GRANT.c.id)
        .where(GRANT_STATE.c.status.in_(_WAITING))
    )
    if not every:
        query = query.where(
            or_(
                GRANT.c.order_id == order_id,
                GRANT.c.customer == customer,
                GRANT.c.agent_id == agent_id,
            )
        )
    rows = connection.execute(query).all()
    ids = [row.id for row in rows]
    remedies = grouped(connection, GRANT_REMEDY, ids)
    entries = grouped(connection, GRANT_ENTRY, ids)
    found = []
    for row in rows:
        grant = grant_of(row, remedies[row.id])
        state = fold(
            grant.remedies, [entry_of(each) for each in entries[row.id]], grant.pending_until
        )
        found.append(WaitingGrant(grant.holder, grant.remedies, state))
    return tuple(found)


def grant_of(row: Row[Any], remedies: Iterable[Row[Any]]) -> Grant:
    """A row of `grant_` with its rows of `grant_remedy`."""
    return Grant(
        id=row.id,
        decision_id=row.decision_id,
        granted_at=row.granted_at_us,
        client=row.client,
        credential=row.credential,
        owner=row.owner,
        order_id=row.order_id,
        customer=row.customer,
        agent=Agent(row.agent_id, row.role),
        plan=row.plan,
        currency=row.currency,
        approver=row.approver,
        pending_until=row.pending_until_us,
        pack_revision=row.pack_revision,
        remedies=tuple(
            GrantRemedy(
                each.remedy,
                RemedyKind(each.kind),
                each.policy,
                each.source,
                None if each.valid_for_us is None else each.valid_for_us * _MICROSECOND,
            )
            for each in remedies
        ),
    )


def entry_of(row: Any) -> Entry:
    return Entry(
        row.remedy,
        Movement(row.movement),
        row.minor,
        tuple(Share(line, minor) for line, minor in row.shares),
        row.at_us,
        row.counted_at_us,
        row.against,
    )


def grouped(connection: Connection, table: Any, ids: Sequence[str]) -> Mapping[str, list[Row[Any]]]:
    """Rows of some grants by grant, each in their order."""
    found: dict[str, list[Row[Any]]] = defaultdict(list)
    if ids:
        query = select(table).where(table.c.grant_id.in_(ids)).order_by(table.c.position)
        for row in connection.execute(query):
            found[row.grant_id].append(row)
    return found


def _records(connection: Connection, ids: Iterable[str]) -> dict[str, Any]:
    query = select(RECORD.c.id, RECORD.c.content, RECORD.c.leaf_hash)
    rows = connection.execute(query.where(RECORD.c.id.in_(sorted(set(ids)))))
    return {row.id: row for row in rows}


def _said(keys: SubjectKeys, record_id: str, content: bytes) -> dict[str, str] | None:
    """The personal part of a record; None where it is erased, {} where it has none."""
    sealed = json.loads(content).get("sealed")
    if sealed is None:
        return {}
    opened = keys.open(personal_context(record_id), base64.b64decode(sealed["sealed"]))
    if opened is None:
        return None
    said: dict[str, str] = json.loads(opened)
    return said
