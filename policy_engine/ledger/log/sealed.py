"""Sealed parts as verification meets them: what opens them, and whose were erased."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from sqlalchemy import Connection, text

from policy_engine.ledger.errors import TamperedError
from policy_engine.ledger.log import rows
from policy_engine.ledger.sealing import Sealer, SubjectKey, key_id_of
from policy_engine.ledger.secret import InstanceSecret

_ERASURES = text("SELECT content FROM record WHERE kind = 'erasure'")

Keys = Mapping[bytes, SubjectKey]
"""By key id."""


class SealedParts:
    """Looks keys of customers up, a page of records at a time."""

    def __init__(self, secret: InstanceSecret) -> None:
        self._sealer = Sealer(secret)
        self._erased: dict[bytes, str] | None = None

    def keys(self, connection: Connection, sealed: Iterable[object]) -> Keys:
        """The keys that these parts were sealed under, as far as they are there and whole."""
        wanted = {key_id_of(each) for each in sealed if isinstance(each, bytes)}
        keys = {}
        for key_id, found in rows.by_key(connection, "subject", "key_id", sorted(wanted)).items():
            row = found[0]
            try:
                keys[key_id] = self._sealer.stored_key(row["subject"], key_id, row["key_sealed"])
            except (TamperedError, TypeError, AttributeError):
                continue  # said once, by SubjectCheck
        return keys

    def is_erased(self, connection: Connection, key_id: bytes, subject: object) -> bool:
        """Whether an erasure on record destroyed this key of the subject."""
        if self._erased is None:
            self._erased = erasures(connection)
        return key_id in self._erased and self._erased[key_id] == subject


def opened(context: str, sealed: bytes, keys: Keys) -> bytes | None:
    """The plain bytes; None when their key is gone. TamperedError when they were changed."""
    key = keys.get(key_id_of(sealed))
    return None if key is None else key.open(context, sealed)


def sealed_bytes(record: Mapping[str, Any]) -> bytes:
    """The sealed part of a record; nothing where it has none that can be read."""
    try:
        return base64.b64decode(record["sealed"]["sealed"], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error):
        return b""


def erasures(connection: Connection) -> dict[bytes, str]:
    """Key id → pseudonym of every erasure on record: the one thing that is held whole, a hundred
    bytes each."""
    found = {}
    for content in connection.execute(_ERASURES).scalars():
        try:
            erasure = orjson.loads(content)
            found[bytes.fromhex(erasure["key"])] = str(erasure["subject"])
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            continue  # said by whoever compares the record with its leaf
    return found
