"""Gauges of what a worker finds when it looks: its pack, the log, the database's load."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Final

from policy_engine.api import metrics
from policy_engine.api.turns import Turns
from policy_engine.ledger.ledger import Ledger
from policy_engine.packs.holder import PackState
from policy_engine.usecases.keeping import LogState

EVERY: Final = timedelta(seconds=1)


class PackGauges:
    """Keeps the gauges at what the pack's state says; called after each change."""

    def __init__(self) -> None:
        self._shown: str | None = None
        self._failures = 0

    def show(self, state: PackState) -> None:
        if self._shown not in (None, state.revision):
            metrics.PACK_INFO.labels(self._shown).set(0)
        if state.revision is not None:
            metrics.PACK_INFO.labels(state.revision).set(1)
            self._shown = state.revision
        if state.active_since is not None:
            metrics.PACK_ACTIVE_SINCE.set(state.active_since.timestamp())
        metrics.PACK_BLOCKED.set(0 if state.blocked is None else 1)
        metrics.PACK_REFUSED.inc(state.failures - self._failures)
        self._failures = state.failures


class LogGauges:
    """Keeps the gauges at how the log stands; called after each look at it."""

    def __init__(self) -> None:
        self._sequenced = 0

    def show(self, state: LogState) -> None:
        metrics.LOG_SIZE.set(state.size)
        metrics.LOG_WAITING.set(state.waiting)
        metrics.LOG_DELAY.set(state.delay.total_seconds())
        metrics.LOG_UNTRUSTED.set(1 if state.refused else 0)
        metrics.LOG_SEQUENCED.inc(state.sequenced - self._sequenced)
        self._sequenced = state.sequenced


class LoadGauges:
    """A thread that shows how full the pool and the queue are.

    It asks the database nothing, so neither a full pool nor a database that hangs can keep it
    from saying so. Call `start` after a fork.
    """

    def __init__(self, ledger: Ledger, turns: Turns, every: timedelta = EVERY) -> None:
        self._ledger = ledger
        self._turns = turns
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="load-gauges", daemon=True)

    def start(self) -> None:
        self.show()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def show(self) -> None:
        load = self._ledger.load()
        metrics.CONNECTIONS_IN_USE.set(load.connections)
        metrics.CONNECTIONS_LIMIT.set(load.connections_limit)
        metrics.DATABASE_CALLS.set(load.calls)
        metrics.WORKING.set(self._turns.working)
        metrics.WAITING.set(self._turns.waiting)

    def _keep(self) -> None:
        while not self._stop.wait(self._every.total_seconds()):
            self.show()
