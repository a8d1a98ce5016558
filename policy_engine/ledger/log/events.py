"""What the records of keys, activations and erasures say, against the tables that answer for
them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, text

from policy_engine.ledger.errors import TamperedError
from policy_engine.ledger.events import event_seal
from policy_engine.ledger.log import rows
from policy_engine.ledger.log.findings import CheckedRecord, Finding
from policy_engine.ledger.log.sealed import erasures
from policy_engine.ledger.sealing import Sealer
from policy_engine.ledger.secret import InstanceSecret


class SubjectCheck:
    """Keys of customers open under the instance's secret, and those of the erased are gone."""

    def __init__(self, secret: InstanceSecret) -> None:
        self._sealer = Sealer(secret)
        self.counts: dict[str, int] = {}

    def batch(self, connection: Connection, records: Sequence[CheckedRecord]) -> Iterator[Finding]:
        del connection, records
        return iter(())

    def end(self, connection: Connection) -> Iterator[Finding]:
        erased = erasures(connection)
        for page in rows.pages(connection, "subject", "subject"):
            for row in page:
                try:
                    self._sealer.stored_key(row["subject"], row["key_id"], row["key_sealed"])
                except (TamperedError, TypeError, AttributeError):
                    yield Finding("subject", str(row["subject"]), "the sealed key was changed")
                    continue
                if row["key_id"] in erased:
                    message = "was erased, and the key is there again"
                    yield Finding("subject", row["subject"], message)


_CREDENTIAL: Final = ("client", "person_id", "person_role", "ceiling", "owner")


_ANSWERED: Final = ("decision", "grant", "grant_move", "order_registration")
"""What has a sealed answer, or is brought by time alone."""


class EventCheck:
    """What was done to the service itself was written by the service, and the rows that answer
    for it are as it says."""

    _TABLES: Final = {
        "credential_created": ("credential", "record_id"),
        "credential_revoked": ("revocation", "record_id"),
        "activation": ("activation", "record_id"),
        "log_opened": ("log_key", "record_id"),
    }

    def __init__(self, secret: InstanceSecret) -> None:
        self._secret = secret
        self._seen = dict.fromkeys(self._TABLES, 0)

    @property
    def counts(self) -> dict[str, int]:
        return {"events": sum(self._seen.values())}

    def batch(self, connection: Connection, records: Sequence[CheckedRecord]) -> Iterator[Finding]:
        for each in records:
            if each.kind in _ANSWERED:
                continue
            if each.document.get("seal") != event_seal(self._secret, each.document):
                yield Finding("record", each.id, "was not written by the service", each.index)
        for kind, (table, key) in self._TABLES.items():
            events = [each for each in records if each.kind == kind]
            stored = rows.by_key(connection, table, key, [each.id for each in events])
            for event in events:
                self._seen[kind] += 1
                found = stored.get(event.id, [])
                if len(found) != 1:
                    message = f"has {len(found)} rows for the record {event.id}"
                    yield Finding(table, None, message, event.index)
                    continue
                expected = _EXPECTED[kind](event.document, found[0])
                yield from rows.differing(table, found[0], expected, (event.id, event.index))

    def end(self, connection: Connection) -> Iterator[Finding]:
        for kind, (table, key) in self._TABLES.items():
            yield from rows.rows_without_record(connection, table, key, self._seen[kind])
        yield from _activations_in_order(connection)


def _activations_in_order(connection: Connection) -> Iterator[Finding]:
    """The last activation counts: each one must follow the one that its record says."""
    previous = None
    for page in rows.pages(connection, "activation", "sequence"):
        records = rows.by_key(connection, "record", "id", [row["record_id"] for row in page])
        for row in page:
            stated = [_json(each["content"]) for each in records.get(row["record_id"], [])]
            if not any(
                isinstance(each, dict) and each.get("previous") == previous for each in stated
            ):
                message = "does not follow the activation that its record says"
                yield Finding("activation", str(row["sequence"]), message)
            previous = row["revision"]


class InstanceCheck:
    """The installation is the one that the secret and the log's keys belong to."""

    def __init__(self, secret: InstanceSecret) -> None:
        self._fingerprint = secret.fingerprint
        self.counts: dict[str, int] = {}

    def batch(self, connection: Connection, records: Sequence[CheckedRecord]) -> Iterator[Finding]:
        del connection, records
        return iter(())

    def end(self, connection: Connection) -> Iterator[Finding]:
        stored = connection.execute(text("SELECT * FROM instance")).mappings().all()
        if len(stored) != 1:
            yield Finding("instance", None, f"has {len(stored)} rows where one belongs")
            return
        if stored[0]["secret_fingerprint"] != self._fingerprint:
            yield Finding("instance", str(stored[0]["id"]), "belongs to another secret key")
        names = connection.execute(text("SELECT verifier_key FROM log_key")).scalars()
        for name in names:
            if str(name).partition("+")[0] != f"policy-engine/{stored[0]['id']}":
                yield Finding("instance", str(stored[0]["id"]), "is not the origin of the log")


def _credential(event: Mapping[str, Any], row: RowMapping) -> dict[str, object]:
    expected = {
        "id": event["credential"],
        "secret_hash": bytes.fromhex(event["secret_hash"]),
        **{name: event[name] for name in _CREDENTIAL},
        "created_by": event["by"],
        "created_at_us": rows.microseconds(event["at"]),
        "expires_at_us": rows.microseconds(event["expires_at"]),
    }
    for name in ("scopes", "roster"):
        stored, stated = row[name], event[name]
        if isinstance(stored, str):
            expected[name] = stored if _json(stored) == stated else None
        else:
            expected[name] = stated
    return expected


def _revocation(event: Mapping[str, Any], _row: RowMapping) -> dict[str, object]:
    return {
        "credential_id": event["credential"],
        "revoked_by": event["by"],
        "revoked_at_us": rows.microseconds(event["at"]),
    }


def _activation(event: Mapping[str, Any], _row: RowMapping) -> dict[str, object]:
    return {
        "revision": event["revision"],
        "activated_by": event["by"],
        "activated_at_us": rows.microseconds(event["at"]),
    }


def _log_key(event: Mapping[str, Any], _row: RowMapping) -> dict[str, object]:
    return {"verifier_key": event["verifier_key"]}


_Columns = Callable[[Mapping[str, Any], RowMapping], dict[str, object]]
_EXPECTED: Final[Mapping[str, _Columns]] = {
    "credential_created": _credential,
    "credential_revoked": _revocation,
    "activation": _activation,
    "log_opened": _log_key,
}


def _json(stored: str | bytes) -> object:
    try:
        return json.loads(stored)
    except (ValueError, TypeError):
        return stored
