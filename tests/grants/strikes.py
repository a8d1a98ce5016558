"""What is struck down in the trials besides server processes: PostgreSQL, and the disk."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests import postgres
from tests.grants.fleet import Fleet

Strike = Callable[[int], str]

_FELT = 4
"""So many calls have to be refused before a disk counts as having been full."""
_ROOM = 64 * 1024
_BLOCK = b"\0" * 4096


@contextmanager
def own_postgres() -> Iterator[tuple[str, Strike]]:
    """(URL, how to restart it): a PostgreSQL that nobody else uses, and that keeps what it has
    acknowledged when it crashes."""
    folder = postgres.new_folder()
    try:
        cluster = postgres.PostgresCluster(folder)
        # Of a crash of the server alone, what was written but not flushed survives.
        cluster._admin.execute("ALTER SYSTEM SET synchronous_commit = on")
        cluster._admin.execute("SELECT pg_reload_conf()")
        url = cluster.url(cluster.create())
        cluster.close()
        yield url, lambda number: _restart(cluster, folder, crash=number % 2 == 0)
    finally:
        postgres.remove(folder)


def _restart(cluster: postgres.PostgresCluster, folder: Path, *, crash: bool) -> str:
    """As after a crash, or in order with every connection cut; returns which it was."""
    running = folder / postgres.DATA / "postmaster.pid"
    postmaster = int(running.read_text().splitlines()[0])
    os.kill(postmaster, signal.SIGQUIT if crash else signal.SIGINT)
    give_up_at = time.monotonic() + 30
    with suppress(ProcessLookupError):
        while time.monotonic() < give_up_at:
            os.kill(postmaster, 0)
            time.sleep(0.02)
    cluster._server.ensure_postgres_running()
    return "crash" if crash else "shutdown"


class FullDisk:
    """Fills a disk until those who write on it have felt it, and makes room again."""

    def __init__(self, fill: Callable[[], None], free: Callable[[], None]) -> None:
        self._fill = fill
        self._free = free

    def strike(self, fleet: Fleet) -> str:
        before, give_up_at = fleet.refusals.total(), time.monotonic() + 60
        self._fill()
        try:
            # What was written ahead may have left room in the database's files; that goes first.
            while fleet.refusals.total() < before + _FELT:
                assert time.monotonic() < give_up_at, "the disk was never full"
                time.sleep(0.02)
        finally:
            self._free()
        return "full"


@contextmanager
def small_disk(folder: Path) -> Iterator[FullDisk]:
    """A disk of 96 MiB at `folder`, which only root may mount. PermissionError."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        raise PermissionError("mounting a small disk takes root")
    ballast = folder / "ballast"

    def fill() -> None:
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(_BLOCK)

    try:
        yield FullDisk(fill, ballast.unlink)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def limited_files(fleet: Fleet, database: Path) -> FullDisk:
    """As good as a full disk, for everybody: no file of the servers may grow beyond what the
    database has written ahead."""
    ahead = database.with_name(f"{database.name}-wal")

    def limit(most: Callable[[], int]) -> Callable[[], None]:
        def change() -> None:
            for server in fleet.servers:
                for process in server.workers():
                    _, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
                    resource.prlimit(process, resource.RLIMIT_FSIZE, (most(), hard))

        return change

    return FullDisk(
        limit(lambda: max(_ROOM, ahead.stat().st_size)), limit(lambda: resource.RLIM_INFINITY)
    )
