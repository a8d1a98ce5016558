"""What one counter holds while its steps are followed: times in microseconds since 1970."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, Protocol

_SCHEMA: Final = """
CREATE TABLE rolled (counted_at_us INTEGER, grant_id TEXT, amount INTEGER);
CREATE INDEX rolled_at ON rolled (counted_at_us);
CREATE INDEX rolled_grant ON rolled (grant_id, counted_at_us);
"""
_VALUE: Final = """
SELECT coalesce(sum(amount), 0) FROM rolled WHERE counted_at_us > ? AND counted_at_us <= ?
"""
_PRESENT: Final = """
SELECT count(*) FROM (
    SELECT grant_id FROM rolled WHERE counted_at_us > ? AND grant_id IN (
        SELECT grant_id FROM rolled WHERE counted_at_us > ? AND counted_at_us <= ?
    ) GROUP BY grant_id HAVING sum(amount) > 0
)
"""
_HAS_ONE: Final = """
SELECT coalesce(sum(amount), 0) > 0 FROM rolled WHERE grant_id = ? AND counted_at_us > ?
"""

Moved = Sequence[tuple[int, int]]
"""(counted_at, minor units or presence) of each effect on a counter that rolls."""


class Total(Protocol):
    """What a counter holds: minor units, or a number of grants."""

    def at(self, at_us: int) -> int: ...

    def add(self, at_us: int, grant_id: str, change: int, moved: Moved) -> None: ...


def prepare(file: sqlite3.Connection) -> None:
    """Makes room for what rolls in a temporary database."""
    file.executescript(_SCHEMA)


def total_of(file: sqlite3.Connection, window_us: int | None, *, counts: bool) -> Total:
    """Of a counter that holds nothing yet; there is one at a time. `window_us`: of one that rolls,
    its length. `counts`: numbers of grants."""
    return Held() if window_us is None else Rolled(file, window_us, counts=counts)


class Held:
    """Of a counter that holds for ever, or for a calendar period."""

    def __init__(self) -> None:
        self._amount = 0

    def at(self, at_us: int) -> int:
        del at_us
        return self._amount

    def add(self, at_us: int, grant_id: str, change: int, moved: Moved) -> None:
        del at_us, grant_id, moved
        self._amount += change


class Rolled:
    """Of a window that rolls. What was added stays on disk; each row is read once when it comes
    in and once when the window leaves it behind."""

    def __init__(self, file: sqlite3.Connection, window_us: int, *, counts: bool) -> None:
        file.execute("DELETE FROM rolled")
        self._file = file
        self._window_us = window_us
        self._counts = counts
        self._amount = 0
        self._since_us: int | None = None

    def at(self, at_us: int) -> int:
        since_us = at_us - self._window_us
        if self._since_us is not None and since_us != self._since_us:
            between = sorted((self._since_us, since_us))
            self._amount += self._within(since_us, between) - self._within(self._since_us, between)
        self._since_us = since_us
        return self._amount

    def add(self, at_us: int, grant_id: str, change: int, moved: Moved) -> None:
        del change
        self.at(at_us)
        since_us = at_us - self._window_us
        before = self._one(grant_id, since_us)
        rows = [(counted_at_us, grant_id, amount) for counted_at_us, amount in moved]
        self._file.executemany("INSERT INTO rolled VALUES (?, ?, ?)", rows)
        if self._counts:
            self._amount += self._one(grant_id, since_us) - before
        else:
            self._amount += sum(amount for at, _, amount in rows if at > since_us)

    def _within(self, since_us: int, between: list[int]) -> int:
        """What those that were counted between two instants come to since an instant."""
        if self._counts:
            found = self._file.execute(_PRESENT, (since_us, *between))
        else:
            found = self._file.execute(_VALUE, (max(since_us, between[0]), between[1]))
        number: int = found.fetchone()[0]
        return number

    def _one(self, grant_id: str, since_us: int) -> int:
        """1 where the grant counts."""
        if not self._counts:
            return 0
        present: int = self._file.execute(_HAS_ONE, (grant_id, since_us)).fetchone()[0]
        return present
