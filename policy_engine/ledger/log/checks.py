"""What the records of decisions say, against the tables that answer for them and against what they
come to when they are evaluated again. Grants and counters bring checks of their own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import orjson
from sqlalchemy import Connection, RowMapping

from policy_engine.ledger.errors import TamperedError
from policy_engine.ledger.log import rows
from policy_engine.ledger.log.findings import CheckedRecord, Finding, Severity
from policy_engine.ledger.log.sealed import Keys, SealedParts, opened, sealed_bytes
from policy_engine.ledger.sealing import key_id_of
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.ledger.transaction import REFERENCE, answer_context, personal_context
from policy_engine.wire.records import leaf_digest

_CHANCE = secrets.SystemRandom()
"""Nobody can tell beforehand which decisions a sample will be."""


class NotReplayableError(Exception):
    """This release can't evaluate the decision again, so nothing is known of it."""


class Replayer(Protocol):
    """Evaluates decisions again."""

    def differs(self, record: Mapping[str, Any], personal: Mapping[str, str] | None) -> str | None:
        """What a decision comes to otherwise than recorded; None when it comes to the same.
        `personal` is None for an erased customer. NotReplayableError."""
        ...


class DecisionCheck:
    """Rows of `decision` and `decision_reference`, sealed parts, and the evaluation itself."""

    def __init__(
        self,
        secret: InstanceSecret,
        replayer: Replayer | None = None,
        sample: int | None = None,
    ) -> None:
        self._secret = secret
        self._sealed_parts = SealedParts(secret)
        self._replayer = replayer
        self._sample = sample
        self._left = 0
        self._began = False
        self._references = 0
        self.counts = {"decisions": 0, "replayed": 0, "erased": 0}

    def batch(self, connection: Connection, records: Sequence[CheckedRecord]) -> Iterator[Finding]:
        decided = [each for each in records if each.kind == "decision"]
        if not decided:
            return
        if not self._began:
            self._began = True
            self._left = rows.count(connection, "decision")
        ids = [each.id for each in decided]
        stored = rows.by_key(connection, "decision", "id", ids)
        references = rows.by_key(connection, "decision_reference", "decision_id", ids)
        sealed = [sealed_bytes(each.document) for each in decided]
        sealed += [row["answer_sealed"] for some in stored.values() for row in some]
        keys = self._sealed_parts.keys(connection, sealed)
        for each in decided:
            self.counts["decisions"] += 1
            found = references.get(each.id, [])
            self._references += len(found)
            try:
                yield from self._decision(connection, each, stored.get(each.id, []), found, keys)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                message = f"the record has not the form of a decision ({error!r})"
                yield Finding("record", each.id, message, each.index)

    def end(self, connection: Connection) -> Iterator[Finding]:
        decisions = self.counts["decisions"]
        yield from rows.rows_without_record(connection, "decision", "id", decisions, "id")
        stored = rows.count(connection, "decision_reference")
        if stored != self._references:
            message = f"has {stored} rows; the decisions have {self._references}"
            yield Finding("decision_reference", None, message)

    def _decision(
        self,
        connection: Connection,
        record: CheckedRecord,
        stored: Sequence[RowMapping],
        references: Sequence[RowMapping],
        keys: Keys,
    ) -> Iterator[Finding]:
        if not stored:
            yield Finding("decision", record.id, "the decision's row is missing", record.index)
            return
        row, at = stored[0], (record.id, record.index)
        yield from rows.differing("decision", row, _expected(record.document, row), at)
        try:
            personal = _personal(record, keys)
            answer = opened(answer_context(record.id), row["answer_sealed"], keys)
        except TamperedError as error:
            yield Finding("decision", record.id, str(error), record.index)
            return
        yield from self._sealed(connection, record, row, personal, answer)
        yield from self._found_by(record, references, personal)
        yield from self._replay(record, personal)

    def _sealed(
        self,
        connection: Connection,
        record: CheckedRecord,
        row: RowMapping,
        personal: Mapping[str, str] | None,
        answer: bytes | None,
    ) -> Iterator[Finding]:
        if personal is None:
            self.counts["erased"] += 1
            key_id = key_id_of(sealed_bytes(record.document))
            subject = record.document["sealed"]["subject"]
            if not self._sealed_parts.is_erased(connection, key_id, subject):
                message = "the customer's key is gone, and no erasure is on record"
                yield Finding("subject", row["customer"], message, record.index)
        if (personal is None) != (answer is None):
            yield Finding(
                "decision", record.id, "`answer_sealed` is under another key", record.index
            )
        if answer is not None:
            audit = orjson.loads(answer)["audit"]
            if audit != {"record": record.id, "digest": leaf_digest(record.content)}:
                message = "the answer is not that of this record"
                yield Finding("decision", record.id, message, record.index)

    def _found_by(
        self,
        record: CheckedRecord,
        references: Sequence[RowMapping],
        personal: Mapping[str, str] | None,
    ) -> Iterator[Finding]:
        stored = {(each["kind"], each["value"]) for each in references}
        expected = {("policy", each) for each in record.document["evaluation"]["policies"]}
        named = record.document["request"].get("reference") or {}
        if personal is not None:
            values = (personal.get(f"/reference/{_escaped(name)}") for name in named)
            expected |= {
                ("reference", self._secret.pseudonym(REFERENCE, value)) for value in values if value
            }
        elif named:
            # What they were is erased; how many of them there can be is not.
            found = {each for each in stored if each[0] == "reference"}
            expected |= found if 1 <= len(found) <= len(named) else {("reference", "")}
        if stored != expected or len(references) != len(stored):
            message = "is found by other policies or references than the record's"
            yield Finding("decision_reference", record.id, message, record.index)

    def _replay(
        self, record: CheckedRecord, personal: Mapping[str, str] | None
    ) -> Iterator[Finding]:
        if self._replayer is None or not self._is_chosen():
            return
        try:
            difference = self._replayer.differs(record.document, personal)
        except NotReplayableError as error:
            yield Finding("record", record.id, str(error), record.index, Severity.INCOMPLETE)
            return
        self.counts["replayed"] += 1
        if difference is not None:
            yield Finding("record", record.id, difference, record.index)

    def _is_chosen(self) -> bool:
        """All without a sample; else by the chance that leaves the sample full at the end."""
        if self._sample is None:
            return True
        chosen = _CHANCE.random() * max(1, self._left) < self._sample
        self._left -= 1
        self._sample -= chosen
        return chosen


def _personal(record: CheckedRecord, keys: Keys) -> dict[str, str] | None:
    plain = opened(personal_context(record.id), sealed_bytes(record.document), keys)
    return None if plain is None else orjson.loads(plain)


def _expected(record: Mapping[str, Any], row: RowMapping) -> dict[str, object]:
    """The columns of a decision as its record has them."""
    evaluation, grantable = record["evaluation"], record["request"].get("as_of") is None
    return {
        "decided_at_us": rows.microseconds(record["at"]),
        "client": record["client"],
        "order_id": record["request"]["order"]["id"],
        "customer": record["sealed"]["subject"],
        "agent_id": record["agent"]["id"],
        "role": record["agent"]["role"],
        "outcome": evaluation["outcome"],
        "pack_revision": record["pack_revision"],
        "grantable": _as_stored(grantable, row["grantable"]),
        "expires_at_us": rows.microseconds(evaluation["expires_at"]),
    }


def _as_stored(flag: bool, stored: object) -> object:
    """A flag as the database at hand writes it: SQLite has numbers."""
    return flag if isinstance(stored, bool) else int(flag)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
