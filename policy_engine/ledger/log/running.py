"""What every counter had come to, step by step, against what records say that it had.

The steps of all counters are kept in a temporary file and then followed, one counter after the
other. Memory grows with neither: of one counter at most `_MOST_HELD` steps are held.

**In which order.** Whoever moves a counter reads the ledger's clock after locking it, so the times
of the records are the order in which a counter was moved; their places in the log are not, because
a record is given its place by an id that was made before the lock. Only where the clock stood
still, or was put back, can times mislead. Then a step that doesn't fit waits for those that come
before it: the sums that the records state say which one followed which. For how long a step may
wait is measured: as long as times ever ran against the order of the log.
"""

from __future__ import annotations

import json
import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, groupby
from typing import Final
from weakref import finalize

from policy_engine.core.caps import Measure, Rolling
from policy_engine.ledger.counting import FOR_EVER, Place, described, hashed
from policy_engine.ledger.log.totals import Total, prepare, total_of
from policy_engine.ledger.sums import room_on_disk
from policy_engine.ledger.tables import micros

_MOST_HELD: Final = 1_000
_CLOCKS_US: Final = 60_000_000
"""A clock may be put back by a minute without anything in the log showing it."""

_SCHEMA: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA temp_store = FILE;
CREATE TABLE step (
    number INTEGER PRIMARY KEY, counter TEXT, period_us INTEGER, at_us INTEGER,
    window_us INTEGER, counts INTEGER, change INTEGER, moved TEXT, before INTEGER, after INTEGER,
    most INTEGER, what TEXT, grant_id TEXT, record_id TEXT, log_index INTEGER
);
"""
_NOTE: Final = "INSERT INTO step VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_STEPS: Final = """
SELECT counter, period_us, at_us, window_us, counts, change, moved, before, after, most, what,
grant_id, record_id, log_index FROM step ORDER BY counter, period_us, at_us, number
"""


@dataclass(frozen=True, slots=True)
class Counter:
    """One sum: what it counts, in words, and how."""

    described: str
    period_us: int = FOR_EVER
    rolls: timedelta | None = None
    """The length of its window, where that rolls."""
    counts: bool = False
    """Numbers of grants, not minor units."""

    @classmethod
    def of(cls, place: Place) -> Counter:
        window = place.key.window
        return cls(
            described(place.key),
            place.period_us,
            window.length if isinstance(window, Rolling) else None,
            place.key.measure is Measure.COUNT,
        )


@dataclass(frozen=True, slots=True)
class Said:
    """What a record says of a counter: minor units, or a number of grants."""

    what: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Step:
    """What one record does to one counter, and says of it."""

    counter: Counter
    at: datetime
    grant_id: str
    record_id: str
    index: int | None
    change: int = 0
    """To what the counter holds; of one that rolls see `moved`."""
    moved: tuple[tuple[datetime, int], ...] = ()
    """(counted_at, minor units or presence) of each effect on a counter that rolls."""
    said: Said | None = None
    """None: the record says nothing of it, or said it without holding the counter."""
    most: int | None = None
    """What the counter may hold after it."""
    what: str = ""
    """What it is called, where nothing is said."""


@dataclass(frozen=True, slots=True)
class Untrue:
    """Something that a record says of a counter, and what it comes to from the steps before."""

    what: str
    when: str
    """`before` or `after` the record, or `at most`."""
    stated: int
    recomputed: int
    grant_id: str
    record_id: str
    index: int | None


@dataclass(frozen=True, slots=True)
class _Stored:
    """A row of `step`."""

    counter: str
    period_us: int
    at_us: int
    window_us: int | None
    counts: int
    change: int
    moved: str
    before: int | None
    after: int | None
    most: int | None
    what: str
    grant_id: str
    record_id: str
    index: int | None

    def untrue(self, when: str, stated: int, recomputed: int) -> Untrue:
        return Untrue(
            self.what, when, stated, recomputed, self.grant_id, self.record_id, self.index
        )


class RunningSums:
    """Steps as they are found, then followed. UnavailableError without room on disk."""

    def __init__(self) -> None:
        # Without a name it is a temporary file, which is gone when it is closed.
        self._file = sqlite3.connect("", check_same_thread=False)
        self._closed = finalize(self, self._file.close)
        self._file.executescript(_SCHEMA)
        prepare(self._file)
        self._latest_us = 0
        self._slack_us = _CLOCKS_US

    def close(self) -> None:
        """Gives the disk back; also done when nobody holds this any more."""
        self._closed()

    def saw(self, at: datetime) -> None:
        """The time of the next record in the order of the log: how far times run against it."""
        at_us = micros(at)
        self._latest_us = max(self._latest_us, at_us)
        self._slack_us = max(self._slack_us, self._latest_us - at_us)

    def note(self, steps: Iterable[Step]) -> None:
        """Keeps steps, in the order of the log."""
        with room_on_disk(), self._file:
            self._file.executemany(_NOTE, map(_row, steps))

    def untrue(self) -> Iterator[Untrue]:
        """What records say of counters and isn't so, counter by counter."""
        with room_on_disk():
            stored = (_Stored(*row) for row in self._file.execute(_STEPS))
            for _, steps in groupby(stored, key=lambda each: (each.counter, each.period_us)):
                yield from self._follow(steps)

    def _follow(self, steps: Iterator[_Stored]) -> Iterator[Untrue]:
        first = next(steps)
        total = total_of(self._file, first.window_us, counts=bool(first.counts))
        held: deque[_Waiting] = deque()
        for step in chain((first,), steps):
            yield from _taken(total, held, step, self._slack_us)
        while held:
            yield from _given_up(total, held)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A step that didn't fit when its turn came."""

    step: _Stored
    found: int
    """What the counter held then."""


def _taken(total: Total, held: deque[_Waiting], step: _Stored, slack_us: int) -> Iterator[Untrue]:
    """Takes a step, and those that waited for it; or lets it wait."""
    while held and (step.at_us - held[0].step.at_us > slack_us or len(held) >= _MOST_HELD):
        yield from _given_up(total, held)
    if not _fits(total, step):
        held.append(_Waiting(step, total.at(step.at_us)))
        return
    yield from _take(total, step)
    yield from _those_that_fit(total, held)


def _given_up(total: Total, held: deque[_Waiting]) -> Iterator[Untrue]:
    """Nothing explains the step that has waited longest."""
    waiting = held.popleft()
    step, found = waiting.step, waiting.found
    if step.before is not None and step.before != found:
        yield step.untrue("before", step.before, found)
    elif step.most is not None:
        yield step.untrue("at most", step.most, found + step.change)
    yield from _take(total, step)
    yield from _those_that_fit(total, held)


def _those_that_fit(total: Total, held: deque[_Waiting]) -> Iterator[Untrue]:
    while (found := next((each for each in held if _fits(total, each.step)), None)) is not None:
        held.remove(found)
        yield from _take(total, found.step)


def _fits(total: Total, step: _Stored) -> bool:
    before = total.at(step.at_us)
    return step.before in (None, before) and (
        step.most is None or before + step.change <= step.most
    )


def _take(total: Total, step: _Stored) -> Iterator[Untrue]:
    before = total.at(step.at_us)
    total.add(step.at_us, step.grant_id, step.change, json.loads(step.moved))
    after = total.at(step.at_us)
    if step.before == before and step.after is not None and step.after != after:
        yield step.untrue("after", step.after, after)


def _row(step: Step) -> tuple[object, ...]:
    counter, said = step.counter, step.said
    return (
        hashed(counter.described),
        counter.period_us,
        micros(step.at),
        None if counter.rolls is None else counter.rolls // timedelta(microseconds=1),
        counter.counts,
        step.change,
        json.dumps([(micros(at), amount) for at, amount in step.moved]),
        None if said is None else said.before,
        None if said is None else said.after,
        step.most,
        step.what if said is None else said.what,
        step.grant_id,
        step.record_id,
        step.index,
    )
