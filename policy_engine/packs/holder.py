"""The pack in use with its engine: swapped atomically, and closed when nobody uses it any more.

A network of the Rete matcher must not be closed while another thread asks it, so whoever
evaluates borrows the pack, and the last to give it back closes what was swapped out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from policy_engine.core.evaluation import Engine
from policy_engine.core.policy import Pack


class NoPackError(Exception):
    """Nothing can be decided: no pack is active, or the active one can't be used here."""


@dataclass(frozen=True, slots=True)
class PackState:
    """What readiness, metrics and log tell about the pack of this process."""

    revision: str | None = None
    active_since: datetime | None = None
    blocked: str | None = None
    """Why nothing is decided; None: `revision` decides."""
    refused_revision: str | None = None
    """The candidate refused last; None when nothing was refused since the last swap."""
    refused_at: datetime | None = None
    refused_because: str | None = None
    failures: int = 0
    """Candidates refused since the process started."""


@dataclass(slots=True)
class _Held:
    pack: Pack
    engine: Engine
    borrowers: int = 0
    retired: bool = field(default=False)


class ActivePack:
    """Holds one pack; every method is safe to call from several threads."""

    def __init__(self, make_engine: Callable[[Pack], Engine]) -> None:
        self._make_engine = make_engine
        self._lock = threading.Lock()
        self._held: _Held | None = None
        self._state = PackState()
        self.changing = threading.Lock()
        """Held by whoever compares the pack with the one it should be, until it is that one."""

    @property
    def state(self) -> PackState:
        return self._state

    @property
    def revision(self) -> str | None:
        """The revision held, blocked or not; None before the first one."""
        return self._state.revision

    def swap(self, pack: Pack, at: datetime) -> None:
        """Make `pack` the one in use. When its engine can't be built, nothing changes."""
        fresh = _Held(pack, self._make_engine(pack))
        with self._lock:
            before, self._held = self._held, fresh
            self._state = PackState(
                revision=pack.revision, active_since=at, failures=self._state.failures
            )
        if before is not None:
            self._retire(before)

    def refuse(self, revision: str | None, because: str, at: datetime) -> None:
        """A candidate was bad: the pack in use stays, and the state says what was refused."""
        with self._lock:
            self._state = replace(
                self._state,
                refused_revision=revision,
                refused_because=because,
                refused_at=at,
                failures=self._state.failures + 1,
            )

    def block(self, because: str) -> None:
        """The active revision can't be used here: decide nothing until the next swap."""
        with self._lock:
            if self._state.blocked is None:
                self._state = replace(
                    self._state, blocked=because, failures=self._state.failures + 1
                )

    def unblock(self) -> None:
        """The revision held is the active one again."""
        with self._lock:
            self._state = replace(self._state, blocked=None)

    @contextmanager
    def use(self) -> Iterator[tuple[Pack, Engine]]:
        """Borrow the pack and its engine; NoPackError when nothing may be decided."""
        with self._lock:
            held = self._held
            if held is None:
                raise NoPackError(self._state.blocked or "no pack is active yet")
            if self._state.blocked is not None:
                raise NoPackError(self._state.blocked)
            held.borrowers += 1
        try:
            yield held.pack, held.engine
        finally:
            self._give_back(held)

    def close(self) -> None:
        """Give the pack up; nothing can be decided afterwards."""
        with self._lock:
            before, self._held = self._held, None
            self._state = replace(self._state, blocked="the service is stopping")
        if before is not None:
            self._retire(before)

    def _retire(self, held: _Held) -> None:
        with self._lock:
            held.retired = True
            last = held.borrowers == 0
        if last:
            held.engine.close()

    def _give_back(self, held: _Held) -> None:
        with self._lock:
            held.borrowers -= 1
            last = held.retired and held.borrowers == 0
        if last:
            held.engine.close()
