"""Two real worker processes, and one of them killed: what they count and show stays right."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from prometheus_client import multiprocess
from prometheus_client.parser import text_string_to_metric_families

from tests.api.conftest import late_order
from tests.api.serving import Server

T = TypeVar("T")

DECISIONS = 24
WORKERS = 2


@pytest.fixture
def server(postgres_url: str, free_port: Callable[[], int], tmp_path: Path) -> Iterator[Server]:
    with Server(postgres_url, free_port(), tmp_path, workers=WORKERS) as running:
        yield running


def test_two_workers_and_the_heir_of_one_count_as_one_service(
    server: Server, tmp_path: Path
) -> None:
    key = server.key("decide", "audit")
    decide_many(server, key)
    shown = until(lambda: metrics(server, key), lambda found: pool(found) == WORKERS * 8)
    assert decided(shown) == DECISIONS
    assert shown["policy_engine_log_untrusted"] == 0

    first = set(server.workers())
    assert len(first) == WORKERS
    os.kill(min(first), signal.SIGKILL)
    until(lambda: set(server.workers()), lambda now: len(now) == WORKERS and now != first)
    (heir,) = set(server.workers()) - first
    until(lambda: pool_of(heir, tmp_path), bool)
    decide_many(server, key)
    later = metrics(server, key)
    assert decided(later) == 2 * DECISIONS, "nothing that was counted is lost"
    assert pool(later) == WORKERS * 8, "what the dead one showed of itself is not added"
    assert later["policy_engine_pack_info"] == 1
    check_log(tmp_path / "server.log")


def decide_many(server: Server, key: str) -> None:
    def decide(number: int) -> int:
        order = late_order(order__id=f"SO-{number}", customer__name="Li Hua")
        return server.send("POST", "/v1/decisions", key, order).status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(decide, range(DECISIONS))) == {201}


def metrics(server: Server, key: str) -> dict[str, float]:
    """The sum of each metric's series, as whichever worker answers shows them."""
    sums: dict[str, float] = {}
    text = server.send("GET", "/metrics", key).body.decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0) + sample.value
    return sums


def decided(shown: dict[str, float]) -> float:
    return shown["policy_engine_decisions_total"]


def pool(shown: dict[str, float]) -> float:
    return shown["policy_engine_database_connections_limit"]


def pool_of(worker: int, folder: Path) -> float:
    """What one worker shows by itself."""
    files = [str(file) for file in folder.rglob(f"gauge_livesum_{worker}.db")]
    for metric in multiprocess.MultiProcessCollector.merge(files):
        if metric.name == "policy_engine_database_connections_limit":
            return sum(sample.value for sample in metric.samples)
    return 0


def until(look: Callable[[], T], wanted: Callable[[T], bool]) -> T:
    give_up_at = time.monotonic() + 30
    while True:
        found = look()
        if wanted(found):
            return found
        assert time.monotonic() < give_up_at, found
        time.sleep(0.2)


def check_log(file: Path) -> None:
    """Every line of the whole service is JSON, that of the server's own about the death too."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines[0]["event"] == "starting"
    assert any("worker" in line["event"] for line in lines), "the death of a worker is told"
    assert sum("decision_id" in line for line in lines) == 2 * DECISIONS
    assert "Li Hua" not in file.read_text()
