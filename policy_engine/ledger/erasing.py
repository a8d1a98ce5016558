"""Erasing a customer: the key that everything about them is sealed under is destroyed.

What was sealed stays where it is and can't be read any more, so hashes, totals and proofs stay
as they are. The erasure itself is a record; it names a pseudonym and the key's id, nobody else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, select

from policy_engine.ledger.database import Database
from policy_engine.ledger.events import record_event
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.ledger.tables import DECISION, SUBJECT
from policy_engine.ledger.transaction import CUSTOMER


@dataclass(frozen=True, slots=True)
class Erasure:
    subject: str
    """The customer's pseudonym, which stays."""
    record_id: str
    erased_at: datetime
    decisions: int
    """How many decisions on record are about the customer; their answers are gone."""


class Subjects:
    """The customers that keys are kept of."""

    def __init__(self, database: Database, secret: InstanceSecret) -> None:
        self._database = database
        self._secret = secret

    def erase(self, customer_id: str, by: str) -> Erasure | None:
        """Destroys the customer's key, for good; None when there is none (any more)."""
        subject = self._secret.pseudonym(CUSTOMER, customer_id)
        erasure = self._database.write(lambda connection: self._erase(connection, subject, by))
        if erasure is not None:
            self._database.forget()
        return erasure

    def _erase(self, connection: Connection, subject: str, by: str) -> Erasure | None:
        mine = SUBJECT.c.subject == subject
        query = select(SUBJECT.c.key_id).where(mine)
        key_id = connection.execute(query).scalar_one_or_none()
        if key_id is None:
            return None
        now = self._database.now(connection)
        connection.execute(delete(SUBJECT).where(mine))
        fields = {"subject": subject, "key": key_id.hex()}
        record_id = record_event(connection, self._secret, "erasure", now, by, fields)
        count = select(func.count()).select_from(DECISION).where(DECISION.c.customer == subject)
        return Erasure(subject, record_id, now, connection.execute(count).scalar_one())
