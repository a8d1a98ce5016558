"""`db`, `keys`, `pack activate` and `doctor`, on a real database."""

from __future__ import annotations

import json
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.test_pack_verbs import BROKEN

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def database(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty database of each kind, that the verbs use."""
    monkeypatch.setenv("POLICY_ENGINE_DATABASE_URL", empty_database_url)
    monkeypatch.setenv("POLICY_ENGINE_SECRET_KEY", SECRET)
    return empty_database_url


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of an embedded database that is not there yet, its secret beside it."""
    monkeypatch.setenv("POLICY_ENGINE_DATABASE_URL", "sqlite:///var/engine.db")
    return tmp_path / "var" / "engine.db"


def create_key(run: Run, *words: str) -> dict[str, object]:
    result = run(
        "keys", "create", "--client", "desk", "--scope", "decide", *words, "--format", "json"
    )
    assert result.exit_code == 0, result.stderr
    made: dict[str, object] = json.loads(result.stdout)
    return made


def states(run: Run) -> dict[str, str]:
    return {
        each["id"]: each["state"]
        for each in json.loads(run("keys", "list", "--format", "json").stdout)
    }


def test_a_database_is_set_up_and_checked(run: Run, database: str) -> None:
    empty = run("db", "check")
    assert empty.exit_code == 1
    assert "db upgrade" in empty.stderr
    assert run("db", "upgrade").exit_code == 0
    assert run("db", "upgrade").exit_code == 0
    assert run("db", "check").exit_code == 0


def test_keys_are_shown_once_listed_and_revoked(run: Run, database: str) -> None:
    run("db", "upgrade")
    made = create_key(run, "--act-for", "agent", "--by", "ops")
    assert str(made["key"]).startswith(f"pe_{made['id']}_")
    listed = run("keys", "list", "--format", "json").stdout
    assert str(made["key"]).rpartition("_")[2] not in listed
    (row,) = json.loads(listed)
    assert (row["client"], row["act_for"], row["created_by"]) == ("desk", "agent", "ops")
    assert states(run) == {made["id"]: "valid"}
    assert run("keys", "revoke", made["id"]).exit_code == 0
    assert states(run)[str(made["id"])].startswith("revoked")


def test_a_key_is_printed_alone_so_that_it_can_be_piped(run: Run, embedded: Path) -> None:
    run("db", "upgrade")
    result = run("keys", "create", "--client", "desk", "--scope", "decide")
    assert len(result.stdout.split()) == 1


def test_a_key_can_be_bound_to_a_person_or_a_roster_and_expires(
    run: Run, embedded: Path, tmp_path: Path
) -> None:
    run("db", "upgrade")
    person = create_key(run, "--person", "u-1", "--role", "boss", "--expires-in", "P1D")
    assert person["person"] == {"id": "u-1", "role": "boss"}
    assert person["expires_at"] is not None
    (tmp_path / "roster.json").write_text('{"u-2": "agent"}')
    roster = create_key(run, "--act-for", "boss", "--roster", "roster.json")
    assert roster["roster"] == {"u-2": "agent"}


def test_a_role_that_the_active_pack_lacks_is_warned_of(
    run: Run, embedded: Path, pack: Path, tmp_path: Path
) -> None:
    run("db", "upgrade")
    words = ("keys", "create", "--client", "desk", "--scope", "decide")
    (tmp_path / "roster.json").write_text('{"u-2": "agent", "u-3": "kin"}')
    assert "warning" not in run(*words, "--act-for", "king").stderr
    run("pack", "activate", pack)
    assert "warning" not in run(*words, "--person", "u", "--role", "boss").stderr
    assert "warning" not in run(*words).stderr
    for named in (("--act-for", "king"), ("--person", "u", "--role", "king")):
        result = run(*words, *named)
        assert result.exit_code == 0
        assert len(result.stdout.split()) == 1
        assert "warning: the active pack has no role `king`" in result.stderr
        assert "it has `agent` and `boss`" in result.stderr
    rostered = run(*words, "--act-for", "boss", "--roster", "roster.json")
    assert "no role `kin`" in rostered.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--person", "u", "--role", "boss", "--act-for", "boss"),
        ("--roster", "roster.json"),
        ("--act-for", "boss", "--expires-in", "P1M"),
        ("--act-for", "boss", "--expires-in", "-P1D"),
    ],
)
def test_terms_that_contradict_are_refused(
    run: Run, embedded: Path, tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "roster.json").write_text('{"u-2": "agent"}')
    assert run("keys", "create", "--client", "x", "--scope", "decide", *words).exit_code == 2


@pytest.mark.parametrize("option", ["--client", "--person", "--role", "--owner", "--act-for"])
@pytest.mark.parametrize("text", ["", "a\nb", "x" * 129, "é" * 65], ids=str.isascii)
def test_a_key_is_for_somebody_who_has_an_id(
    run: Run, embedded: Path, option: str, text: str
) -> None:
    words = {"--client": "x", "--scope": "decide", "--person": "u", "--role": "agent"}
    if option == "--act-for":
        del words["--person"], words["--role"]
    pairs = [part for pair in {**words, option: text}.items() for part in pair]
    result = run("keys", "create", *pairs)
    assert (result.exit_code, f"'{option}'" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    "roster", ['{"u-2": "agent", "u-2": "boss"}', '{"": "agent"}', '{"u-2": ""}', '["u-2"]', "{"]
)
def test_a_roster_that_could_be_read_in_two_ways_is_refused(
    run: Run, embedded: Path, tmp_path: Path, roster: str
) -> None:
    (tmp_path / "roster.json").write_text(roster)
    words = ("--client", "x", "--scope", "decide", "--act-for", "boss")
    result = run("keys", "create", *words, "--roster", tmp_path / "roster.json")
    assert (result.exit_code, "roster.json" in result.stderr) == (2, True)


def test_a_file_that_is_no_database_is_told_in_a_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "junk.db").write_text("no database")
    monkeypatch.setenv("POLICY_ENGINE_DATABASE_URL", f"sqlite:///{tmp_path / 'junk.db'}")
    monkeypatch.setenv("POLICY_ENGINE_SECRET_KEY", SECRET)
    for words in (("db", "check"), ("keys", "list"), ("ledger", "check")):
        result = run(*words)
        assert result.exit_code == 1
        assert "is damaged, or is none" in result.stderr
        assert "sqlalche" not in result.stderr


def test_an_unknown_key_is_a_failure(run: Run, embedded: Path) -> None:
    run("db", "upgrade")
    result = run("keys", "revoke", "0000000000000000")
    assert result.exit_code == 1
    assert "0000000000000000" in result.stderr


def test_a_pack_is_activated_once_and_by_its_revision(run: Run, database: str, pack: Path) -> None:
    run("db", "upgrade")
    first = json.loads(run("pack", "activate", pack, "--by", "ops", "--format", "json").stdout)
    assert (first["previous"], first["changed"], first["activated_by"]) == (None, True, "ops")
    again = json.loads(run("pack", "activate", pack, "--format", "json").stdout)
    assert (again["changed"], again["revision"]) == (False, first["revision"])
    (pack / "caps.yaml").write_text("caps: []\n")
    other = json.loads(run("pack", "activate", pack, "--format", "json").stdout)
    assert other["previous"] == first["revision"]
    back = run("pack", "activate", first["revision"])
    assert back.exit_code == 0
    assert back.stdout.startswith(f"{first['revision']} is active")


def test_a_pack_with_errors_is_not_activated(
    run: Run, embedded: Path, write_pack: Callable[..., Path]
) -> None:
    run("db", "upgrade")
    result = run("pack", "activate", write_pack(BROKEN))
    assert result.exit_code == 3
    assert "[UNQUOTED_DECIMAL]" in result.stderr
    assert "nothing changed" in result.stderr


def test_an_unknown_revision_is_a_failure(run: Run, embedded: Path) -> None:
    run("db", "upgrade")
    assert run("pack", "activate", "sha256:" + "0" * 64).exit_code == 1


def findings(run: Run) -> tuple[int, dict[str, tuple[str, str]]]:
    result = run("doctor", "--format", "json")
    told = json.loads(result.stdout)
    # The gravest finding of each check.
    order = ("ok", "warning", "wrong")
    told.sort(key=lambda each: order.index(each["state"]))
    return result.exit_code, {each["check"]: (each["state"], each["advice"]) for each in told}


def test_the_doctor_finds_a_service_well(run: Run, database: str, pack: Path) -> None:
    run("db", "upgrade")
    run("pack", "activate", pack)
    code, found = findings(run)
    assert code == 0
    assert {check for check, (state, _) in found.items() if state == "ok"} >= {
        "configuration",
        "matcher",
        "secret key",
        "database",
        "migrations",
        "active pack",
        "clock",
    }


def test_the_doctor_says_what_to_do_on_a_fresh_machine(run: Run, embedded: Path) -> None:
    code, found = findings(run)
    assert code == 1
    state, advice = found["secret key"]
    assert state == "wrong"
    assert "db upgrade" in advice


def test_the_doctor_misses_the_migrations(run: Run, database: str) -> None:
    if database.startswith("sqlite"):
        Path(database.removeprefix("sqlite:///")).touch()
    code, found = findings(run)
    assert code == 1
    state, advice = found["migrations"]
    assert state == "wrong"
    assert "db upgrade" in advice


def test_the_doctor_finds_a_secret_that_others_can_read(run: Run, embedded: Path) -> None:
    run("db", "upgrade")
    secret = Path(f"{embedded}.key")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    secret.chmod(0o644)
    code, found = findings(run)
    assert (code, found["secret key"][0]) == (1, "wrong")
    assert found["secret key"][1].startswith("chmod 600 ")


def test_the_doctor_warns_of_a_database_without_a_pack(run: Run, embedded: Path) -> None:
    run("db", "upgrade")
    code, found = findings(run)
    assert (code, found["active pack"][0]) == (0, "warning")


def test_the_doctor_tells_a_wrong_setting(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLICY_ENGINE_PORT", "http")
    code, found = findings(run)
    assert (code, found["configuration"][0]) == (1, "wrong")


def test_a_lost_secret_is_not_replaced_by_a_new_one(run: Run, embedded: Path) -> None:
    run("db", "upgrade")
    Path(f"{embedded}.key").unlink()
    result = run("db", "upgrade")
    assert result.exit_code == 1
    assert "restore it from a backup" in result.stderr
    assert not Path(f"{embedded}.key").exists()


def test_a_database_that_does_not_answer_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLICY_ENGINE_DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("POLICY_ENGINE_SECRET_KEY", SECRET)
    result = run("db", "check")
    assert result.exit_code == 1
    assert "POLICY_ENGINE_DATABASE_URL" in result.stderr
    assert "Traceback" not in result.stderr
    code, found = findings(run)
    assert (code, found["database"][0]) == (1, "wrong")


@pytest.mark.postgres
def test_an_upgrade_that_is_refused_leaves_no_secret_behind(
    run: Run, empty_postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLICY_ENGINE_DATABASE_URL", empty_postgres_url)
    files = [tmp_path / "one" / "secret.key", tmp_path / "other" / "secret.key"]
    results = []
    for file in files:
        monkeypatch.setenv("POLICY_ENGINE_SECRET_KEY_FILE", str(file))
        results.append(run("db", "upgrade"))
    assert [each.exit_code for each in results] == [0, 1]
    assert "another secret key" in results[1].stderr
    assert [file.exists() for file in files] == [True, False]


def test_a_database_of_a_newer_release_is_not_upgraded(run: Run, embedded: Path) -> None:
    assert run("db", "upgrade").exit_code == 0
    with closing(sqlite3.connect(embedded)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    result = run("db", "upgrade")
    assert (result.exit_code, "newer than this release" in result.stderr) == (1, True)


def test_a_secret_that_is_lost_or_none_is_told_as_what_it_is(
    run: Run, embedded: Path, tmp_path: Path
) -> None:
    assert run("db", "upgrade").exit_code == 0
    key = Path(f"{embedded}.key")
    right = key.read_text()
    for write, words in (
        (lambda: key.write_text("short"), "holds no secret key"),
        (lambda: (key.unlink(), key.mkdir()), "can't read the secret key"),
        (key.rmdir, "there is no secret key"),
    ):
        write()
        result = run("keys", "list")
        assert (result.exit_code, words in result.stderr) == (1, True), result.stderr
    key.write_text(right)
    Path(f"{embedded}.key.log").write_text("short")
    assert "holds no log's key" in run("db", "upgrade").stderr
