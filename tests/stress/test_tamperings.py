"""A thousand tamperings, one at a time, on copies of a database with 2,000 decisions and the
grants that came of them, in every state."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from policy_engine.ledger.log.findings import Finding, Report, Severity
from policy_engine.usecases import verifying
from tests.log.filling import fill
from tests.log.given import close, open_services
from tests.log.tampering import EVIDENCE, TABLES, WAYS, Tampering, tamper
from tests.postgres import PostgresCluster

pytestmark = [pytest.mark.stress, pytest.mark.timeout(14_400)]

DECISIONS = int(os.environ.get("STRESS_DECISIONS", "2000"))
TAMPERINGS = int(os.environ.get("STRESS_TAMPERINGS", "500"))
FROM_SEED = int(os.environ.get("STRESS_SEED", "0"))
"""Another one tampers with other rows."""
Copy = Callable[[], str]


class BrokenError(Exception):
    """The first thing found is enough."""


def verdict(url: str) -> str:
    services = open_services(url)
    try:
        return verifying.verify(services, (), None, replaying=False).verdict
    except BrokenError:
        return "broken"
    finally:
        close(services)


def tamperings() -> Iterator[Tampering]:
    """Every table in every way, and every column; again and again with other rows."""
    for seed in count(FROM_SEED):
        for table in TABLES:
            for way in WAYS:
                yield Tampering(table, way, seed)
        for table, column in EVIDENCE:
            yield Tampering(table, "flip", seed, column)


def tamper_all(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    assert verdict(copy()) == "good"
    monkeypatch.setattr(Report, "add", _stop_at_the_first)
    done, missed = Counter[str](), list[str]()
    for tampering in tamperings():
        if done.total() == TAMPERINGS:
            break
        url = copy()
        told = tamper(url, tampering)
        if told is None:
            continue
        done[f"{tampering.table} {tampering.way}"] += 1
        if verdict(url) != "broken":
            missed.append(f"{tampering}: {told[:200]}")
    assert missed == []
    assert done.total() == TAMPERINGS


def _stop_at_the_first(_report: Report, finding: Finding) -> None:
    if finding.severity is Severity.BROKEN:
        raise BrokenError


def test_every_one_of_500_tamperings_is_found_on_sqlite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, copied = tmp_path / "whole.db", tmp_path / "copy.db"
    fill(f"sqlite:///{whole}", DECISIONS)

    def copy() -> str:
        for old in tmp_path.glob("copy.db*"):
            old.unlink()
        shutil.copy(whole, copied)
        return f"sqlite:///{copied}"

    tamper_all(copy, monkeypatch)


def test_every_one_of_500_tamperings_is_found_on_postgresql(
    postgres_cluster: PostgresCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = postgres_cluster.create()
    fill(postgres_cluster.url(whole), DECISIONS)
    made: list[str] = []

    def copy() -> str:
        while made:
            postgres_cluster.drop(made.pop())
        made.append(postgres_cluster.create(whole))
        return postgres_cluster.url(made[-1])

    try:
        tamper_all(copy, monkeypatch)
    finally:
        for name in (*made, whole):
            postgres_cluster.drop(name)
