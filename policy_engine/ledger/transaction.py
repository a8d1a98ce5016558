"""What a piece of work sees inside the ledger's transaction: time, usage, and what it may add."""

from __future__ import annotations

import base64
from datetime import datetime

from sqlalchemy import Connection

from policy_engine.core.ports import Usage, UsagePort, UsageQuestion
from policy_engine.ledger.sealing import Sealer
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.ledger.shapes import DecisionWrite, Sealed
from policy_engine.ledger.subjects import SubjectKeys
from policy_engine.ledger.tables import DECISION, DECISION_REFERENCE
from policy_engine.ledger.writing import Row, record_rows

CUSTOMER = "customer"
REFERENCE = "reference"
POLICY = "policy"


class NothingGranted:
    """The usage of a ledger without grants: every counter is at zero.

    The tables of grants and their counters take this place; whoever reads usage asks a
    `Snapshot`, inside the transaction that decides.
    """

    def read(self, question: UsageQuestion) -> Usage:  # noqa: ARG002 -- the port's signature
        return Usage()


class Snapshot:
    """One consistent view of the ledger."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        """Ledger time: the database's clock."""
        self.usage: UsagePort = NothingGranted()


class Transaction(Snapshot):
    """Collects what is to be written; the ledger writes it all at once before the commit."""

    def __init__(
        self, connection: Connection, now: datetime, secret: InstanceSecret, sealer: Sealer
    ) -> None:
        super().__init__(now)
        self._secret = secret
        self._keys = SubjectKeys(connection, sealer)
        self._decisions: list[DecisionWrite] = []

    def seal(self, customer_id: str, record_id: str, personal: bytes) -> Sealed:
        """Seals the personal part of a record under the customer's key, before it is hashed."""
        subject = self._secret.pseudonym(CUSTOMER, customer_id)
        sealed = self._keys.of(subject).seal(personal_context(record_id), personal)
        return Sealed(subject, base64.b64encode(sealed).decode())

    def add_decision(self, write: DecisionWrite) -> None:
        """Records a decision, its place in the log's queue, and what it is found by."""
        self._decisions.append(write)

    @property
    def answers(self) -> list[tuple[str, bytes]]:
        """(id, answer) of the decisions added so far."""
        return [(write.id, write.answer) for write in self._decisions]

    def rows(self) -> list[Row]:
        """All that is to be written, referenced tables first."""
        decided = [self._decision(write) for write in self._decisions]
        recorded = [
            row
            for write in self._decisions
            for row in record_rows(write.id, "decision", self.now, write.record)
        ]
        found_by = [row for write in self._decisions for row in self._found_by(write)]
        new_subjects = self._keys.new_rows(self.now) if decided else []
        return [*new_subjects, *_by_table(recorded), *decided, *found_by]

    def _decision(self, write: DecisionWrite) -> Row:
        subject = self._secret.pseudonym(CUSTOMER, write.customer_id)
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

    def _found_by(self, write: DecisionWrite) -> list[Row]:
        pairs = {(POLICY, policy) for policy in write.policies}
        pairs |= {(REFERENCE, self._secret.pseudonym(REFERENCE, each)) for each in write.references}
        return [
            (DECISION_REFERENCE, {"kind": kind, "value": value, "decision_id": write.id})
            for kind, value in sorted(pairs)
        ]


def personal_context(record_id: str) -> str:
    """What the personal part of a record is bound to."""
    return f"personal:{record_id}"


def answer_context(decision_id: str) -> str:
    """What the stored answer of a decision is bound to."""
    return f"answer:{decision_id}"


def _by_table(rows: list[Row]) -> list[Row]:
    # Stable: the records, then their places in the queue.
    return sorted(rows, key=lambda row: row[0].name, reverse=True)
