"""The subjects' keys as they are stored: looked up, or made for a customer not seen before."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from policy_engine.ledger.prepared import Prepared
from policy_engine.ledger.sealing import Sealer, SubjectKey, key_id_of
from policy_engine.ledger.tables import SUBJECT
from policy_engine.ledger.writing import Row

_BY_SUBJECT = Prepared(
    select(SUBJECT.c.key_id, SUBJECT.c.key_sealed).where(SUBJECT.c.subject == bindparam("subject"))
)
_BY_KEY = Prepared(
    select(SUBJECT.c.subject, SUBJECT.c.key_sealed).where(
        SUBJECT.c.key_id == bindparam("key_id", type_=SUBJECT.c.key_id.type)
    )
)


class SubjectKeys:
    """The keys that one transaction uses. New ones are written with what they seal."""

    def __init__(self, connection: Connection, sealer: Sealer) -> None:
        self._connection = connection
        self._sealer = sealer
        self._known: dict[str, SubjectKey] = {}

    def of(self, subject: str) -> SubjectKey:
        """The subject's key; a new one if there is none (again)."""
        key = self._known.get(subject)
        if key is None:
            key = self._known[subject] = self._stored(subject) or self._sealer.new_key(subject)
        return key

    def open(self, context: str, sealed: bytes) -> bytes | None:
        """The plain bytes; None when the key was destroyed: the subject is erased."""
        key_id = key_id_of(sealed)
        known = next((key for key in self._known.values() if key.key_id == key_id), None)
        if known is not None:
            return known.open(context, sealed)
        for subject, key_sealed in _BY_KEY.run(self._connection, {"key_id": key_id}):
            key = self._sealer.stored_key(subject, key_id, key_sealed)
            # The only key of its subject: whatever is sealed for that one goes under it as well.
            self._known[subject] = key
            return key.open(context, sealed)
        return None

    def new_rows(self, now: datetime) -> list[Row]:
        return [
            (
                SUBJECT,
                {
                    "subject": key.subject,
                    "key_id": key.key_id,
                    "key_sealed": key.sealed,
                    "created_at_us": now,
                },
            )
            for key in self._known.values()
            if key.new
        ]

    def _stored(self, subject: str) -> SubjectKey | None:
        for key_id, key_sealed in _BY_SUBJECT.run(self._connection, {"subject": subject}):
            return self._sealer.stored_key(subject, key_id, key_sealed)
        return None
