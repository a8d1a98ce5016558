"""A database server that stops answering: nobody waits for it longer than for a slow one.

The time-outs that the server is given don't hold when the server hangs, or the network swallows
what is sent. So the connections of this module count the time themselves.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout
from sqlalchemy import Engine, event

from policy_engine.ledger.errors import UnavailableError

T = TypeVar("T")


class Presence:
    """Does the server answer? Once it doesn't, one call at a time finds out whether it does
    again, and all others are refused without waiting."""

    def __init__(self) -> None:
        self._away = False
        self._trial = threading.RLock()  # a call may ask within a call

    def lost(self) -> None:
        """It can't be reached, or says nothing."""
        self._away = True

    @contextmanager
    def needed(self) -> Iterator[None]:
        """UnavailableError at once while the server is away and another call tries already."""
        if not self._away:
            yield
            return
        if not self._trial.acquire(blocking=False):
            raise UnavailableError("the database doesn't answer")
        try:
            yield
        except UnavailableError:
            raise
        except BaseException:
            self._away = False  # whatever went wrong, it has answered
            raise
        else:
            self._away = False
        finally:
            self._trial.release()


def watch(engine: Engine, presence: Presence, patience_seconds: float) -> None:
    """From now on the engine's connections end a wait after so many seconds, and `presence` is
    told of that and of every attempt to connect that fails."""

    class Connection(psycopg.Connection[Any]):
        def wait(
            self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = patience_seconds
        ) -> T:
            try:
                return super().wait(gen, interval, timeout)
            except _WaitTimeout:
                presence.lost()
                # What comes now could be the answer to anything; nobody may read it.
                self.pgconn.finish()
                raise

    def connect(_dialect: object, _record: object, words: Any, named: Any) -> Connection:
        try:
            return Connection.connect(*words, **named)
        except psycopg.OperationalError:
            presence.lost()
            raise

    event.listen(engine, "do_connect", connect)
