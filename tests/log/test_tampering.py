"""Whatever is changed behind the database's back, verification finds it; and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from policy_engine.core.request import Agent
from policy_engine.ledger.log.findings import Report
from policy_engine.ledger.shapes import CredentialTerms
from policy_engine.usecases import packs, privacy, verifying
from tests.log.forging import raise_an_amount
from tests.log.given import begin, close, decide_one, open_services, sequence
from tests.log.tampering import TABLES, WAYS, Tampering, tamper
from tests.postgres import PostgresCluster

SEQUENCED, WAITING = 36, 4
OTHER_PACK = Path(__file__).parents[1] / "api" / "pack"
Copy = Callable[[], str]


def fill(url: str) -> None:
    """Two packs, keys, an erased customer, decisions in the log and some that wait."""
    services = open_services(url)
    begin(services)
    terms = CredentialTerms("shop", frozenset({"decide", "grant"}), Agent("A-7", "agent"))
    keys = [services.ledger.credentials.create(terms, "tests") for _ in range(3)]
    services.ledger.credentials.create(
        CredentialTerms("desk", frozenset({"decide"}), ceiling="agent", roster={"A-1": "agent"}),
        "tests",
    )
    for key in keys[:2]:
        services.ledger.credentials.revoke(key.credential.id, "tests")
    for number in range(SEQUENCED):
        decide_one(services, number)
        if number % 9 == 0:
            sequence(services)
    privacy.erase(services, "customer-3", "tests")
    packs.activate_folder(services, OTHER_PACK, by="tests")
    # Enough leaves for an inner node to be stored, cheaply.
    for _ in range(120):
        made = services.ledger.credentials.create(terms, "tests")
        services.ledger.credentials.revoke(made.credential.id, "tests")
    sequence(services)
    for number in range(WAITING):
        decide_one(services, 100 + number)
    close(services)


def verified(url: str, **options: object) -> Report:
    services = open_services(url)
    try:
        return verifying.verify(services, (), None, **options)  # type: ignore[arg-type]
    finally:
        close(services)


@pytest.fixture(scope="module")
def sqlite_copies(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    folder = tmp_path_factory.mktemp("tampering")
    fill(f"sqlite:///{folder / 'whole.db'}")
    copy = folder / "copy.db"

    def make() -> str:
        for old in folder.glob("copy.db*"):
            old.unlink()
        shutil.copy(folder / "whole.db", copy)
        return f"sqlite:///{copy}"

    return make


@pytest.fixture(scope="module")
def postgres_copies(postgres_cluster: PostgresCluster) -> Iterator[Copy]:
    whole = postgres_cluster.create()
    fill(postgres_cluster.url(whole))
    made: list[str] = []

    def make() -> str:
        while made:
            postgres_cluster.drop(made.pop())
        made.append(postgres_cluster.create(whole))
        return postgres_cluster.url(made[-1])

    yield make
    for name in (*made, whole):
        postgres_cluster.drop(name)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def copies(request: pytest.FixtureRequest) -> Copy:
    kind = "sqlite_copies" if request.param == "sqlite" else "postgres_copies"
    found: Copy = request.getfixturevalue(kind)
    return found


def test_nothing_is_found_in_an_untouched_copy(copies: Copy) -> None:
    report = verified(copies())
    assert report.findings == []
    assert report.verdict == "good"
    assert report.counts["decisions"] == report.counts["replayed"] == SEQUENCED + WAITING
    assert report.counts["waiting"] == WAITING
    assert report.counts["erased"] > 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("table", TABLES)
def test_every_tampering_is_found(copies: Copy, table: str, way: str) -> None:
    url = copies()
    told = tamper(url, Tampering(table, way, seed=1))
    if told is None:
        # A single row, or rows that only say that they are there.
        assert way == "swap"
        assert table in ("instance", "log_key", "log_node", "outbox", "decision_reference")
        return
    report = verified(url, replaying=False)
    assert report.verdict == "broken", told
    assert any(finding.table != "-" for finding in report.findings)


def test_a_decision_that_was_forged_with_its_hash_does_not_replay(copies: Copy) -> None:
    """Whoever can also sign: only evaluating again shows that this was never decided."""
    url = copies()
    forged = raise_an_amount(url)
    assert verified(url, replaying=False).verdict == "good"
    report = verified(url)
    assert report.verdict == "broken"
    assert [finding.row for finding in report.findings] == [forged]
