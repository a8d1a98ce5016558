"""What each caller may ask for in a while: allowances in memory that all workers of a node share.

An allowance fills up steadily and every call takes from it, so a caller may come in bursts and
keeps to the rate in the long run (the generic cell rate algorithm). All that is kept is the
instant at which it will be full again: eight bytes, under a lock that a killed worker lets go.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import secrets
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from tempfile import TemporaryFile
from time import monotonic, sleep
from typing import Final

BURST_SECONDS: Final = 10.0
"""An allowance holds what comes in in this time."""
_SLOTS: Final = 1 << 16
_BYTES: Final = 8
_WAITS_SECONDS: Final = (0.0, 0.0001, 0.001, 0.004, 0.015, 0.03, 0.05)
"""For another worker that counts in the same slot. It takes microseconds, unless it has just lost
the processor, or was stopped for good."""
_ROUNDING_SECONDS: Final = 1e-6
"""Less than this is what adding up floats leaves over."""


class Allowances:
    """An allowance for every name: `a_second` units come in each second; 0: without limit.

    Make it before workers are forked. Names are put into a fixed number of slots by a hash
    that nobody outside can foresee, so no number of names takes more memory; two names that meet
    in a slot share an allowance. Workers lock a slot against each other by a record lock on an
    empty file: the kernel lets go of what a killed worker held.
    """

    def __init__(self, a_second: int, seconds: Callable[[], float] = monotonic) -> None:
        self._a_second = a_second
        self._seconds = seconds  # of a clock that all processes of the machine share
        self._key = secrets.token_bytes(16)
        self._lock = threading.Lock()  # record locks are a process's own, whichever thread asks
        self._locks = TemporaryFile()  # noqa: SIM115 (open as long as this object is)
        weakref.finalize(self, self._locks.close)
        self._full_at = memoryview(mmap.mmap(-1, _SLOTS * _BYTES)).cast("d")
        self._slot = lru_cache(maxsize=1024)(self._slot_of)

    def wait_seconds(self, name: str) -> float:
        """How long until something is there; 0 when something is."""
        if not self._a_second:
            return 0.0
        return self._wait(self._full_at[self._slot(name)], self._seconds())

    def take(self, name: str, units: int = 1) -> float:
        """Takes so many units and returns 0; or takes none, and returns for how many seconds
        nothing will be there. One that isn't empty may be overdrawn: whoever asks for much at
        once gets it, and waits all the longer."""
        if not self._a_second:
            return 0.0
        slot = self._slot(name)
        # Whoever has nothing left is told without a lock: that is most calls of a flood.
        if wait := self._wait(self._full_at[slot], self._seconds()):
            return wait
        with self._locked(slot):
            now, full_at = self._seconds(), self._full_at[slot]
            wait = self._wait(full_at, now)
            if not wait:
                self._full_at[slot] = max(full_at, now) + units / self._a_second
        return wait

    def overdraw(self, name: str, units: int) -> None:
        """Takes so many units, whether they are there or not."""
        if self._a_second:
            slot = self._slot(name)
            with self._locked(slot):
                self._full_at[slot] = (
                    max(self._full_at[slot], self._seconds()) + units / self._a_second
                )

    @contextmanager
    def _locked(self, slot: int) -> Iterator[None]:
        with self._lock:
            held = self._held(slot)
            try:
                yield
            finally:
                if held:
                    fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, slot)

    def _held(self, slot: int) -> bool:
        """False where another worker doesn't let go, or the system has no such locks: then it is
        counted all the same, at worst too little."""
        for wait in _WAITS_SECONDS:
            try:
                fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
            except BlockingIOError:
                sleep(wait)
            except OSError:
                break
            else:
                return True
        return False

    def _wait(self, full_at: float, now: float) -> float:
        wait = full_at - now - (BURST_SECONDS - 1 / self._a_second)
        return wait if wait > _ROUNDING_SECONDS else 0.0

    def _slot_of(self, name: str) -> int:
        digest = hashlib.blake2b(name.encode(errors="replace"), key=self._key, digest_size=8)
        return int.from_bytes(digest.digest()) % _SLOTS
