"""What the records of grants and orders say, against the tables that answer for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import orjson
from sqlalchemy import Connection, RowMapping

from policy_engine.core.times import TimeFormatError, parse_duration
from policy_engine.ledger.log import rows
from policy_engine.ledger.log.findings import MISFORMED, CheckedRecord, Finding

_KINDS: Final = ("grant", "grant_move", "order_registration")
_GIVES: Final = ("post", "reserve")


class GrantCheck:
    """Rows of grants, their remedies and entries, and of registered orders; each grant against
    the offer that it takes."""

    def __init__(self) -> None:
        self._rows = dict.fromkeys(("grant_", "grant_remedy", "grant_entry"), 0)
        self._registrations = 0

    @property
    def counts(self) -> dict[str, int]:
        return {"grants": self._rows["grant_"], "grant entries": self._rows["grant_entry"]}

    def batch(self, connection: Connection, records: Sequence[CheckedRecord]) -> Iterator[Finding]:
        found = [each for each in records if each.kind in _KINDS]
        ids = [each.id for each in found]
        grants = rows.by_key(connection, "grant_", "id", ids)
        remedies = rows.by_key(connection, "grant_remedy", "grant_id", ids)
        entries = rows.by_key(connection, "grant_entry", "record_id", ids)
        orders = rows.by_key(connection, "order_registration", "record_id", ids)
        offers = _decisions(connection, found)
        for each in found:
            at = (each.id, each.index)
            try:
                if each.kind == "order_registration":
                    self._registrations += 1
                    expected = [_registration(each.document)]
                    yield from _same("order_registration", orders.get(each.id, []), expected, at)
                    continue
                if each.kind == "grant":
                    yield from self._grant(each, grants.get(each.id, []), remedies, offers)
                yield from self._entries(each, entries.get(each.id, []))
            except MISFORMED as error:
                message = f"the record has not the form of a {each.kind} ({error!r})"
                yield Finding("record", each.id, message, each.index)

    def end(self, connection: Connection) -> Iterator[Finding]:
        for table, expected in {**self._rows, "order_registration": self._registrations}.items():
            yield from rows.miscounted(connection, table, expected)

    def _grant(
        self,
        record: CheckedRecord,
        stored: Sequence[RowMapping],
        remedies: Mapping[Any, Sequence[RowMapping]],
        offers: Mapping[str, Mapping[str, Any]],
    ) -> Iterator[Finding]:
        document, at = record.document, (record.id, record.index)
        self._rows["grant_"] += 1
        self._rows["grant_remedy"] += len(document["remedies"])
        yield from _same("grant_", stored, [_columns(document)], at)
        expected = [
            {"position": position, **_remedy(each)}
            for position, each in enumerate(document["remedies"])
        ]
        yield from _same("grant_remedy", remedies.get(record.id, []), expected, at)
        reason = _beyond_offer(document, offers.get(document["decision"]))
        if reason is not None:
            yield Finding("grant_", record.id, reason, record.index)

    def _entries(self, record: CheckedRecord, stored: Sequence[RowMapping]) -> Iterator[Finding]:
        document = record.document
        self._rows["grant_entry"] += len(document["entries"])
        actor = document["agent"] if record.kind == "grant" else document["actor"]
        common = {
            "grant_id": document["id"] if record.kind == "grant" else document["grant"],
            "actor": None if actor is None else actor["id"],
        }
        expected = [{**common, **_entry(each)} for each in document["entries"]]
        yield from _same("grant_entry", stored, expected, (record.id, record.index))


def _same(
    table: str,
    stored: Sequence[RowMapping],
    expected: Sequence[Mapping[str, object]],
    at: tuple[str, int | None],
) -> Iterator[Finding]:
    """Findings unless the rows are those, by position where they have one."""
    if len(stored) != len(expected):
        message = f"has {len(stored)} rows for this record, which speaks of {len(expected)}"
        yield Finding(table, at[0], message, at[1])
        return
    ordered = sorted(stored, key=lambda row: str(row.get("position", "")).rjust(20))
    for row, each in zip(ordered, expected, strict=True):
        yield from rows.differing(
            table, row, {k: rows.like(v, row[k]) for k, v in each.items()}, at
        )


def _columns(document: Mapping[str, Any]) -> dict[str, object]:
    same = ("client", "credential", "owner", "customer", "plan", "currency", "approver")
    return {
        "decision_id": document["decision"],
        "granted_at_us": rows.microseconds(document["at"]),
        "order_id": document["order"],
        "agent_id": document["agent"]["id"],
        "role": document["agent"]["role"],
        "pending_until_us": rows.microseconds(document["pending_until"]),
        "pack_revision": document["pack_revision"],
        **{name: document[name] for name in same},
    }


def _remedy(each: Mapping[str, Any]) -> dict[str, object]:
    return {
        "remedy": each["remedy"],
        "kind": each["kind"],
        "policy": each["policy"],
        "source": each["from"],
        "valid_for_us": _duration(each["valid_for"]),
    }


def _entry(each: Mapping[str, Any]) -> dict[str, object]:
    return {
        "position": each["position"],
        "remedy": each["remedy"],
        "movement": each["movement"],
        "minor": each["minor"],
        "shares": [[share["line"], share["minor"]] for share in each["shares"]],
        "at_us": rows.microseconds(each["at"]),
        "counted_at_us": rows.microseconds(each["counted_at"]),
        "against": each["against"],
    }


def _registration(document: Mapping[str, Any]) -> dict[str, object]:
    return {
        "order_id": document["order"],
        "version": document["version"],
        "registered_at_us": rows.microseconds(document["at"]),
        "client": document["client"],
        "customer": document["customer"],
        "facts": document["registered"],
    }


def _decisions(
    connection: Connection, found: Iterable[CheckedRecord]
) -> dict[str, Mapping[str, Any]]:
    """The records of the decisions that grants take offers of."""
    ids = {str(each.document.get("decision")) for each in found if each.kind == "grant"}
    decisions: dict[str, Mapping[str, Any]] = {}
    for decision_id, stored in rows.by_key(connection, "record", "id", sorted(ids)).items():
        try:
            decisions[decision_id] = orjson.loads(stored[0]["content"])
        except (orjson.JSONDecodeError, TypeError):
            continue  # said by whoever compares the record with its leaf
    return decisions


def _beyond_offer(grant: Mapping[str, Any], decision: Mapping[str, Any] | None) -> str | None:
    """Why this is no grant of that decision; None when it is one."""
    if decision is None:
        return "the decision it takes an offer of is missing"
    if (decision["client"], decision["agent"]["id"]) != (grant["client"], grant["agent"]["id"]):
        return "was taken by another client or agent than the decision's"
    plans = {each["plan"]: each for each in decision["evaluation"]["plans"]}
    plan = plans.get(grant["plan"])
    if plan is None:
        return "takes a plan that the decision does not offer"
    # Less may have been asked, or the caps have moved, so that another role up the chain than the
    # decision named may approve; never the one that asked.
    if grant["approver"] == decision["agent"]["role"]:
        return "waits for the role that asked"
    given = sum(each["minor"] for each in grant["entries"] if each["movement"] in _GIVES)
    if given > plan["allowed"] + plan["pending"]:
        return "gives more than the decision offers"
    return None


def _duration(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_duration(text) // timedelta(microseconds=1)
    except TimeFormatError:
        return -1
