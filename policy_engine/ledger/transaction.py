"""What a piece of work sees inside the ledger's transaction: time, usage, and what it may add."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from policy_engine.ledger.database import Database
from policy_engine.ledger.decisions import DecisionBook
from policy_engine.ledger.errors import TamperedError
from policy_engine.ledger.grant_shapes import GrantView, StoredGrant, WaitingGrant
from policy_engine.ledger.grant_tables import KEPT_ANSWER
from policy_engine.ledger.granting import GrantWriting
from policy_engine.ledger.grants import GrantBook, waiting
from policy_engine.ledger.names import (
    CUSTOMER,
    POLICY,
    REFERENCE,
    answer_context,
    personal_context,
)
from policy_engine.ledger.orders import OrderPin, Registration, pin_now, registered
from policy_engine.ledger.sealing import Sealer
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.ledger.shapes import DecisionWrite, Sealed, StoredDecision
from policy_engine.ledger.subjects import SubjectKeys
from policy_engine.ledger.tables import DECISION, DECISION_REFERENCE
from policy_engine.ledger.usage import LedgerUsage
from policy_engine.ledger.writing import Row, record_rows

__all__ = [
    "CUSTOMER",
    "POLICY",
    "REFERENCE",
    "Snapshot",
    "Transaction",
    "answer_context",
    "personal_context",
]


@dataclass(frozen=True, slots=True)
class Books:
    """Where a transaction looks things up."""

    database: Database
    decisions: DecisionBook
    grants: GrantBook


class Snapshot:
    """One consistent view of the ledger."""

    def __init__(
        self, connection: Connection, now: datetime, secret: InstanceSecret, books: Books
    ) -> None:
        self.now = now
        """Ledger time: the database's clock."""
        self._connection = connection
        self._secret = secret
        self._books = books

    def grant(self, grant_id: str, view: GrantView) -> StoredGrant | None:
        """A grant that a caller may see; in a transaction, reliable once it is locked."""
        return self._books.grants.find(self._connection, grant_id, view)

    def usage(self, at: datetime | None = None, pin: OrderPin | None = None) -> LedgerUsage:
        """What has been used in the windows that end at an instant, now if it is None.

        `pin` is that of the order, where it is known already.
        """
        return LedgerUsage(self._connection, self._secret, at or self.now, pin)

    def registered(self, order_id: str) -> Registration | None:
        """The order's latest registration."""
        return registered(self._connection, order_id)

    def pin(self, order_id: str) -> OrderPin | None:
        """What the order is pinned to; None before its registration and its first grant."""
        return pin_now(self._connection, order_id)

    def waiting(
        self, order_id: str | None, customer: str | None, agent_id: str | None, *, every: bool
    ) -> tuple[WaitingGrant, ...]:
        """Grants with open reserves of an order, a customer (pseudonym) or an agent, or of all."""
        return waiting(self._connection, order_id, customer, agent_id, every=every)

    def customer(self, customer_id: str) -> str:
        """The pseudonym that a customer goes by."""
        return self._secret.pseudonym(CUSTOMER, customer_id)


class Transaction(Snapshot):
    """Collects what is to be written; the ledger writes it all at once before the commit."""

    def __init__(
        self,
        connection: Connection,
        now: datetime,
        secret: InstanceSecret,
        sealer: Sealer,
        books: Books,
    ) -> None:
        super().__init__(connection, now, secret, books)
        self._keys = SubjectKeys(connection, sealer)
        self._decisions: list[DecisionWrite] = []
        self._records: list[tuple[str, str, bytes]] = []
        self._answers: list[tuple[str, str, bytes]] = []
        self._repeated: list[tuple[str, bytes]] = []
        self.grants = GrantWriting(connection, secret)
        self.call: str | None = None
        """A hash of the idempotency key that the answer is kept under; None without a key."""

    def look_at_the_clock(self) -> datetime:
        """Ledger time from now on; to be called once everything is locked."""
        self.now = self._books.database.now(self._connection)
        return self.now

    def decision(self, decision_id: str, client: str) -> StoredDecision | None:
        """A decision of a client; None for another client's as for an unknown id."""
        return self._books.decisions.find(self._connection, decision_id, client)

    def seal(self, customer_id: str, record_id: str, personal: bytes) -> Sealed:
        """Seals the personal part of a record under the customer's key, before it is hashed."""
        return self.seal_for(self.customer(customer_id), record_id, personal)

    def seal_for(self, subject: str, record_id: str, personal: bytes) -> Sealed:
        """As `seal`, for a customer who is known by the pseudonym."""
        sealed = self._keys.of(subject).seal(personal_context(record_id), personal)
        return Sealed(subject, base64.b64encode(sealed).decode())

    def open_personal(self, record_id: str, part: Sealed) -> bytes | None:
        """The personal part of a record; None once its subject has been erased."""
        try:
            sealed = base64.b64decode(part.sealed, validate=True)
        except (binascii.Error, ValueError) as error:
            raise TamperedError("the sealed bytes of a personal part were changed") from error
        return self._keys.open(personal_context(record_id), sealed)

    def add_decision(self, write: DecisionWrite) -> None:
        """Records a decision, its place in the log's queue, and what it is found by."""
        self._decisions.append(write)

    def add_record(self, record_id: str, kind: str, content: bytes) -> None:
        """Records something else that happened, and its place in the log's queue."""
        self._records.append((record_id, kind, content))

    def keep_answer(self, record_id: str, subject: str, answer: bytes) -> None:
        """Keeps what is answered with a record of a customer, as long as that one is."""
        self._answers.append((record_id, subject, answer))

    def repeat_answer(self, record_id: str) -> bytes | None:
        """The answer kept with an earlier record, to be given again; None if it is erased."""
        answer = self._books.grants.answer(self._connection, record_id)
        if answer is not None:
            self._repeated.append((record_id, answer))
        return answer

    @property
    def answers(self) -> list[tuple[str, bytes]]:
        """(record id, answer) of what was added so far and is kept with its record."""
        return [
            *((write.id, write.answer) for write in self._decisions),
            *((record_id, answer) for record_id, _, answer in self._answers),
            *self._repeated,
        ]

    def rows(self) -> list[Row]:
        """All that is to be written, referenced tables first."""
        decided = [self._decision(write) for write in self._decisions]
        kept = [self._kept(*each) for each in self._answers]
        recorded = [
            row
            for record_id, kind, content in (
                *((write.id, "decision", write.record) for write in self._decisions),
                *self._records,
            )
            for row in record_rows(record_id, kind, self.now, content)
        ]
        found_by = [row for write in self._decisions for row in self._found_by(write)]
        new_subjects = self._keys.new_rows(self.now) if recorded else []
        return [
            *new_subjects,
            *_by_table(recorded),
            *decided,
            *found_by,
            *kept,
            *self.grants.rows(),
        ]

    def _decision(self, write: DecisionWrite) -> Row:
        subject = self.customer(write.customer_id)
        values = {
            "id": write.id,
            "decided_at_us": self.now,
            "client": write.client,
            "order_id": write.order_id,
            "customer": subject,
            "agent_id": write.agent.id,
            "role": write.agent.role,
            "outcome": write.outcome,
            "pack_revision": write.pack_revision,
            "grantable": write.grantable,
            "expires_at_us": write.expires_at,
            "answer_sealed": self._keys.of(subject).seal(answer_context(write.id), write.answer),
        }
        return DECISION, values

    def _kept(self, record_id: str, subject: str, answer: bytes) -> Row:
        sealed = self._keys.of(subject).seal(answer_context(record_id), answer)
        values = {"record_id": record_id, "customer": subject, "answer_sealed": sealed}
        return KEPT_ANSWER, values

    def _found_by(self, write: DecisionWrite) -> list[Row]:
        pairs = {(POLICY, policy) for policy in write.policies}
        pairs |= {(REFERENCE, self._secret.pseudonym(REFERENCE, each)) for each in write.references}
        return [
            (DECISION_REFERENCE, {"kind": kind, "value": value, "decision_id": write.id})
            for kind, value in sorted(pairs)
        ]


def _by_table(rows: list[Row]) -> list[Row]:
    # Stable: the records, then their places in the queue.
    return sorted(rows, key=lambda row: row[0].name, reverse=True)
