"""Cursors of lists: opaque, signed, and good for the list they were handed out for only."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from datetime import datetime

from policy_engine.ledger.errors import CursorError
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.ledger.tables import instant, micros

_SIGNATURE_BYTES = 16
_MOST_CHARACTERS = 512


class Cursors:
    """Signs where a page ended. `of` tells lists apart: the filter, in any one form."""

    def __init__(self, secret: InstanceSecret) -> None:
        self._key = secret.key("cursors")

    def after(self, at: datetime, entry_id: str, of: str) -> str:
        payload = json.dumps([micros(at), entry_id], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._sign(payload, of) + payload).decode().rstrip("=")

    def read(self, cursor: str, of: str) -> tuple[datetime, str]:
        """(instant, id) of the last entry seen; CursorError for anything not signed here."""
        if len(cursor) > _MOST_CHARACTERS:
            raise CursorError
        try:
            signed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise CursorError from None
        signature, payload = signed[:_SIGNATURE_BYTES], signed[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._sign(payload, of)):
            raise CursorError
        at_us, entry_id = json.loads(payload)
        return instant(at_us), entry_id

    def _sign(self, payload: bytes, of: str) -> bytes:
        message = len(payload).to_bytes(8) + payload + of.encode()
        return hmac.digest(self._key, message, "sha256")[:_SIGNATURE_BYTES]
