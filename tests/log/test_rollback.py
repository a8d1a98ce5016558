"""A database that was taken back to yesterday is found, and nothing is written on it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from policy_engine import bootstrap
from policy_engine.api.app import create_app
from policy_engine.cli import main
from policy_engine.ledger.errors import UntrustedLogError
from policy_engine.ledger.log.outside import CheckpointFile
from policy_engine.ledger.shapes import CredentialTerms
from policy_engine.usecases import packs, verifying
from policy_engine.usecases.services import Services
from tests.log.given import SECRET, a_request, begin, close, decide_one, open_services
from tests.postgres import PostgresCluster


@dataclass
class Backups:
    """A database with a way to copy it and to bring the copy back."""

    url: str
    save: Callable[[], None]
    restore: Callable[[], None]


def on_sqlite(folder: Path) -> Backups:
    file, saved = folder / "service.db", folder / "yesterday.db"

    def restore() -> None:
        for old in folder.glob("service.db*"):
            old.unlink()
        shutil.copy(saved, file)

    def save() -> None:
        shutil.copy(file, saved)

    return Backups(f"sqlite:///{file}", save, restore)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def backups(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backups]:
    if request.param == "sqlite":
        (tmp_path / "database").mkdir()
        yield on_sqlite(tmp_path / "database")
        return
    cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
    names = {"service": cluster.create()}

    def save() -> None:
        names["saved"] = cluster.create(names["service"])

    def restore() -> None:
        cluster.drop(names["service"])
        cluster._admin.execute(f"ALTER DATABASE {names['saved']} RENAME TO {names['service']}")

    yield Backups(cluster.url(names["service"]), save, restore)
    cluster.drop(names["service"])


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    return tmp_path / "elsewhere" / "checkpoints"


def work_a_day(backups: Backups, outside: Path, number: int) -> None:
    """Decides, keeps the log, and stops."""
    services = open_services(backups.url, checkpoint_file=outside)
    services.ledger.upgrade()
    begin(services)
    keeper = bootstrap.log_keeper(services.settings, services.ledger)
    keeper.start()
    for each in range(3):
        decide_one(services, number + each)
    keeper.stop()
    close(services)


@pytest.fixture
def rolled_back(backups: Backups, outside: Path) -> Iterator[Services]:
    """Two days of work, and the database of the first."""
    work_a_day(backups, outside, 1)
    backups.save()
    work_a_day(backups, outside, 11)
    backups.restore()
    services = open_services(backups.url, checkpoint_file=outside)
    keeper = bootstrap.log_keeper(services.settings, services.ledger)
    keeper.start()
    yield services
    keeper.stop()
    close(services)


def test_the_server_writes_nothing_on_yesterdays_database(rolled_back: Services) -> None:
    packs.follow(rolled_back)
    with pytest.raises(UntrustedLogError, match="it was rolled back"):
        decide_one(rolled_back, 99)
    with pytest.raises(UntrustedLogError):
        rolled_back.ledger.credentials.create(CredentialTerms("shop", frozenset({"audit"})), "me")
    answer = create_app(rolled_back).test_client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json is not None
    assert answer.json["log"]["trusted"] is False
    assert "rolled back" in answer.json["log"]["because"]


def test_decisions_are_answered_503(rolled_back: Services) -> None:
    app = create_app(rolled_back)
    rolled_back.ledger.log.refuse_writing(None)
    terms = CredentialTerms("helpdesk", frozenset({"decide"}), ceiling="supervisor")
    key = rolled_back.ledger.credentials.create(terms, "tests").key
    packs.follow(rolled_back)
    bootstrap.watch_log(rolled_back.settings, rolled_back.ledger)
    answer = app.test_client().post(
        "/v1/decisions",
        json=a_request(1),
        headers={"Authorization": f"Bearer {key}", "Idempotency-Key": "k1"},
    )
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]


def test_verification_with_the_checkpoint_outside_finds_it(
    rolled_back: Services, outside: Path
) -> None:
    assert verifying.verify(rolled_back, (), None).verdict == "good"
    report = verifying.verify(rolled_back, CheckpointFile(outside).notes(), None)
    assert report.verdict == "broken"
    assert all("rolled back" in finding.message for finding in report.findings)


def test_the_command_line_writes_nothing_either_and_says_what_to_do(
    rolled_back: Services, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "DATABASE_URL": rolled_back.settings.database_url,
        "SECRET_KEY": SECRET,
        "CHECKPOINT_FILE": str(outside),
    }.items():
        monkeypatch.setenv(f"POLICY_ENGINE_{name}", value)
    runner = CliRunner()
    created = runner.invoke(main, ["keys", "create", "--client", "x", "--scope", "audit"])
    assert created.exit_code == 1
    assert "rolled back" in created.output
    doctor = runner.invoke(main, ["doctor", "--format", "json"])
    assert doctor.exit_code == 1
    assert "restore a newer backup" in doctor.output
    verified = runner.invoke(main, ["log", "verify", "--checkpoint", str(outside)])
    assert verified.exit_code == 1


def test_the_right_database_is_written_on_again(backups: Backups, outside: Path) -> None:
    work_a_day(backups, outside, 1)
    work_a_day(backups, outside, 11)
    services = open_services(backups.url, checkpoint_file=outside)
    bootstrap.watch_log(services.settings, services.ledger)
    assert services.ledger.log.refusal is None
    assert verifying.verify(services, CheckpointFile(outside).notes(), None).verdict == "good"
    close(services)


def test_a_new_database_beside_the_checkpoints_of_an_old_one_is_refused(
    tmp_path: Path, outside: Path
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    work_a_day(on_sqlite(tmp_path / "one"), outside, 1)
    services = open_services(on_sqlite(tmp_path / "two").url, checkpoint_file=outside)
    services.ledger.upgrade()
    bootstrap.watch_log(services.settings, services.ledger)
    with pytest.raises(UntrustedLogError, match="move the file of checkpoints away"):
        bootstrap.open_log(services.settings, services.ledger, by="tests")
    close(services)


def test_a_database_that_went_another_way_since_is_found(backups: Backups, outside: Path) -> None:
    """Not only shorter: yesterday's database, and as many other decisions on it."""
    work_a_day(backups, outside, 1)
    backups.save()
    work_a_day(backups, outside, 11)
    backups.restore()
    work_a_day(backups, outside.with_name("forgotten"), 21)
    services = open_services(backups.url, checkpoint_file=outside)
    bootstrap.watch_log(services.settings, services.ledger)
    assert services.ledger.log.refusal is not None
    assert "not those that were signed" in services.ledger.log.refusal
    close(services)


def test_a_rollback_under_a_running_server_is_seen_at_its_next_round(
    make_services: Callable[..., Services], sqlite_url: str
) -> None:
    services = make_services(sqlite_url)
    begin(services)
    keeper = bootstrap.log_keeper(services.settings, services.ledger)
    keeper.go_round()
    decide_one(services, 1)
    keeper.go_round()
    with services.ledger._database.engine.begin() as connection:
        for trigger in ("log_leaf_no_delete", "checkpoint_no_delete"):
            connection.execute(text(f"DROP TRIGGER {trigger}"))
        connection.execute(text("DELETE FROM checkpoint WHERE sequence > 1"))
        connection.execute(text("DELETE FROM log_leaf WHERE leaf_index > 1"))
    keeper.go_round()
    with pytest.raises(UntrustedLogError):
        decide_one(services, 2)
