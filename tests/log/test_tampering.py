"""Whatever is changed behind the database's back, verification finds it; and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle

import pytest
from sqlalchemy import text

from policy_engine.ledger.log.findings import Finding, Report
from policy_engine.usecases import verifying
from tests.log.filling import WAITING, fill
from tests.log.forging import Step, forge_the_answer, raise_an_amount
from tests.log.given import close, open_services
from tests.log.tampering import EVIDENCE, TABLES, WAYS, Tampering, tamper, unguarded
from tests.postgres import PostgresCluster

ORDERS = 40
BUT_FLIP = [way for way in WAYS if way != "flip"]
Copy = Callable[[], str]


def verified(url: str, held: Sequence[str] = (), *, replaying: bool = True) -> Report:
    services = open_services(url)
    try:
        return verifying.verify(services, held, None, replaying=replaying)
    finally:
        close(services)


@pytest.fixture(scope="module")
def sqlite_copies(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    folder = tmp_path_factory.mktemp("tampering")
    fill(f"sqlite:///{folder / 'whole.db'}", ORDERS)
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
    fill(postgres_cluster.url(whole), ORDERS)
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


class FoundError(Exception):
    """Something is broken, and it is said in which table."""


@pytest.fixture
def finding_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verification ends at the first finding that is enough: the others would take longer."""
    real = Report.add

    def add(report: Report, finding: Finding) -> None:
        real(report, finding)
        if report.verdict == "broken" and finding.table != "-":
            raise FoundError(finding)

    monkeypatch.setattr(Report, "add", add)


def test_nothing_is_found_in_an_untouched_copy(copies: Copy) -> None:
    report = verified(copies())
    assert report.findings == []
    assert report.verdict == "good"
    assert report.counts["decisions"] == report.counts["replayed"] > ORDERS
    assert report.counts["waiting"] > WAITING
    assert report.counts["erased"] > 0
    assert report.counts["grants"] > 20


def test_every_table_has_rows_to_tamper_with(copies: Copy) -> None:
    with unguarded(copies()) as connection:
        for table in TABLES:
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one(), table


@pytest.mark.parametrize(("table", "column"), EVIDENCE, ids=[".".join(each) for each in EVIDENCE])
def test_every_changed_column_is_found(
    sqlite_copies: Copy, finding_one: None, table: str, column: str
) -> None:
    """On both databases in the long run (tests/stress)."""
    url = sqlite_copies()
    told = tamper(url, Tampering(table, "flip", seed=1, column=column))
    assert told is not None
    with pytest.raises(FoundError):
        verified(url, replaying=False)


@pytest.mark.parametrize("way", BUT_FLIP)
@pytest.mark.parametrize("table", TABLES)
def test_every_tampering_is_found(
    sqlite_copies: Copy, finding_one: None, table: str, way: str
) -> None:
    """On both databases in the long run (tests/stress)."""
    is_found(sqlite_copies(), table, way)


@pytest.mark.parametrize(("table", "way"), list(zip(TABLES, cycle(BUT_FLIP), strict=False)))
def test_each_table_and_each_way_are_found_on_postgresql(
    postgres_copies: Copy, finding_one: None, table: str, way: str
) -> None:
    is_found(postgres_copies(), table, way)


def is_found(url: str, table: str, way: str) -> None:
    told = tamper(url, Tampering(table, way, seed=1))
    if told is None:
        # A single row, or rows that only say that they are there.
        assert way == "swap"
        assert table in ("instance", "log_key", "log_node", "outbox", "decision_reference")
        return
    with pytest.raises(FoundError):
        verified(url, replaying=False)


@pytest.mark.parametrize(
    ("step", "found"),
    [
        (Step.CONTENT, "the content is not what was hashed"),
        (Step.RECORD_HASH, "another hash than that of its record"),
        (Step.ANSWER, "another hash than that of its record"),
        (Step.LEAF_HASH, "the entries up to here are not those that were signed"),
        (Step.NODES, "the entries up to here are not those that were signed"),
        (Step.OTHER_KEY, "the signature of the checkpoint is wrong"),
    ],
)
def test_a_forger_is_found_however_far_they_get(copies: Copy, step: Step, found: str) -> None:
    url = copies()
    raise_an_amount(url, step)
    report = verified(url, replaying=False)
    assert report.verdict == "broken"
    assert any(finding.message.startswith(found) for finding in report.findings), report.findings


def test_a_forger_with_every_key_is_found_by_deciding_again(copies: Copy) -> None:
    url = copies()
    held = held_checkpoint(url)
    forged = raise_an_amount(url, Step.SIGNED)
    assert verified(url, replaying=False).verdict == "good"
    report = verified(url)
    assert report.verdict == "broken"
    assert [finding.row for finding in report.findings] == [forged]
    assert report.findings[0].message == (
        "evaluated again it comes to something else than recorded"
    )
    # And by whoever holds a checkpoint, without deciding anything again.
    against = verified(url, [held], replaying=False)
    assert [finding.message for finding in against.findings] == [
        "the log is not a continuation of it"
    ]


def test_an_answer_forged_under_the_customers_key_is_found(copies: Copy) -> None:
    url = copies()
    forged = forge_the_answer(url)
    found = verified(url, replaying=False).findings
    assert [(each.row, each.message) for each in found] == [
        (forged, "the answer is not that of this record")
    ]


def test_activations_in_another_order_are_found(copies: Copy) -> None:
    """Every row as recorded, and yet another pack would be the active one."""
    url = copies()
    with unguarded(url) as connection:
        overriding = "OVERRIDING SYSTEM VALUE" * (connection.dialect.name == "postgresql")
        moved = (
            connection.execute(text("DELETE FROM activation WHERE sequence = 1 RETURNING *"))
            .mappings()
            .one()
        )
        connection.execute(
            text(
                f"INSERT INTO activation {overriding} "
                "VALUES (99, :record_id, :revision, :activated_by, :activated_at_us)"
            ),
            dict(moved),
        )
    found = verified(url, replaying=False).findings
    # Where the order is another, so is the pack whose caps are counted.
    assert {each.table for each in found} - {"limit_class"} == {"activation"}


def held_checkpoint(url: str) -> str:
    services = open_services(url)
    latest = services.ledger.log.checkpoint()
    close(services)
    assert latest is not None
    return latest.note
