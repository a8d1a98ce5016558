"""Two nodes on one PostgreSQL behind a proxy: stopped, killed, and given another pack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.api.serving import Server
from tests.pressure import trials
from tests.pressure.proxy import KINDS

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


@pytest.fixture(params=KINDS)
def nodes(
    request: pytest.FixtureRequest,
    postgres_url: str,
    free_port: Callable[[], int],
    tmp_path: Path,
) -> Iterator[trials.Nodes]:
    with ExitStack() as stack:
        yield stack.enter_context(
            trials.two_nodes(request.param, postgres_url, free_port, tmp_path)
        )


def test_a_node_that_is_told_to_stop_fails_no_request(nodes: trials.Nodes) -> None:
    trials.stopped_in_turn(nodes, rounds=1)


def test_a_node_that_is_killed_loses_no_acknowledged_decision(nodes: trials.Nodes) -> None:
    trials.killed_in_turn(nodes, rounds=2)


def test_a_pack_that_is_activated_under_load_fails_no_request(
    postgres_url: str, free_port: Callable[[], int], tmp_path: Path
) -> None:
    with Server(postgres_url, free_port(), tmp_path) as server:
        found = trials.reloaded(server, times=3)
    assert found["activations"] == 3


def test_what_is_under_way_when_the_server_stops_is_finished(
    sqlite_url: str, free_port: Callable[[], int], tmp_path: Path
) -> None:
    with Server(sqlite_url, free_port(), tmp_path) as server:
        trials.finishes_a_batch(server)
