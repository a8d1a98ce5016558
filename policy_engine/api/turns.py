"""Turns: so many at work at once, so many waiting behind them, nobody for long."""

from __future__ import annotations

from collections import deque
from threading import Lock
from time import monotonic

_LATEST_COUNTS = 0.05
"""How much the latest end changes the pace: about twenty are looked back upon."""


class Turns:
    """Whoever comes takes a turn, waits for one, or is refused at once.

    Refused is who would wait in vain: the queue is full, or at the pace of late it holds more
    than can be served in the time that one may wait, or nobody has come to an end for so long.
    Turns go to those who wait in the order they came.
    """

    def __init__(self, working: int, waiting: int, patience_seconds: float) -> None:
        self._free = self._working_at_most = working
        self._waiting_at_most = waiting
        self._patience_seconds = patience_seconds
        self._lock = Lock()
        self._waiting: deque[Lock] = deque()
        self._moved_at = monotonic()
        self._pace_seconds = 0.0
        """From one end to the next while somebody waits: a moving average."""

    @property
    def working(self) -> int:
        return self._working_at_most - self._free

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def take(self) -> bool:
        """True: it is the caller's turn, to be given back. False: refused."""
        with self._lock:
            if self._free:
                self._free -= 1
                self._moved_at = monotonic()
                return True
            if self._would_be_in_vain():
                return False
            turn = Lock()
            turn.acquire()
            self._waiting.append(turn)
        if turn.acquire(timeout=self._patience_seconds):
            return True
        with self._lock:
            if turn not in self._waiting:
                return True  # it came at the last moment
            self._waiting.remove(turn)
            return False

    def give_back(self) -> None:
        """To whoever waits longest, or to the next who comes."""
        with self._lock:
            before, self._moved_at = self._moved_at, monotonic()
            if self._waiting:
                took = self._moved_at - before
                self._pace_seconds += (took - self._pace_seconds) * _LATEST_COUNTS
                self._waiting.popleft().release()
            else:
                self._free += 1

    def _would_be_in_vain(self) -> bool:
        waiting = len(self._waiting)
        return (
            waiting >= self._waiting_at_most
            or waiting * self._pace_seconds > self._patience_seconds
            or monotonic() - self._moved_at > self._patience_seconds
        )
