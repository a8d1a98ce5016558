"""Reading decisions: one by its id, and lists with a cursor, newest first."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, exists, select, tuple_

from policy_engine.core.request import Agent
from policy_engine.ledger.cursors import Cursors
from policy_engine.ledger.database import Database
from policy_engine.ledger.errors import TamperedError
from policy_engine.ledger.names import (
    CUSTOMER,
    POLICY,
    REFERENCE,
    answer_context,
    personal_context,
)
from policy_engine.ledger.prepared import Prepared
from policy_engine.ledger.sealing import Sealer, key_id_of
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.ledger.shapes import DecisionFilter, DecisionPage, Sealed, StoredDecision
from policy_engine.ledger.subjects import SubjectKeys
from policy_engine.ledger.tables import DECISION, DECISION_REFERENCE, RECORD, SUBJECT

_STORED = select(
    DECISION, RECORD.c.content, RECORD.c.leaf_hash, SUBJECT.c.key_id, SUBJECT.c.key_sealed
).select_from(
    DECISION.join(RECORD, RECORD.c.id == DECISION.c.id).outerjoin(
        SUBJECT, SUBJECT.c.subject == DECISION.c.customer
    )
)


_BY_ID = Prepared(_STORED.where(DECISION.c.id == bindparam("id", type_=DECISION.c.id.type)))


class DecisionBook:
    """The decisions on record."""

    def __init__(self, database: Database, secret: InstanceSecret, sealer: Sealer) -> None:
        self._database = database
        self._secret = secret
        self._sealer = sealer
        self._cursors = Cursors(secret)

    def get(self, decision_id: str, client: str | None = None) -> StoredDecision | None:
        """One decision; with `client`, None for another client's as for an unknown id."""
        return self._database.read(lambda connection: self.find(connection, decision_id, client))

    def find(
        self, connection: Connection, decision_id: str, client: str | None = None
    ) -> StoredDecision | None:
        """As `get`, on a connection that is already there."""
        for row in _BY_ID.typed(connection, {"id": decision_id}):
            if client is None or row.client == client:
                return self._stored(row)
        return None

    def list(
        self, wanted: DecisionFilter, limit: int = 50, cursor: str | None = None
    ) -> DecisionPage:
        """A page of decisions, newest first. CursorError when the cursor is not of this list."""
        of = repr(wanted)
        query = self._narrowed(wanted).limit(limit + 1)
        position = (DECISION.c.decided_at_us, DECISION.c.id)
        if cursor is not None:
            query = query.where(tuple_(*position) < self._cursors.read(cursor, of))
        query = query.order_by(*(column.desc() for column in position))
        rows = self._database.read(lambda connection: connection.execute(query).all())
        decisions = tuple(self._stored(row) for row in rows[:limit])
        if len(rows) <= limit:
            return DecisionPage(decisions, None)
        last = decisions[-1]
        return DecisionPage(decisions, self._cursors.after(last.decided_at, last.id, of))

    def open_personal(self, record_id: str, part: Sealed) -> bytes | None:
        """The personal part of a record; None once its subject has been erased."""
        try:
            sealed = base64.b64decode(part.sealed, validate=True)
        except (binascii.Error, ValueError) as error:
            raise TamperedError("the sealed bytes of a personal part were changed") from error
        return self._database.read(
            lambda connection: SubjectKeys(connection, self._sealer).open(
                personal_context(record_id), sealed
            )
        )

    def customer(self, customer_id: str) -> str:
        """The pseudonym that a customer goes by in records."""
        return self._secret.pseudonym(CUSTOMER, customer_id)

    def _narrowed(self, wanted: DecisionFilter) -> Select[Any]:
        equal = {
            DECISION.c.client: wanted.client,
            DECISION.c.order_id: wanted.order_id,
            DECISION.c.agent_id: wanted.agent_id,
            DECISION.c.outcome: wanted.outcome,
        }
        query = _STORED.where(
            *(column == value for column, value in equal.items() if value is not None)
        )
        if wanted.customer_id is not None:
            query = query.where(DECISION.c.customer == self.customer(wanted.customer_id))
        if wanted.policy is not None:
            query = query.where(_referred(POLICY, wanted.policy))
        if wanted.reference is not None:
            pseudonym = self._secret.pseudonym(REFERENCE, wanted.reference)
            query = query.where(_referred(REFERENCE, pseudonym))
        if wanted.since is not None:
            query = query.where(DECISION.c.decided_at_us >= wanted.since)
        if wanted.until is not None:
            query = query.where(DECISION.c.decided_at_us < wanted.until)
        return query

    def _stored(self, row: Any) -> StoredDecision:
        return StoredDecision(
            id=row.id,
            decided_at=row.decided_at_us,
            client=row.client,
            order_id=row.order_id,
            customer=row.customer,
            agent=Agent(row.agent_id, row.role),
            outcome=row.outcome,
            pack_revision=row.pack_revision,
            grantable=row.grantable,
            expires_at=row.expires_at_us,
            record=row.content,
            digest=f"sha256:{row.leaf_hash.hex()}",
            answer=self._answer(row),
        )

    def _answer(self, row: Any) -> bytes | None:
        # After an erasure the customer may come back and get another key.
        if row.key_id is None or row.key_id != key_id_of(row.answer_sealed):
            return None
        key = self._sealer.stored_key(row.customer, row.key_id, row.key_sealed)
        return key.open(answer_context(row.id), row.answer_sealed)


def _referred(kind: str, value: str) -> Any:
    return exists().where(
        and_(
            DECISION_REFERENCE.c.kind == kind,
            DECISION_REFERENCE.c.value == value,
            DECISION_REFERENCE.c.decision_id == DECISION.c.id,
        )
    )
