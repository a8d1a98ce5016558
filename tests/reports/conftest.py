"""A small quarter in each database, with every state in it that a grant can be in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from bench.demo import fill
from policy_engine import bootstrap
from policy_engine.settings import Settings
from policy_engine.usecases.exporting import Export, begin
from policy_engine.usecases.services import Services
from tests import postgres
from tests.ready import SECRET

ORDERS = 90
BEGIN = datetime(2026, 4, 1, tzinfo=UTC)
END = datetime(2026, 7, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Quarter:
    """The services over the quarter, and its database for whoever reads SQL."""

    services: Services
    url: str

    def rows(self, query: str) -> list[tuple[object, ...]]:
        engine = create_engine(self.url)
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(text(query))]
        finally:
            engine.dispose()

    def export(self, since: datetime = BEGIN, until: datetime = END) -> Export:
        with keeping(self.services):
            return begin(self.services, since=since, until=until, output="jsonl", by="tests")


class keeping:  # noqa: N801 -- reads as a word
    """Meanwhile records get their places in the log."""

    def __init__(self, services: Services) -> None:
        self._keeper = bootstrap.log_keeper(services.settings, services.ledger)

    def __enter__(self) -> None:
        self._keeper.start()

    def __exit__(self, *_: object) -> None:
        self._keeper.stop()


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]
)
def quarter(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Quarter]:
    """The quarter, filled once a module: nobody changes what is in it."""
    folder = tmp_path_factory.mktemp("quarter")
    with _database(request, folder) as url:
        settings = Settings(database_url=url, secret_key=SECRET, database_pool_size=4)
        services = bootstrap.build(settings)
        services.ledger.upgrade()
        fill(services, ORDERS)
        services.ledger.close()
        services.packs.close()
        opened = bootstrap.build(settings)
        yield Quarter(opened, url)
        opened.packs.close()
        opened.ledger.close()


class _database:  # noqa: N801 -- reads as a word
    def __init__(self, request: pytest.FixtureRequest, folder: Path) -> None:
        self._folder = folder
        self._close: Callable[[], None] = lambda: None
        self._cluster: postgres.PostgresCluster | None = None
        if request.param == "postgresql":
            self._cluster = request.getfixturevalue("postgres_cluster")

    def __enter__(self) -> str:
        cluster = self._cluster
        if cluster is None:
            return f"sqlite:///{self._folder / 'policy-engine.db'}"
        name = cluster.create()
        self._close = lambda: cluster.drop(name)
        return cluster.url(name)

    def __exit__(self, *_: object) -> None:
        self._close()
