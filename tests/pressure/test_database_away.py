"""The database goes away, or hangs: callers are told at once, and served when it is back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.api.serving import Server
from tests.pressure import trials
from tests.pressure.outage import OwnPostgres, own_postgres

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


@pytest.fixture(scope="module")
def database() -> Iterator[OwnPostgres]:
    with own_postgres() as own:
        yield own


@pytest.mark.parametrize("how", ["stopped", "hung"])
def test_without_its_database_it_says_so_at_once_and_serves_again_by_itself(
    database: OwnPostgres, free_port: Callable[[], int], tmp_path: Path, how: str
) -> None:
    variables = {"DATABASE_TIMEOUT": "PT1S", "DRAIN": "PT0S"}
    with Server(database.url, free_port(), tmp_path, variables=variables) as server:
        found = trials.database_away(server, database, how, away_seconds=7, timeout_seconds=1)
    assert found["back after, s"] < 15
