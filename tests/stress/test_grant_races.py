"""Grants against real server processes, long: the budget, the keys, the cuts, the races, the
kills, the restarts and the full disks. tests/grants/test_processes.py is the short version.

SCALE=0.1 does a tenth of everything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from policy_engine import bootstrap
from policy_engine.api.app import create_app
from policy_engine.settings import Settings
from policy_engine.usecases import packs
from tests.api.conftest import SECRET, Api
from tests.grants import trials
from tests.grants.conftest import Shop, open_shop
from tests.grants.fleet import running, tight
from tests.grants.strikes import limited_files, own_postgres, small_disk

pytestmark = [pytest.mark.stress, pytest.mark.timeout(7200)]

SCALE = float(os.environ.get("SCALE", "1"))
Begin = Callable[..., Any]


def sized(many: int) -> int:
    return max(2, int(many * SCALE))


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    made: list[Api] = []

    def shop_of(url: str, pack: Path) -> Shop:
        services = bootstrap.build(Settings(database_url=url, secret_key=SECRET))
        services.ledger.upgrade()
        packs.activate_folder(services, pack, by="tests")
        made.append(Api(create_app(services), services))
        return open_shop(made[-1])

    def start(url: str, *rows: str, nodes: int = 2, folder: Path = tmp_path, **options: str) -> Any:
        return running(shop_of, url, folder, *rows, nodes=nodes, **options)

    yield start
    for each in made:
        each.services.packs.close()
        each.services.ledger.close()


def tell(capsys: pytest.CaptureFixture[str], what: str, found: object) -> None:
    with capsys.disabled():
        print(f"\n{what}: {found}")  # noqa: T201 - the figures of a long run are its result


def test_10000_grants_from_64_clients_against_two_processes(
    begin: Begin, postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    many = sized(10_000)
    limit = many * 150 + 3
    with begin(postgres_url, tight(limit)) as (fleet, shop):
        found = trials.one_budget(fleet, shop, many, clients=64, limit=limit)
        tell(capsys, f"{many} grants on PostgreSQL, budget {limit}", found)
        assert found["counted"]["409 CAP_EXHAUSTED"] > 0


def test_2000_grants_from_64_clients_on_the_embedded_database(
    begin: Begin, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    many = sized(2000)
    limit = many * 150 + 3
    with begin(sqlite_url, tight(limit), nodes=1) as (fleet, shop):
        found = trials.one_budget(fleet, shop, many, clients=64, limit=limit)
        tell(capsys, f"{many} grants on SQLite, budget {limit}", found)


def test_one_key_sent_100_times_at_once_200_times(
    begin: Begin, postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with begin(postgres_url) as (fleet, shop):
        trials.one_key_at_once(fleet, shop, sized(200), times=100, clients=100)
        tell(capsys, "one key 100 times at once, 200 times", fleet.refusals)


def test_200_cut_connections(
    begin: Begin, postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with begin(postgres_url) as (fleet, shop):
        granted = trials.cut_and_retried(fleet, shop, sized(200), clients=8)
        tell(capsys, "200 cut connections", {"granted": granted, "again": fleet.refusals})


def test_1000_races_of_approve_reject_and_expire(
    begin: Begin, postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with begin(postgres_url, pending_for="PT3S") as (fleet, shop):
        winners = trials.approve_reject_expire(fleet, shop, sized(1000), at_a_time=20)
        tell(capsys, "winners", winners)


def test_100_kills_of_a_process_under_load(
    begin: Begin, postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kills = sized(100)
    with begin(postgres_url) as (fleet, shop):
        found = trials.under_fire(fleet, shop, kills, fleet.kill_one, clients=8)
        tell(capsys, f"{kills} kills", found)


def test_20_restarts_of_postgresql_under_load(
    begin: Begin, capsys: pytest.CaptureFixture[str]
) -> None:
    restarts = sized(20)
    with own_postgres() as (url, restart), begin(url) as (fleet, shop):
        found = trials.under_fire(fleet, shop, restarts, restart, clients=8)
        tell(capsys, f"{restarts} restarts of PostgreSQL", found)


def test_5_full_disks_under_load(
    begin: Begin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fulls, folder = sized(5), tmp_path / "disk"
    with small_disk(folder) as disk, begin(f"sqlite:///{folder / 'ledger.db'}", nodes=1) as started:
        fleet, shop = started
        found = trials.under_fire(fleet, shop, fulls, lambda _: disk.strike(fleet), clients=4)
        tell(capsys, f"{fulls} full disks", found)


def test_5_times_no_file_may_grow_under_load(
    begin: Begin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fulls, file = sized(5), tmp_path / "ledger.db"
    with begin(f"sqlite:///{file}", nodes=1) as (fleet, shop):
        disk = limited_files(fleet, file)
        found = trials.under_fire(fleet, shop, fulls, lambda _: disk.strike(fleet), clients=4)
        tell(capsys, f"{fulls} times no file may grow", found)
