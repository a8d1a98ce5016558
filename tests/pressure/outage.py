"""A PostgreSQL that nobody else uses: it can be stopped, and made to hang."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests import postgres


class OwnPostgres:
    """One database of a cluster of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cluster = postgres.PostgresCluster(folder)
        # What is acknowledged is kept also when the server crashes.
        self._cluster._admin.execute("ALTER SYSTEM SET synchronous_commit = on")
        self._cluster._admin.execute("SELECT pg_reload_conf()")
        self.url = self._cluster.url(self._cluster.create())
        self._cluster.close()
        self._stopped: list[int] = []

    def stop(self) -> None:
        """Ends it in order, with every connection cut."""
        postmaster = self._postmaster
        os.kill(postmaster, signal.SIGINT)
        give_up_at = time.monotonic() + 30
        with suppress(ProcessLookupError):
            while True:
                os.kill(postmaster, 0)
                assert time.monotonic() < give_up_at
                time.sleep(0.02)

    def start(self) -> None:
        self._cluster._server.ensure_postgres_running()

    def hang(self) -> None:
        """It keeps its connections and takes new ones, and says nothing any more."""
        postmaster = self._postmaster
        os.kill(postmaster, signal.SIGSTOP)
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        self._stopped = [postmaster, *map(int, children)]
        for process in self._stopped[1:]:
            os.kill(process, signal.SIGSTOP)

    def go_on(self) -> None:
        for process in self._stopped:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)
        self._stopped = []

    @property
    def _postmaster(self) -> int:
        file = self._folder / postgres.DATA / "postmaster.pid"
        return int(file.read_text().splitlines()[0])


@contextmanager
def own_postgres() -> Iterator[OwnPostgres]:
    folder = postgres.new_folder()
    try:
        own = OwnPostgres(folder)
        try:
            yield own
        finally:
            own.go_on()
    finally:
        postgres.remove(folder)
