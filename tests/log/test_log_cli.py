"""`policy-engine log …` and `privacy erase`, as they are typed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from policy_engine.cli import main
from policy_engine.core.evaluation import Engine
from policy_engine.usecases import packs
from policy_engine.usecases.library import Library
from policy_engine.usecases.services import Services
from tests.log.given import PACK, SECRET, close, decide_one, open_services, sequence
from tests.log.tampering import unguarded

Run = Callable[..., Result]


@pytest.fixture
def run(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("POLICY_ENGINE_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("POLICY_ENGINE_SECRET_KEY", SECRET)

    def run_one(*arguments: str, given: str = "") -> Result:
        return CliRunner().invoke(main, arguments, input=given)

    return run_one


@pytest.fixture
def decided(sqlite_url: str, run: Run) -> Iterator[Services]:
    assert run("db", "upgrade").exit_code == 0
    assert run("pack", "activate", str(PACK)).exit_code == 0
    services = open_services(sqlite_url)
    packs.follow(services)
    for number in range(6):
        decide_one(services, number)
    sequence(services)
    yield services
    close(services)


def test_verify_says_good_and_exits_0(decided: Services, run: Run) -> None:
    shown = run("log", "verify")
    assert shown.exit_code == 0, shown.output
    assert "good: 8 entries; 6 decisions, 6 replayed" in shown.output
    found = json.loads(run("log", "verify", "--no-replay", "--format", "json").output)
    assert (found["verdict"], found["counts"]["replayed"]) == ("good", 0)
    sampled = json.loads(run("log", "verify", "--sample", "2", "--format", "json").output)
    assert sampled["counts"]["replayed"] == 2


def test_verify_says_where_it_is_broken_and_exits_1(
    decided: Services, run: Run, sqlite_url: str
) -> None:
    with unguarded(sqlite_url) as connection:
        connection.execute(
            text("UPDATE decision SET outcome = 'nothing_due' WHERE order_id='SO-3'")
        )
    shown = run("log", "verify", "--format", "json")
    assert shown.exit_code == 1
    found = json.loads(shown.output)
    assert found["findings"] == [
        {
            "table": "decision",
            "row": found["findings"][0]["row"],
            "message": "`outcome` is not what the record says",
            "index": 5,
            "severity": "broken",
        }
    ]
    assert "broken: 8 entries" in run("log", "verify").output


def test_verify_says_what_it_could_not_look_at_and_exits_2(
    decided: Services, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_another_release = partial(Library, evaluators={2: Engine})
    monkeypatch.setattr("policy_engine.bootstrap.Library", of_another_release)
    shown = run("log", "verify", "--format", "json")
    assert shown.exit_code == 2
    found = json.loads(shown.output)
    assert (found["verdict"], found["found"]) == ("incomplete", {"incomplete": 6})
    assert "no evaluator of semantics" in found["findings"][0]["message"]


def test_verify_takes_what_an_auditor_holds(
    decided: Services, run: Run, tmp_path: Path, sqlite_url: str
) -> None:
    held, key = tmp_path / "held.txt", tmp_path / "log.pub"
    held.write_text(run("log", "checkpoint").output)
    key.write_text(run("log", "key").output)
    decide_one(decided, 10)
    sequence(decided)
    good = run("log", "verify", "--checkpoint", str(held), "--key", str(key))
    assert good.exit_code == 0, good.output
    assert "1 held checkpoints" in good.stdout

    whole = held.read_text()
    for without in ("", "junk\n", whole[:60], key.read_text()):
        held.write_text(without)
        empty = run("log", "verify", "--checkpoint", str(held))
        assert (empty.exit_code, "holds no checkpoint" in empty.stderr) == (2, True)
    held.write_text(whole + whole[:60])
    warned = run("log", "verify", "--checkpoint", str(held))
    assert (warned.exit_code, "no whole checkpoint" in warned.stderr) == (0, True)
    held.write_text(whole)

    other = tmp_path / "other.pub"
    other.write_text("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    assert run("log", "verify", "--key", str(other)).exit_code == 1
    other.write_text("no key")
    assert run("log", "verify", "--key", str(other)).exit_code == 2

    with unguarded(sqlite_url) as connection:
        connection.execute(text("DELETE FROM log_leaf WHERE leaf_index >= 4"))
        connection.execute(text("DELETE FROM checkpoint"))
    assert run("log", "verify", "--checkpoint", str(held)).exit_code == 1


def test_tail_prints_the_last_entries(decided: Services, run: Run) -> None:
    lines = run("log", "tail", "-n", "3").output.splitlines()
    assert [line.split()[:1] for line in lines] == [["5"], ["6"], ["7"]]
    entries = run("log", "tail", "--kind", "activation", "--format", "json").output.splitlines()
    assert [json.loads(each)["content"]["kind"] for each in entries] == ["activation"]


def test_erase_is_typed_once_and_recorded(decided: Services, run: Run) -> None:
    for answer in ("", "n\n"):
        asked = run("privacy", "erase", "customer-4", given=answer)
        assert asked.exit_code == 1
        assert "erased" not in asked.stdout
    shown = run("privacy", "erase", "customer-4", "--by", "officer", "--yes")
    assert shown.exit_code == 0, shown.output
    assert "1 decisions" in shown.output
    again = run("privacy", "erase", "customer-4", given="y\n")
    assert again.exit_code == 1
    assert "nothing personal is kept" in again.output
    sequence(decided)
    verified = run("log", "verify")
    assert verified.exit_code == 0, verified.output
    assert "1 erased" in verified.output


def test_the_first_upgrade_makes_the_logs_key_beside_the_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLICY_ENGINE_DATABASE_URL", f"sqlite:///{tmp_path / 'a.db'}")
    monkeypatch.delenv("POLICY_ENGINE_SECRET_KEY", raising=False)
    assert CliRunner().invoke(main, ["db", "upgrade"]).exit_code == 0
    key = tmp_path / "a.db.key.log"
    assert key.stat().st_mode & 0o777 == 0o600
    before = key.read_text()
    assert CliRunner().invoke(main, ["db", "upgrade"]).exit_code == 0
    assert key.read_text() == before
    key.unlink()
    lost = CliRunner().invoke(main, ["db", "upgrade"])
    assert lost.exit_code == 1
    assert not key.exists()
