"""Two server processes on one database, many clients, cuts, kills, restarts and a full disk: short.
tests/stress/test_grant_races.py is the long version."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import ready
from tests.grants import trials
from tests.grants.conftest import Shop
from tests.grants.fleet import running, tight
from tests.grants.strikes import limited_files, own_postgres

Begin = Callable[..., Any]


@pytest.fixture
def begin(tmp_path: Path, make_shop: Callable[..., Shop]) -> Begin:
    def start(url: str, *rows: str, nodes: int = 2, **options: str) -> Any:
        ready.set_up(url)
        return running(make_shop, url, tmp_path, *rows, nodes=nodes, **options)

    return start


def test_a_budget_holds_against_two_processes_and_16_clients(
    begin: Begin, postgres_url: str
) -> None:
    with begin(postgres_url, tight(10003)) as (fleet, shop):
        found = trials.one_budget(fleet, shop, many=120, clients=16, limit=10003)
        assert found["counted"]["409 CAP_EXHAUSTED"] > 0


def test_a_budget_holds_in_the_embedded_database(begin: Begin, sqlite_url: str) -> None:
    with begin(sqlite_url, tight(10003), nodes=1) as (fleet, shop):
        trials.one_budget(fleet, shop, many=120, clients=16, limit=10003)


def test_a_key_sent_many_times_or_after_a_cut_is_one_grant(begin: Begin, postgres_url: str) -> None:
    with begin(postgres_url) as (fleet, shop):
        trials.one_key_at_once(fleet, shop, rounds=3, times=20, clients=20)
        trials.cut_and_retried(fleet, shop, many=12, clients=4)


def test_a_killed_process_loses_nothing_that_was_acknowledged(
    begin: Begin, postgres_url: str
) -> None:
    with begin(postgres_url) as (fleet, shop):
        found = trials.under_fire(fleet, shop, 2, fleet.kill_one, clients=6)
        assert found["acknowledged"] > 0


def test_a_restart_of_postgresql_loses_nothing_that_was_acknowledged(begin: Begin) -> None:
    with own_postgres() as (url, restart), begin(url) as (fleet, shop):
        trials.under_fire(fleet, shop, 2, restart, clients=6)


def test_a_full_disk_loses_nothing_that_was_acknowledged(begin: Begin, tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with begin(f"sqlite:///{file}", nodes=1) as (fleet, shop):
        disk = limited_files(fleet, file)
        trials.under_fire(fleet, shop, 1, lambda _: disk.strike(fleet), clients=6)


def test_approval_rejection_and_lapse_at_one_instant_have_one_winner(
    begin: Begin, postgres_url: str
) -> None:
    with begin(postgres_url, pending_for="PT3S") as (fleet, shop):
        trials.approve_reject_expire(fleet, shop, races=6, at_a_time=6)
