"""Ids of everything recorded: UUIDs of version 7 (RFC 9562) as text.

They sort by time of creation, within a process strictly, so that indexes grow at one end.
"""

from __future__ import annotations

import secrets
import threading
import time
from uuid import UUID

_VERSION_7 = 0x7 << 76
_RFC_9562 = 0x2 << 62
_COUNTER_BITS = 12


class _Ticks:
    """Milliseconds of the clock with a counter below them; never the same twice, never back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def following(self) -> int:
        now = (time.time_ns() // 1_000_000) << _COUNTER_BITS
        with self._lock:
            # After 4,096 ids in one millisecond the counter runs over into the next one.
            self._last = max(now, self._last + 1)
            return self._last


_TICKS = _Ticks()


def new_id() -> str:
    """`01969f2e-…-7…`: 36 characters, later ids of a process sort after earlier ones."""
    milliseconds, counter = divmod(_TICKS.following(), 1 << _COUNTER_BITS)
    random = secrets.randbits(62)
    return str(UUID(int=milliseconds << 80 | _VERSION_7 | counter << 64 | _RFC_9562 | random))
