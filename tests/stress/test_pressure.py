"""The service under pressure, long: the flood, the outages, the nodes. tests/pressure is the short
version. The figures are printed; docs/operations.md has those of one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.serving import Server
from tests.pressure import trials
from tests.pressure.outage import OwnPostgres, own_postgres
from tests.pressure.proxy import KINDS

pytestmark = [pytest.mark.stress, pytest.mark.timeout(1800)]

Tell = Callable[[str, Any], None]


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    def say(what: str, found: Any) -> None:
        with capsys.disabled():
            print(f"\n{what}: {found}")  # noqa: T201 - the figures of a long run are its result

    return say


@pytest.fixture(scope="module")
def database() -> Iterator[OwnPostgres]:
    with own_postgres() as own:
        yield own


def test_at_five_times_the_sustainable_load_goodput_stays_above_80_percent(
    database_url: str, free_port: Callable[[], int], tmp_path: Path, tell: Tell
) -> None:
    with Server(database_url, free_port(), tmp_path) as server:
        found = trials.overloaded(server, seconds=8, times=(1, 2, 5), rounds=3)
    tell(f"overload, {database_url.partition(':')[0]}", found)
    assert found["5 x"]["goodput, part of the most seen in its round"] > 0.8


@pytest.mark.parametrize("how", ["stopped", "hung"])
def test_the_database_is_away_for_30_seconds(
    database: OwnPostgres, free_port: Callable[[], int], tmp_path: Path, tell: Tell, how: str
) -> None:
    with Server(database.url, free_port(), tmp_path, workers=2) as server:
        found = trials.database_away(server, database, how, away_seconds=30, timeout_seconds=5)
    tell(f"database {how}", found)
    assert found["back after, s"] < 15


def test_a_node_stops_in_time_though_its_database_hangs(
    database: OwnPostgres, free_port: Callable[[], int], tmp_path: Path, tell: Tell
) -> None:
    with Server(database.url, free_port(), tmp_path) as server:
        tell("stopped without its database, s", trials.stops_without_database(server, database))


@pytest.mark.parametrize("kind", KINDS)
def test_nodes_are_stopped_and_killed_again_and_again(
    kind: str, postgres_url: str, free_port: Callable[[], int], tmp_path: Path, tell: Tell
) -> None:
    with trials.two_nodes(kind, postgres_url, free_port, tmp_path) as nodes:
        tell(f"stopped behind {kind}", trials.stopped_in_turn(nodes, rounds=3))
        tell(f"killed behind {kind}", trials.killed_in_turn(nodes, rounds=10))


def test_twenty_packs_are_activated_under_load(
    database_url: str, free_port: Callable[[], int], tmp_path: Path, tell: Tell
) -> None:
    with Server(database_url, free_port(), tmp_path) as server:
        tell("packs activated", trials.reloaded(server, times=20))
