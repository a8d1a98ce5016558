"""Writes down what has run out when nobody looks, and throws away answers kept long enough."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Final

import structlog

from policy_engine.ledger.errors import LedgerError
from policy_engine.packs.holder import NoPackError
from policy_engine.usecases.due import AT_ONCE, settle_due
from policy_engine.usecases.services import Services

EVERY: Final = timedelta(seconds=5)
_BATCHES: Final = 10
"""So many at most a round, so that what people ask for is never kept waiting for long."""
_ROUNDS_BETWEEN_ANSWERS: Final = 120

log = structlog.stdlib.get_logger("policy_engine")


class Sweeper:
    """A thread that goes round every few seconds.

    Every process may have one: a grant is settled under its lock, and whoever comes second finds
    that nothing is due any more. Call `start` after a worker was forked.
    """

    def __init__(self, services: Services, every: timedelta = EVERY) -> None:
        self._services = services
        self._every = every
        self._rounds = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="sweeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def go_round(self) -> int:
        """One round; returns how many grants it settled. No failure ends it."""
        settled = 0
        try:
            for _ in range(_BATCHES):
                batch = settle_due(self._services, AT_ONCE)
                settled += batch
                if batch < AT_ONCE or self._stop.is_set():
                    break
            if self._rounds % _ROUNDS_BETWEEN_ANSWERS == 0:
                self._services.ledger.sweep(self._services.settings.idempotency_kept_for)
        except (LedgerError, NoPackError) as error:
            log.warning("what has run out can't be written down", because=str(error))
        except Exception as error:  # noqa: BLE001 -- a sweeper that dies would leave caps held
            log.error("sweeping failed", error=type(error).__qualname__)  # noqa: TRY400
        self._rounds += 1
        return settled

    def _keep(self) -> None:
        while not self._stop.wait(self._every.total_seconds()):
            self.go_round()
