"""Keeps a process on the active pack: the database's pointer, and in development a folder."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import structlog
from watchfiles import watch

from policy_engine.ledger.errors import LedgerError
from policy_engine.packs.files import PackFilesError
from policy_engine.packs.holder import PackState
from policy_engine.usecases import packs
from policy_engine.usecases.services import Services

_BY_FOLDER = "folder"

log = structlog.stdlib.get_logger("policy_engine")


class PackFollower:
    """A thread that polls the pointer, and one that watches the folder if there is one.

    `told` gets the state at the start and after every change of it. Call `start` after a worker
    was forked.
    """

    def __init__(
        self,
        services: Services,
        every: timedelta,
        told: Callable[[PackState], None],
        folder: Path | None = None,
    ) -> None:
        self._services = services
        self._every = every
        self._tell = told
        self._folder = folder
        self._shown: PackState | None = None
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Take the active pack now, if it can be had, and keep following."""
        self._follow()
        # Also of a pack that this process itself had made the active one before.
        self._show()
        if self._folder is not None:
            self._take_folder(self._folder)
            self._begin("pack-folder", self._watch)
        self._begin("pack-follower", self._poll)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def _begin(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _poll(self) -> None:
        while not self._stop.wait(self._every.total_seconds()):
            self._follow()
            # Also of a candidate that was refused over HTTP, which changes nothing else.
            self._show()

    def _watch(self) -> None:
        assert self._folder is not None
        changes = watch(
            self._folder,
            stop_event=self._stop,
            raise_interrupt=False,
            ignore_permission_denied=True,
        )
        for _ in changes:
            self._take_folder(self._folder)

    def _follow(self) -> None:
        try:
            changed = packs.follow(self._services)
        except LedgerError as error:
            log.warning("the active pack can't be looked up", because=str(error))
            return
        except Exception as error:  # noqa: BLE001 -- a follower that dies would freeze the pack
            # Without the traceback: it could show what is in the pack, or in the database's URL.
            log.error("following the active pack failed", error=type(error).__qualname__)  # noqa: TRY400
            return
        if changed:
            self._changed()

    def _take_folder(self, folder: Path) -> None:
        try:
            activated = packs.activate_folder(self._services, folder, by=_BY_FOLDER)
        except packs.PackRefusedError as error:
            self._show()
            log.error(  # noqa: TRY400 -- the problems say it all
                "pack refused, the last good one stays",
                revision=error.revision,
                problems=[str(each) for each in error.problems[:20]],
            )
            return
        except (LedgerError, PackFilesError, OSError) as error:
            log.error("the folder's pack can't be taken", because=str(error))  # noqa: TRY400
            return
        if activated is not None:
            self._changed()

    def _changed(self) -> None:
        self._show()
        state = self._services.packs.state
        if state.blocked is None:
            log.info("pack in use", revision=state.revision)
        else:
            log.error("pack blocked", because=state.blocked)

    def _show(self) -> None:
        state = self._services.packs.state
        if state != self._shown:
            self._shown = state
            self._tell(state)
