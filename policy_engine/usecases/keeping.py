"""Keeps the log: gives waiting records their places, watches that nothing is taken back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import structlog

from policy_engine.ledger.errors import LedgerError, TamperedError, UntrustedLogError
from policy_engine.ledger.ledger import Ledger
from policy_engine.ledger.log.notes import SigningKey
from policy_engine.ledger.log.outside import CheckpointFile, CheckpointFileError
from policy_engine.ledger.log.sequencer import BATCH, Sequencer

_PASSES_A_ROUND: Final = 20

log = structlog.stdlib.get_logger("policy_engine")


@dataclass(frozen=True, slots=True)
class LogState:
    """How the log stands, as this process sees it; for metrics."""

    size: int = 0
    waiting: int = 0
    delay: timedelta = timedelta(0)
    sequenced: int = 0
    """Records that this process has given a place since it started."""
    refused: bool = False


class LogKeeper:
    """A thread that goes round at least as often as `every`.

    Any number of processes may keep one log: whoever comes first does what waits. Each appends
    the checkpoints that it sees to its own file, and lets nothing be written (`Ledger` raises
    UntrustedLogError) while the database doesn't hold what the last of them says.
    """

    def __init__(
        self,
        ledger: Ledger,
        key: Callable[[], SigningKey],
        file: CheckpointFile | None,
        every: timedelta,
        told: Callable[[LogState], None] = lambda _state: None,
    ) -> None:
        self._ledger = ledger
        self._key = key
        self._file = file
        self._every = every
        self._tell = told
        self._held: str | None = None
        self._sequencer: Sequencer | None = None
        self._state = LogState()
        self._trouble: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="log-keeper", daemon=True)

    def start(self) -> None:
        """Look once, before anything is written, and keep looking. Call it after a fork.

        Raises CheckpointFileError where the file can't be read: nobody knows what it would say.
        """
        if self._file is not None:
            self._held = self._file.last()
        self.go_round()
        self._thread.start()

    def stop(self) -> None:
        """Ends after one more round, so that what was acknowledged is in the log."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def go_round(self) -> None:
        """Watch, sequence what waits, and hold on to the checkpoint; no failure ends it."""
        try:
            self._watch()
            self._sequence()
            self._watch()
            self._troubled(None)
        except (UntrustedLogError, TamperedError) as error:
            self._refuse(str(error))
        except LedgerError as error:
            self._troubled(str(error))
        except Exception as error:  # noqa: BLE001 -- a keeper that dies would stop the log
            self._troubled(type(error).__qualname__)
        self._report()

    def _keep(self) -> None:
        while not self._stop.wait(self._every.total_seconds()):
            self.go_round()
        self.go_round()

    def _watch(self) -> None:
        """UntrustedLogError unless the log goes on from the last checkpoint that was seen."""
        latest = self._ledger.log.witness(self._held)
        if self._ledger.log.refusal is not None:
            self._ledger.log.refuse_writing(None)
            log.info("the log can be trusted again")
        if latest is not None and latest.note != self._held:
            self._hold(latest.note)

    def _hold(self, note: str) -> None:
        if self._file is not None:
            try:
                self._file.append(note)
            except CheckpointFileError as error:
                self._troubled(str(error))
        self._held = note

    def _sequence(self) -> None:
        if self._sequencer is None:
            self._sequencer = self._ledger.log.sequencer(self._key())
        for _ in range(_PASSES_A_ROUND):
            moved = self._sequencer.run_once().moved
            self._state = replace(self._state, sequenced=self._state.sequenced + moved)
            if moved < BATCH:
                return

    def _troubled(self, because: str | None) -> None:
        """Say it once, not every round."""
        if because is not None and because != self._trouble:
            log.error("the log can't be kept", because=because)
        self._trouble = because

    def _refuse(self, because: str) -> None:
        if self._ledger.log.refusal != because:
            log.error("nothing is written on this database", because=because)
        self._ledger.log.refuse_writing(because)

    def _report(self) -> None:
        refused = self._ledger.log.refusal is not None
        try:
            now = self._ledger.log.status()
        except LedgerError:
            self._state = replace(self._state, refused=refused)
        else:
            self._state = LogState(now.size, now.waiting, now.delay, self._state.sequenced, refused)
        self._tell(self._state)
