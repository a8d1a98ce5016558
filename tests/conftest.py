"""What every test may ask for: databases of both kinds, the shared cases, a free port."""

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests import postgres, ready

ROOT = Path(__file__).resolve().parent.parent
# Tells the workers of a parallel run where its one PostgreSQL cluster lies. No setting of the
# service: those begin with POLICY_ENGINE_, and one that it does not know is an error to it.
CLUSTER_FOLDER = "PYTEST_CLUSTER_FOLDER"
MEMORY = Path("/dev/shm")
MEMORY_BYTES = 2 * 1024**3
"""Four times what a run takes at most."""
BOTH = ("sqlite", pytest.param("postgresql", marks=pytest.mark.postgres))

# How long an example takes says more about what else the machine does than about the code.
# A machine that is busy with other things says nothing about a property.
hypothesis.settings.register_profile(
    "house", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("house")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        if "not stress" in config.option.markexpr:
            keep_files_in_memory()
        os.environ[CLUSTER_FOLDER] = str(postgres.new_folder())


def keep_files_in_memory() -> None:
    """Where there is room, no test waits for a disk: what they prove holds on any file system, and
    none can take the power away. Long runs, whose figures are quoted, stay on the disk."""
    if "TMPDIR" in os.environ or not MEMORY.is_dir():
        return
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES:
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        postgres.remove(Path(os.environ.pop(CLUSTER_FOLDER)))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # durable_rules imports on no Python from 3.13 on; there the interpreter is what is tested.
    boxed = [item for item in items if item.get_closest_marker("rete")]
    if sys.version_info >= (3, 13):
        config.hook.pytest_deselected(items=boxed)
        items[:] = [item for item in items if item not in boxed]
    for item in items:
        if "postgres_cluster" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.postgres)


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[postgres.PostgresCluster]:
    """The run's PostgreSQL. Where it can't start, its tests fail: they are never skipped."""
    cluster = postgres.PostgresCluster(Path(os.environ[CLUSTER_FOLDER]))
    yield cluster
    cluster.close()


@pytest.fixture(scope="session")
def templates() -> Iterator[ready.Templates]:
    """What databases with the schema of this release are copied from."""
    found = ready.Templates()
    yield found
    found.close()


@pytest.fixture
def postgres_url(
    postgres_cluster: postgres.PostgresCluster, templates: ready.Templates
) -> Iterator[str]:
    """A PostgreSQL database of the test's own: the schema, under `ready.SECRET`, and no more."""
    name = templates.postgres(postgres_cluster)
    yield postgres_cluster.url(name)
    postgres_cluster.drop(name)


@pytest.fixture
def sqlite_url(tmp_path: Path, templates: ready.Templates) -> str:
    """The same in SQLite."""
    return templates.sqlite(tmp_path / "policy-engine.db")


@pytest.fixture(params=BOTH)
def database_url(request: pytest.FixtureRequest) -> str:
    """A database of each kind in turn, so that one test shows both."""
    kind = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    url: str = request.getfixturevalue(kind)
    return url


@pytest.fixture
def empty_postgres_url(postgres_cluster: postgres.PostgresCluster) -> Iterator[str]:
    """An empty PostgreSQL database, for what migrations do and for an instance of its own."""
    name = postgres_cluster.create()
    yield postgres_cluster.url(name)
    postgres_cluster.drop(name)


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    """An SQLite database that is not created yet."""
    return f"sqlite:///{tmp_path / 'empty.db'}"


@pytest.fixture(params=BOTH)
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """An empty database of each kind in turn."""
    kind = "empty_sqlite_url" if request.param == "sqlite" else "empty_postgres_url"
    url: str = request.getfixturevalue(kind)
    return url


@pytest.fixture(scope="session")
def shared() -> Path | None:
    """The golden cases and real orders beside a maintainer's clone, where there are any."""
    folder = ROOT.parent / "shared"
    return folder if folder.is_dir() else None


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Picks a loopback port that nothing listens on right now."""

    def pick() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    return pick
