"""Grants against real server processes, long: the budget, the keys, the cuts, the races, the
kills, the restarts and the full disks. tests/grants/test_processes.py is the short version.

SCALE=0.1 does a tenth of everything.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from policy_engine import bootstrap
from policy_engine.api.app import create_app
from policy_engine.settings import Settings
from policy_engine.usecases import packs
from tests import postgres
from tests.api.conftest import SECRET, Api
from tests.grants import trials
from tests.grants.conftest import Shop, open_shop
from tests.grants.fleet import running, tight

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


def test_one_key_sent_100_times_at_once_200_times(begin: Begin, postgres_url: str) -> None:
    with begin(postgres_url) as (fleet, shop):
        trials.one_key_at_once(fleet, shop, sized(200), times=100, clients=100)


def test_200_cut_connections(begin: Begin, postgres_url: str) -> None:
    with begin(postgres_url) as (fleet, shop):
        trials.cut_and_retried(fleet, shop, sized(200), clients=8)


def test_1000_races_of_approve_reject_and_expire(
    begin: Begin, postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with begin(postgres_url, pending_for="PT4S") as (fleet, shop):
        winners = trials.approve_reject_expire(fleet, shop, sized(1000), at_a_time=10)
        tell(capsys, "winners", winners)


def test_100_kills_of_a_process_under_load(
    begin: Begin, postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kills = sized(100)
    with begin(postgres_url) as (fleet, shop):
        found = trials.under_fire(
            fleet,
            shop,
            kills,
            lambda _: fleet.kill_one(random.randrange(2)),
            clients=8,
            many=kills * 120,
        )
        tell(capsys, f"{kills} kills", found)


def test_20_restarts_of_postgresql_under_load(
    begin: Begin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = postgres.new_folder()
    cluster = postgres.PostgresCluster(folder)
    try:
        # A crash of the server must lose nothing here; the suite's own cluster may.
        cluster._admin.execute("ALTER SYSTEM SET synchronous_commit = on")
        cluster._admin.execute("SELECT pg_reload_conf()")
        url = cluster.url(cluster.create())
        cluster.close()
        restarts = sized(20)
        with begin(url) as (fleet, shop):
            found = trials.under_fire(
                fleet,
                shop,
                restarts,
                lambda n: _restart(cluster, folder, signal.SIGQUIT if n % 2 else signal.SIGINT),
                clients=8,
                many=restarts * 300,
            )
            tell(capsys, f"{restarts} restarts of PostgreSQL", found)
    finally:
        postgres.remove(folder)


def _restart(cluster: postgres.PostgresCluster, folder: Path, how: signal.Signals) -> None:
    """SIGQUIT: as after a crash. SIGINT: connections are cut, then it shuts down in order."""
    running_file = folder / postgres.DATA / "postmaster.pid"
    postmaster = int(running_file.read_text().splitlines()[0])
    os.kill(postmaster, how)
    give_up_at = time.monotonic() + 30
    while running_file.exists() and time.monotonic() < give_up_at:
        with suppress(ProcessLookupError):
            os.kill(postmaster, 0)
            time.sleep(0.05)
            continue
        break
    cluster._server.ensure_postgres_running()


def test_5_full_disks_under_load(
    begin: Begin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.fail("this trial mounts a small disk, so it has to run as root")
    try:
        with begin(f"sqlite:///{disk / 'ledger.db'}", nodes=1) as (fleet, shop):
            felt: list[int] = []

            def fill(_: int) -> None:
                before = fleet.refusals.total()
                ballast = disk / "ballast"
                with suppress(OSError), ballast.open("wb", buffering=0) as file:
                    while True:
                        file.write(b"\0" * 4096)
                # The file that is written ahead has room left; then it is felt.
                give_up_at = time.monotonic() + 60
                while fleet.refusals.total() < before + 4 and time.monotonic() < give_up_at:
                    time.sleep(0.02)
                ballast.unlink()
                felt.append(fleet.refusals.total() - before)

            fulls = sized(5)
            found = trials.under_fire(fleet, shop, fulls, fill, clients=4, many=fulls * 300)
            tell(capsys, f"{fulls} full disks", found)
            assert min(felt) > 0, "the disk was never full"
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
