"""What every test may ask for: databases of both kinds, the shared cases, a free port."""

import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests import postgres

ROOT = Path(__file__).resolve().parent.parent
# Tells the workers of a parallel run where its one PostgreSQL cluster lies. No setting of the
# service: those begin with POLICY_ENGINE_, and one that it does not know is an error to it.
CLUSTER_FOLDER = "PYTEST_CLUSTER_FOLDER"

# How long an example takes says more about what else the machine does than about the code.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        os.environ[CLUSTER_FOLDER] = str(postgres.new_folder())


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
        if {"postgres_cluster", "postgres_url"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.postgres)


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[postgres.PostgresCluster]:
    """The run's PostgreSQL. Where it can't start, its tests fail: they are never skipped."""
    cluster = postgres.PostgresCluster(Path(os.environ[CLUSTER_FOLDER]))
    yield cluster
    cluster.close()


@pytest.fixture
def postgres_url(postgres_cluster: postgres.PostgresCluster) -> Iterator[str]:
    """An empty PostgreSQL database of the test's own."""
    name = postgres_cluster.create()
    yield postgres_cluster.url(name)
    postgres_cluster.drop(name)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """An SQLite database of the test's own, not created yet."""
    return f"sqlite:///{tmp_path / 'policy-engine.db'}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database of each kind in turn, so that one test shows both."""
    kind = "sqlite_url" if request.param == "sqlite" else "postgres_url"
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
