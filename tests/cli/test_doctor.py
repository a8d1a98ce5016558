"""`policy-engine doctor` in each state that it has to find, and what it says to do."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from policy_engine import bootstrap
from policy_engine.cli import doctor_machine
from policy_engine.ledger.shapes import CredentialTerms
from policy_engine.settings import read_settings
from tests.cli.conftest import Run
from tests.roles import application_role

SECRET = "0123456789abcdef0123456789abcdef"

Found = dict[str, tuple[str, str]]
Look = Callable[[], tuple[int, Found]]


@pytest.fixture
def look(run: Run) -> Look:
    """Runs the doctor: its exit code, and of each check the gravest state and what it says."""

    def examine() -> tuple[int, Found]:
        result = run("doctor", "--format", "json")
        told = json.loads(result.stdout)
        order = ("ok", "warning", "wrong")
        told.sort(key=lambda each: order.index(each["state"]))
        found = {each["check"]: (each["state"], _words(each)) for each in told}
        assert (result.exit_code == 1) is any(state == "wrong" for state, _ in found.values())
        return result.exit_code, found

    return examine


def _words(finding: dict[str, str]) -> str:
    assert finding["advice"] or finding["state"] == "ok", "what is not well comes with advice"
    return f"{finding['detail']}: {finding['advice']}"


@pytest.fixture
def service(run: Run, pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An embedded database that is well, with a pack and a key; its file."""
    monkeypatch.setenv("POLICY_ENGINE_DATABASE_URL", "sqlite:///var/engine.db")
    prepare(run, pack)
    return tmp_path / "var" / "engine.db"


@pytest.fixture
def owned(run: Run, pack: Path, empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same on PostgreSQL, used as its owner."""
    monkeypatch.setenv("POLICY_ENGINE_DATABASE_URL", empty_postgres_url)
    monkeypatch.setenv("POLICY_ENGINE_SECRET_KEY", SECRET)
    prepare(run, pack)
    return empty_postgres_url


def prepare(run: Run, pack: Path) -> None:
    assert run("db", "upgrade").exit_code == 0
    assert run("pack", "activate", pack).exit_code == 0
    made = run("keys", "create", "--client", "desk", "--scope", "decide", "--act-for", "boss")
    assert made.exit_code == 0


def keep_the_log() -> None:
    """What a service would do at its next round."""
    settings = read_settings()
    ledger = bootstrap.open_ledger(settings)
    keeper = bootstrap.log_keeper(settings, ledger)
    keeper.go_round()
    ledger.close()


def test_a_service_that_is_well_has_nothing_to_do(service: Path, look: Look) -> None:
    keep_the_log()
    code, found = look()
    assert code == 0
    assert {state for state, _ in found.values()} == {"ok"}
    assert set(found) >= {"files", "disk", "checkpoints", "log", "keys", "clock"}


def test_a_disk_that_is_filling_up_is_a_warning_and_a_full_one_wrong(
    service: Path, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_machine, "_LITTLE_SPACE_BYTES", 10**18)
    code, found = look()
    assert (code, found["disk"][0]) == (0, "warning")
    monkeypatch.setattr(doctor_machine, "_LEAST_SPACE_BYTES", 10**18)
    code, found = look()
    assert (code, found["disk"][0]) == (1, "wrong")
    assert "make room" in found["disk"][1]


def test_a_database_that_others_can_write_is_wrong(service: Path, look: Look) -> None:
    service.chmod(0o666)
    _, found = look()
    assert found["files"][0] == "wrong"
    assert "chmod o-w" in found["files"][1]


def test_a_folder_whose_files_others_can_replace_is_wrong(service: Path, look: Look) -> None:
    service.parent.chmod(0o777)
    _, found = look()
    assert found["files"][0] == "wrong"
    assert "can replace the files" in found["files"][1]
    service.parent.chmod(0o1777)
    assert look()[1]["files"][0] == "ok"


@pytest.mark.parametrize("ending", [".key", ".key.log"])
def test_a_secret_that_others_can_read_is_wrong(service: Path, look: Look, ending: str) -> None:
    Path(f"{service}{ending}").chmod(0o640)
    _, found = look()
    state, words = found["secret key" if ending == ".key" else "log key"]
    assert state == "wrong"
    assert "chmod 600" in words


def test_a_lost_key_of_the_log_is_wrong(service: Path, look: Look) -> None:
    Path(f"{service}.key.log").unlink()
    _, found = look()
    assert found["log key"][0] == "wrong"
    assert "restore it from a backup" in found["log key"][1]


@pytest.mark.parametrize(
    ("content", "words"),
    [("garbage", "holds no log's key"), ("0" * 64, "signed with another key")],
)
def test_a_key_that_the_log_is_not_signed_with_is_wrong(
    service: Path, look: Look, content: str, words: str
) -> None:
    Path(f"{service}.key.log").write_text(content)
    _, found = look()
    assert found["log key"][0] == "wrong"
    assert words in found["log key"][1]


def test_a_secret_that_was_moved_into_the_environment_has_another_key_of_the_log(
    service: Path, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLICY_ENGINE_SECRET_KEY", Path(f"{service}.key").read_text().strip())
    assert look()[1]["log key"][0] == "wrong"
    monkeypatch.setenv("POLICY_ENGINE_LOG_KEY_FILE", f"{service}.key.log")
    assert look()[1]["log key"][0] == "ok"


def test_checkpoints_that_can_not_be_written_are_wrong(
    service: Path, look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLICY_ENGINE_CHECKPOINT_FILE", str(tmp_path))
    _, found = look()
    assert found["files"][0] == "wrong"
    assert "can't write" in found["files"][1]


def test_a_file_of_checkpoints_that_stays_behind_is_a_warning_with_its_age(
    service: Path, look: Look, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_the_log()
    checkpoints = Path(f"{service}.checkpoints")
    at_first = checkpoints.read_bytes()
    run("keys", "create", "--client", "desk", "--scope", "audit")
    keep_the_log()
    checkpoints.write_bytes(at_first)
    hours_ago = time.time() - 7200
    os.utime(checkpoints, (hours_ago, hours_ago))
    code, found = look()
    assert (code, found["checkpoints"][0]) == (0, "warning")
    assert "written PT2H" in found["checkpoints"][1]


def test_records_that_nobody_puts_into_the_log_are_a_warning(
    service: Path, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("policy_engine.cli.doctor_ledger._LONGEST_DELAY", timedelta(0))
    _, found = look()
    assert found["log"][0] == "warning"
    assert "see that the service runs" in found["log"][1]


def test_without_a_key_nobody_can_call(run: Run, service: Path, look: Look) -> None:
    (key,) = json.loads(run("keys", "list", "--format", "json").stdout)
    run("keys", "revoke", key["id"])
    code, found = look()
    assert (code, found["keys"][0]) == (0, "warning")
    assert "keys create" in found["keys"][1]


def test_a_key_that_ends_soon_is_a_warning(run: Run, service: Path, look: Look) -> None:
    words = ("keys", "create", "--client", "bot", "--scope", "decide", "--expires-in")
    run(*words, "P60D")
    assert look()[1]["keys"][0] == "ok"
    run(*words, "P3D")
    _, found = look()
    assert found["keys"][0] == "warning"
    assert "of `bot` ends at" in found["keys"][1]


@pytest.mark.parametrize(
    ("database", "state"),
    [
        ("service", "warning"),
        pytest.param("owned", "wrong", marks=pytest.mark.postgres, id="on a server of the shop"),
    ],
)
def test_a_key_of_a_trial_is_told(
    request: pytest.FixtureRequest, run: Run, look: Look, database: str, state: str
) -> None:
    request.getfixturevalue(database)
    run("keys", "create", "--client", "development", "--scope", "admin", "--by", "serve --dev")
    _, found = look()
    assert found["keys"][0] == state
    assert "keys revoke" in found["keys"][1]


@pytest.fixture
def issuer(
    service: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[object], None]:
    """Publishes what it is given as the issuer's keys."""
    file = tmp_path / "jwks.json"
    monkeypatch.setenv("POLICY_ENGINE_JWT_ISSUER", "https://issuer.test")
    monkeypatch.setenv("POLICY_ENGINE_JWT_AUDIENCE", "policy-engine")
    monkeypatch.setenv("POLICY_ENGINE_JWT_JWKS_FILE", str(file))
    return lambda document: file.write_text(json.dumps(document))  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("document", "state", "words"),
    [
        ({"keys": [{"kty": "RSA", "kid": "1"}]}, "ok", "1 keys"),
        ({"keys": []}, "wrong", "every token is refused"),
        ({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}, "wrong", "every token is refused"),
        # By default RS256 and ES256 are accepted.
        ({"keys": [{"kty": "OKP", "kid": "1"}]}, "wrong", "by RS256, ES256"),
        ({"keys": [{"kty": "RSA", "alg": "RS512"}]}, "wrong", "by RS256, ES256"),
        (["nothing"], "wrong", "can't read keys"),
    ],
)
def test_an_issuer_without_usable_keys_is_wrong(
    issuer: Callable[[object], None], look: Look, document: object, state: str, words: str
) -> None:
    issuer(document)
    _, found = look()
    assert found["token issuer"][0] == state
    assert words in found["token issuer"][1]


def test_an_issuer_that_can_not_be_reached_is_wrong(
    service: Path, look: Look, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLICY_ENGINE_JWT_ISSUER", "https://issuer.test")
    monkeypatch.setenv("POLICY_ENGINE_JWT_AUDIENCE", "policy-engine")
    monkeypatch.setenv("POLICY_ENGINE_JWT_JWKS_URL", f"http://127.0.0.1:{free_port()}/jwks")
    _, found = look()
    assert found["token issuer"][0] == "wrong"
    assert "reachable" in found["token issuer"][1]


def test_a_clock_behind_the_databases_is_wrong(service: Path, look: Look) -> None:
    ledger = bootstrap.open_ledger(read_settings())
    ledger.now()
    ledger._database._clock._last_us = time.time_ns() // 1000 + 60_000_000  # type: ignore[attr-defined]
    ledger.credentials.create(CredentialTerms("desk", frozenset({"audit"})), "tests")
    ledger.close()
    _, found = look()
    assert found["clock"][0] == "wrong"
    assert "NTP" in found["clock"][1]


@pytest.fixture
def restricted(owned: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same database, used as the service's own role."""
    with application_role(owned) as url:
        monkeypatch.setenv("POLICY_ENGINE_DATABASE_URL", url)
        yield url


@pytest.mark.postgres
def test_a_role_that_may_change_what_is_recorded_is_a_warning(owned: str, look: Look) -> None:
    code, found = look()
    assert (code, found["database role"][0]) == (0, "warning")
    assert "may DELETE" in found["database role"][1]
    assert "docs/operations.md" in found["database role"][1]


@pytest.mark.postgres
def test_the_role_of_the_operations_page_is_the_right_one(restricted: str, look: Look) -> None:
    code, found = look()
    assert code == 0, {k: v for k, v in found.items() if v[0] == "wrong"}
    assert found["database role"][0] == "ok"
    # This server is set up for tests: nothing it commits has to survive it.
    assert found["durability"][0] == "warning"
    assert "fsync" in found["durability"][1]


@pytest.mark.postgres
def test_a_role_that_lacks_rights_is_wrong(
    owned: str, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    with application_role(owned) as url, psycopg.connect(_plain(owned), autocommit=True) as owner:
        monkeypatch.setenv("POLICY_ENGINE_DATABASE_URL", url)
        role = make_url(url).username
        owner.execute(f"REVOKE INSERT ON grant_entry FROM {role}")
        _, found = look()
    assert found["database role"][0] == "wrong"
    assert "may not INSERT grant_entry" in found["database role"][1]
    assert f"policy_engine_grant_application('{role}')" in found["database role"][1]


@pytest.mark.postgres
def test_a_role_that_was_granted_nothing_is_told_in_a_line(
    owned: str, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    with application_role(owned, granted=False) as url:
        monkeypatch.setenv("POLICY_ENGINE_DATABASE_URL", url)
        _, found = look()
    role = make_url(url).username
    assert found["migrations"][0] == "wrong"
    assert f"SELECT policy_engine_grant_application('{role}')" in found["migrations"][1]
    assert "SELECT alembic" not in str(found)


@pytest.mark.postgres
def test_what_the_driver_says_is_told(
    owned: str, look: Look, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_url(owned).set(database="not_there").render_as_string(hide_password=False)
    monkeypatch.setenv("POLICY_ENGINE_DATABASE_URL", other)
    _, found = look()
    assert "does not exist" in found["database"][1]
    assert "does not exist" in run("db", "check").stderr


def _plain(url: str) -> str:
    return url.replace("postgresql+psycopg", "postgresql")


@pytest.mark.postgres
def test_more_connections_than_the_server_takes_are_a_warning(
    restricted: str, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLICY_ENGINE_WORKERS", "64")
    monkeypatch.setenv("POLICY_ENGINE_DATABASE_POOL_SIZE", "50")
    _, found = look()
    assert found["connections"][0] == "warning"
    assert "3200 connections" in found["connections"][1]
