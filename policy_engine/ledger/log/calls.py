"""The answers that are kept under idempotency keys, a day at least."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, RowMapping

from policy_engine.ledger.errors import TamperedError
from policy_engine.ledger.idempotency import KEPT_AT_LEAST, kept_context
from policy_engine.ledger.log import rows
from policy_engine.ledger.log.findings import CheckedRecord, Finding
from policy_engine.ledger.sealing import Sealer
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.ledger.tables import micros

_TABLE: Final = "idempotency"
_CLOCKS_APART: Final = timedelta(hours=1)
"""A key is claimed before its record is written, and this clock is not the database's."""


class CallCheck:
    """A call that moved a grant or registered an order can't be made again under its key, which is
    there for a day; and every answer that is kept is the one that was given."""

    def __init__(self, secret: InstanceSecret) -> None:
        self._sealer = Sealer(secret)
        self.counts: dict[str, int] = {}

    def batch(self, connection: Connection, records: Sequence[CheckedRecord]) -> Iterator[Finding]:
        recent = datetime.now(UTC) - KEPT_AT_LEAST + _CLOCKS_APART
        calls = {
            bytes.fromhex(each.document["call"]): each
            for each in records
            if each.document.get("call") is not None
            and (rows.microseconds(each.document.get("at")) or 0) > micros(recent)
        }
        stored = rows.by_key(connection, _TABLE, "key_hash", sorted(calls))
        for key_hash, record in calls.items():
            if key_hash not in stored:
                message = "the answer of this call is missing before its day is over"
                yield Finding(_TABLE, record.id, message, record.index)

    def end(self, connection: Connection) -> Iterator[Finding]:
        for page in rows.pages(connection, _TABLE, "key_hash"):
            for row in page:
                if not self._is_whole(row):
                    yield Finding(_TABLE, _named(row["key_hash"]), "the kept answer was changed")

    def _is_whole(self, row: RowMapping) -> bool:
        try:
            context = kept_context(row["key_hash"], row["fingerprint"])
            kept = json.loads(self._sealer.open(context, row["answer_sealed"]))
        except (TamperedError, TypeError, ValueError):
            return False
        return bool(kept["kept_since_us"] == row["created_at_us"])


def _named(key_hash: object) -> str:
    return key_hash.hex() if isinstance(key_hash, bytes) else str(key_hash)
