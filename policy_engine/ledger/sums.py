"""Sums of any number of counters, kept in a temporary file while they are compared."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType

from policy_engine.ledger.counting import Place, described, hashed
from policy_engine.ledger.errors import UnavailableError

_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA temp_store = FILE;
CREATE TABLE expected (
    counter TEXT, period_us INTEGER, described TEXT, amount INTEGER,
    PRIMARY KEY (counter, period_us)
) WITHOUT ROWID;
CREATE TABLE stored (
    counter TEXT, period_us INTEGER, described TEXT, amount INTEGER,
    PRIMARY KEY (counter, period_us)
) WITHOUT ROWID;
"""
_ADD = """
INSERT INTO expected VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET amount = amount + excluded.amount
"""
_STORE = "INSERT INTO stored VALUES (?, ?, ?, ?)"
_DIFFERING = """
SELECT s.described, s.period_us, coalesce(e.amount, 0), s.amount
FROM stored s LEFT JOIN expected e USING (counter, period_us)
WHERE s.amount <> coalesce(e.amount, 0) OR s.described <> coalesce(e.described, s.described)
UNION ALL
SELECT e.described, e.period_us, e.amount, NULL
FROM expected e LEFT JOIN stored s USING (counter, period_us)
WHERE s.counter IS NULL AND e.amount <> 0
ORDER BY 1, 2
"""


class Sums:
    """What counters should come to, then what they do. UnavailableError without room on disk."""

    def __init__(self) -> None:
        # Without a name it is a temporary file, which is gone when it is closed.
        self._file = sqlite3.connect("", check_same_thread=False)
        self._file.executescript(_SCHEMA)

    def __enter__(self) -> Sums:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, counted: Iterable[tuple[Place, int]]) -> None:
        """Adds to what counters should come to; amounts are minor units or numbers of grants."""
        # Not by `counter_id`, whose cache is for those that grants meet again and again.
        rows = (
            (hashed(text := described(place.key)), place.period_us, text, amount)
            for place, amount in counted
        )
        with room_on_disk(), self._file:
            self._file.executemany(_ADD, rows)

    def compare(self, stored: Iterable[tuple[str, int, str, int]]) -> None:
        """(counter, period, described, amount) of each that is stored."""
        with room_on_disk(), self._file:
            self._file.executemany(_STORE, stored)

    def differing(self) -> Iterator[tuple[str, int, int, int | None]]:
        """(described, period, expected, stored) of those that differ; None: no row is stored."""
        with room_on_disk():
            yield from self._file.execute(_DIFFERING)


@contextmanager
def room_on_disk() -> Iterator[None]:
    """Turns what SQLite raises over a temporary file into UnavailableError."""
    try:
        yield
    except sqlite3.Error as error:
        raise UnavailableError("there is no room for temporary files") from error
