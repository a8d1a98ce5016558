"""100,000 entries: a pack with new caps becomes active while grants go on, and the ledger is
checked in the memory that a tenth of them takes."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Callable

import pytest

from policy_engine.packs.files import PackFiles
from policy_engine.usecases import packs
from tests.grants.conftest import Shop, make_shop, money  # noqa: F401 -- make_shop is a fixture
from tests.grants.filling import fill
from tests.grants.test_building import wider  # noqa: F401 -- a fixture
from tests.stress.test_grant_races import sized, tell

pytestmark = [pytest.mark.stress, pytest.mark.timeout(3600)]

OFFERS = 300


@pytest.fixture
def large(make_shop: Callable[..., Shop], database_url: str) -> Shop:  # noqa: F811 -- fixture
    shop = make_shop(database_url)
    fill(shop, sized(50_000))
    return shop


def test_grants_wait_for_no_more_than_a_step_while_counters_are_built(
    large: Shop,
    wider: PackFiles,  # noqa: F811 -- the fixture
    capsys: pytest.CaptureFixture[str],
) -> None:
    shop, services = large, large.api.services
    offers = [
        shop.decide(shop.agent, order__id=f"NEW-{n}", customer__id=f"D-{n}") for n in range(OFFERS)
    ]
    done = threading.Event()
    took: list[float] = []

    def activate() -> None:
        begin = time.monotonic()
        packs.activate_files(services, wider, by="tests")
        took.append(time.monotonic() - begin)
        done.set()

    thread = threading.Thread(target=activate)
    waits: list[float] = []
    before = [_taken(shop, offers.pop()) for _ in range(50)]
    thread.start()
    while offers and not done.is_set():
        waits.append(_taken(shop, offers.pop()))
        time.sleep(0.01)
    thread.join()
    taken = OFFERS - len(offers)
    tell(
        capsys,
        "activation",
        {
            "seconds": round(took[0], 1),
            "grants meanwhile": len(waits),
            "median and longest alone, s": (_middle(before), round(max(before), 3)),
            "median and longest meanwhile, s": (_middle(waits), round(max(waits), 3)),
        },
    )
    assert max(waits) < took[0] / 4
    expected = sized(50_000) * 400 + taken * 4000
    assert shop.cap("all_time")["used"] == money(f"{expected / 100:.2f}")
    shop.check()


def test_the_check_takes_no_more_memory_for_ten_times_the_grants(
    make_shop: Callable[..., Shop],  # noqa: F811 -- the fixture
    database_url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shop = make_shop(database_url)
    peaks: list[float] = []
    filled = 0
    for many in (sized(5_000), sized(50_000)):
        fill(shop, many - filled, filled)
        filled = many
        tracemalloc.start()
        begin = time.monotonic()
        shop.check()
        peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
        took = round(time.monotonic() - begin, 1)
        tell(capsys, "check", {"grants": filled, "MiB": round(peaks[-1], 2), "seconds": took})
    assert peaks[1] < peaks[0] * 1.5


def _taken(shop: Shop, offer: dict[str, object]) -> float:
    begin = time.monotonic()
    answer = shop.take(shop.agent, offer)
    assert answer.status_code == 201, answer.json
    return time.monotonic() - begin


def _middle(waits: list[float]) -> float:
    return round(sorted(waits)[len(waits) // 2], 3)
