"""What grants and registrations bind: evidence to an order, references to a grant, and what an
order is pinned to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, RowMapping

from policy_engine.ledger.log import rows
from policy_engine.ledger.log.findings import MISFORMED, CheckedRecord, Finding


class EvidenceCheck:
    """Every reference that a grant spends serves that grant's order, from then on."""

    _TABLE: Final = "evidence_use"

    def __init__(self) -> None:
        self._uses = 0
        self.counts: dict[str, int] = {}

    def batch(self, connection: Connection, records: Sequence[CheckedRecord]) -> Iterator[Finding]:
        spent = [
            (each, str(evidence))
            for each in records
            if each.kind == "grant"
            for evidence in _listed(each, "spends")
        ]
        stored = rows.by_key(connection, self._TABLE, "evidence", {one for _, one in spent})
        for record, evidence in spent:
            self._uses += 1
            found = stored.get(evidence, [])
            if not found:
                message = "evidence that this grant spends is missing"
                yield Finding(self._TABLE, record.id, message, record.index)
                continue
            expected = {
                "order_id": record.document.get("order"),
                "used_at_us": rows.microseconds(record.document.get("at")),
            }
            yield from rows.differing(self._TABLE, found[0], expected, (record.id, record.index))

    def end(self, connection: Connection) -> Iterator[Finding]:
        yield from rows.miscounted(connection, self._TABLE, self._uses)


class ReferenceCheck:
    """Every grant is found by the references that its moves name, and by no others."""

    _TABLE: Final = "grant_reference"

    def __init__(self) -> None:
        self._references = 0
        self.counts: dict[str, int] = {}

    def batch(self, connection: Connection, records: Sequence[CheckedRecord]) -> Iterator[Finding]:
        named = [
            (each, str(reference))
            for each in records
            if each.kind == "grant_move"
            for reference in _listed(each, "found_by")
        ]
        grants = {str(each.document.get("grant")) for each, _ in named}
        stored = rows.by_key(connection, self._TABLE, "grant_id", grants)
        for record, reference in named:
            self._references += 1
            found = stored.get(record.document.get("grant"), [])
            if reference not in {row["value"] for row in found}:
                message = "a reference that this move names is missing"
                yield Finding(self._TABLE, record.id, message, record.index)

    def end(self, connection: Connection) -> Iterator[Finding]:
        yield from rows.miscounted(connection, self._TABLE, self._references)


class PinCheck:
    """Every order is pinned to what the last record that changed its pin says.

    A pin only ever grows: by a version, by its first grant, by an amount that nobody had said. So
    one record alone holds the pin as it stands, and every other an earlier step.
    """

    _TABLE: Final = "order_pin"

    def __init__(self) -> None:
        self._pinned = 0
        self.counts: dict[str, int] = {}

    def batch(self, connection: Connection, records: Sequence[CheckedRecord]) -> Iterator[Finding]:
        pinning = [
            each
            for each in records
            if each.kind in ("grant", "order_registration") and each.document.get("pin") is not None
        ]
        orders = {str(each.document.get("order")) for each in pinning}
        stored = rows.by_key(connection, self._TABLE, "order_id", orders)
        for each in pinning:
            found = stored.get(each.document.get("order"), [])
            if not found:
                message = "what this record pins its order to is missing"
                yield Finding(self._TABLE, each.id, message, each.index)
                continue
            try:
                yield from self._pin(each, found[0])
            except MISFORMED as error:
                yield Finding(self._TABLE, each.id, f"can't be read ({error!r})", each.index)

    def end(self, connection: Connection) -> Iterator[Finding]:
        yield from rows.miscounted(connection, self._TABLE, self._pinned)

    def _pin(self, record: CheckedRecord, row: RowMapping) -> Iterator[Finding]:
        said = record.document["pin"]
        stored = {
            "version": row["version"],
            "first_grant": row["first_grant_id"],
            "amounts": rows.json_value(row["amounts"]),
        }
        if _step(stored) < _step(said):
            message = "is behind what the record pins the order to"
            yield Finding(self._TABLE, record.id, message, record.index)
        if _step(stored) != _step(said):
            return
        self._pinned += 1
        expected = {
            "customer": said["customer"],
            "currency": said["currency"],
            "amounts": rows.like(said["amounts"], row["amounts"]),
            "version": said["version"],
            "first_grant_id": said["first_grant"],
        }
        yield from rows.differing(self._TABLE, row, expected, (record.id, record.index))


def _step(pin: Mapping[str, Any]) -> tuple[int, bool, int]:
    """How far a pin has grown; every change takes it further."""
    said = sum(each is not None for each in pin["amounts"].values())
    return (pin["version"], pin["first_grant"] is not None, said)


def _listed(record: CheckedRecord, name: str) -> Sequence[object]:
    found = record.document.get(name)
    return found if isinstance(found, list) else ()
