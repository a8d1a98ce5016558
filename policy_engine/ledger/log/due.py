"""What time alone did to grants: nobody answered for it, so it is computed again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, select

from policy_engine.core.grant_moves import due
from policy_engine.core.grants import fold
from policy_engine.core.times import parse_timestamp
from policy_engine.ledger.grant_tables import GRANT, GRANT_ENTRY, GRANT_REMEDY
from policy_engine.ledger.grants import entry_of, grant_of, grouped
from policy_engine.ledger.log.findings import CheckedRecord, Finding


class DueCheck:
    """Reserves lapsed and coupons expired when they had run out, and not before."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def batch(self, connection: Connection, records: Sequence[CheckedRecord]) -> Iterator[Finding]:
        moves = [
            each
            for each in records
            if each.kind == "grant_move" and each.document.get("actor") is None
        ]
        ids = sorted({str(each.document["grant"]) for each in moves})
        if not ids:
            return
        rows = connection.execute(select(GRANT).where(GRANT.c.id.in_(ids))).all()
        remedies = grouped(connection, GRANT_REMEDY, ids)
        entries = grouped(connection, GRANT_ENTRY, ids)
        grants = {row.id: grant_of(row, remedies[row.id]) for row in rows}
        for each in moves:
            grant = grants[each.document["grant"]]
            stored = entries[grant.id]
            before = [entry_of(row) for row in stored if row.position < _first(each)]
            added = tuple(entry_of(row) for row in stored if row.record_id == each.id)
            state = fold(grant.remedies, before, grant.pending_until)
            if added != due(state, parse_timestamp(each.document["at"])):
                message = "is not what time alone would have brought"
                yield Finding("grant_entry", each.id, message, each.index)

    def end(self, connection: Connection) -> Iterator[Finding]:
        del connection
        return iter(())


def _first(move: CheckedRecord) -> int:
    return min(int(each["position"]) for each in move.document["entries"])
