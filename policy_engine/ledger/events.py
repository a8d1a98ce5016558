"""Records of what people do to the service itself: activations, keys made and revoked."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection

from policy_engine.core.times import format_timestamp
from policy_engine.ledger.ids import new_id
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.ledger.writing import insert_all, record_rows
from policy_engine.wire.records import canonical


def record_event(
    connection: Connection,
    secret: InstanceSecret,
    kind: str,
    now: datetime,
    by: str,
    fields: Mapping[str, object],
) -> str:
    """Records that `by` did something, in the caller's transaction; returns the record's id."""
    record_id = new_id()
    event = {"record": record_id, "kind": kind, "at": format_timestamp(now), "by": by, **fields}
    content = canonical({**event, "seal": event_seal(secret, event)})
    insert_all(connection, record_rows(record_id, kind, now, content))
    return record_id


def event_seal(secret: InstanceSecret, event: Mapping[str, object]) -> str:
    """What only the service can put under an event: a keyed hash of all else in it."""
    content = canonical({name: value for name, value in event.items() if name != "seal"})
    return hmac.digest(secret.key("events"), content, "sha256").hex()
