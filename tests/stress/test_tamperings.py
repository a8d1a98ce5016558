"""A thousand tamperings, one at a time, on copies of a database with 2,000 decisions."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path

import pytest

from policy_engine.ledger.shapes import CredentialTerms
from policy_engine.usecases import packs, privacy, verifying
from tests.log.given import begin, close, decide_one, open_services, sequence
from tests.log.tampering import TABLES, WAYS, Tampering, tamper
from tests.postgres import PostgresCluster

pytestmark = [pytest.mark.stress, pytest.mark.timeout(7200)]

DECISIONS, TAMPERINGS = 2000, 500
Copy = Callable[[], str]


def fill(url: str) -> None:
    services = open_services(url)
    begin(services)
    for number in range(DECISIONS):
        decide_one(services, number, f"customer-{number % 300}")
        if number % 200 == 0:
            sequence(services)
    terms = CredentialTerms("shop", frozenset({"decide"}), ceiling="agent", roster={"A": "agent"})
    keys = [services.ledger.credentials.create(terms, "tests") for _ in range(6)]
    for key in keys[:3]:
        services.ledger.credentials.revoke(key.credential.id, "tests")
    packs.activate_folder(services, Path(__file__).parents[1] / "api" / "pack", by="tests")
    privacy.erase(services, "customer-3", "tests")
    sequence(services)
    for number in range(5):
        decide_one(services, DECISIONS + number)
    close(services)


def verdict(url: str) -> str:
    services = open_services(url)
    try:
        return verifying.verify(services, (), None, replaying=False).verdict
    finally:
        close(services)


def tamperings() -> Iterator[Tampering]:
    """Every table in every way, again and again with other rows and columns."""
    for seed in count():
        for table in TABLES:
            for way in WAYS:
                yield Tampering(table, way, seed)


def tamper_all(copy: Copy) -> None:
    assert verdict(copy()) == "good"
    done, missed = Counter[str](), list[str]()
    for tampering in islice(tamperings(), 2 * TAMPERINGS):
        if done.total() == TAMPERINGS:
            break
        url = copy()
        told = tamper(url, tampering)
        if told is None:
            continue
        done[tampering.table] += 1
        if verdict(url) != "broken":
            missed.append(f"{tampering}: {told[:200]}")
    assert missed == []
    assert done.total() == TAMPERINGS
    assert set(done) == set(TABLES)


def test_every_one_of_500_tamperings_is_found_on_sqlite(tmp_path: Path) -> None:
    whole, copied = tmp_path / "whole.db", tmp_path / "copy.db"
    fill(f"sqlite:///{whole}")

    def copy() -> str:
        for old in tmp_path.glob("copy.db*"):
            old.unlink()
        shutil.copy(whole, copied)
        return f"sqlite:///{copied}"

    tamper_all(copy)


def test_every_one_of_500_tamperings_is_found_on_postgresql(
    postgres_cluster: PostgresCluster,
) -> None:
    whole = postgres_cluster.create()
    fill(postgres_cluster.url(whole))
    made: list[str] = []

    def copy() -> str:
        while made:
            postgres_cluster.drop(made.pop())
        made.append(postgres_cluster.create(whole))
        return postgres_cluster.url(made[-1])

    try:
        tamper_all(copy)
    finally:
        for name in (*made, whole):
            postgres_cluster.drop(name)
