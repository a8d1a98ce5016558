"""What was answered with the records of grants, moves and registrations, kept and sealed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import orjson
from sqlalchemy import Connection, RowMapping

from policy_engine.ledger.errors import TamperedError
from policy_engine.ledger.log import rows
from policy_engine.ledger.log.findings import CheckedRecord, Finding
from policy_engine.ledger.log.sealed import Keys, SealedParts, opened
from policy_engine.ledger.names import answer_context
from policy_engine.ledger.sealing import key_id_of
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.wire.records import leaf_digest

_TABLE: Final = "kept_answer"
_ANSWERED: Final = ("grant", "grant_move", "order_registration")


class AnswerCheck:
    """Each of these records has the answer that was given with it, and nothing else has one.

    Only the service can seal an answer, so a record that somebody else wrote has none.
    """

    def __init__(self, secret: InstanceSecret) -> None:
        self._sealed_parts = SealedParts(secret)
        self._answers = 0
        self.counts: dict[str, int] = {}

    def batch(self, connection: Connection, records: Sequence[CheckedRecord]) -> Iterator[Finding]:
        answered = [each for each in records if _is_answered(each)]
        stored = rows.by_key(connection, _TABLE, "record_id", [each.id for each in answered])
        sealed = [row["answer_sealed"] for found in stored.values() for row in found]
        keys = self._sealed_parts.keys(connection, sealed)
        for each in answered:
            self._answers += 1
            found = stored.get(each.id, [])
            if not found:
                message = "what was answered with this record is missing"
                yield Finding(_TABLE, each.id, message, each.index)
                continue
            yield from self._answer(connection, each, found[0], keys)

    def end(self, connection: Connection) -> Iterator[Finding]:
        yield from rows.rows_without_record(connection, _TABLE, "record_id", self._answers)

    def _answer(
        self, connection: Connection, record: CheckedRecord, row: RowMapping, keys: Keys
    ) -> Iterator[Finding]:
        at = (record.id, record.index)
        customer, sealed = record.document.get("customer"), row["answer_sealed"]
        yield from rows.differing(_TABLE, row, {"customer": customer}, at)
        if not isinstance(sealed, bytes):
            yield Finding(_TABLE, record.id, "the answer is not bytes", record.index)
            return
        try:
            answer = opened(answer_context(record.id), sealed, keys)
        except TamperedError as error:
            yield Finding(_TABLE, record.id, str(error), record.index)
            return
        key_id = key_id_of(sealed)
        if answer is None:
            if not self._sealed_parts.is_erased(connection, key_id, customer):
                message = "the customer's key is gone, and no erasure is on record"
                yield Finding(_TABLE, record.id, message, record.index)
        elif keys[key_id].subject != customer or _audit(answer) != {
            "record": record.id,
            "digest": leaf_digest(record.content),
        }:
            yield Finding(_TABLE, record.id, "the answer is not that of this record", record.index)


def _is_answered(record: CheckedRecord) -> bool:
    """What time alone brought was answered to nobody."""
    return record.kind in _ANSWERED and not (
        record.kind == "grant_move" and record.document.get("actor") is None
    )


def _audit(answer: bytes) -> object:
    try:
        return orjson.loads(answer)["audit"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
