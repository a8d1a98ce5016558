"""What holds for every verb: help with an example, exit codes, and no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from policy_engine import bootstrap
from policy_engine.cli import main
from tests.cli.conftest import Run


def verbs(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        yield path
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from verbs(found, (*path, name))


VERBS = sorted(verbs(main))


def test_no_verb_is_missing() -> None:
    assert {" ".join(verb) for verb in VERBS} >= {
        "db check",
        "db upgrade",
        "doctor",
        "evaluate",
        "keys create",
        "keys list",
        "keys revoke",
        "pack activate",
        "pack check",
        "pack explain",
        "pack schema",
        "pack show",
        "pack test",
        "serve",
    }


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_helps_with_an_example_and_takes_a_format(run: Run, verb: list[str]) -> None:
    result = run(*verb, "--help")
    assert result.exit_code == 0
    assert f"policy-engine {' '.join(verb)}" in result.stdout.partition("Example:")[2]
    assert "--format [" in result.stdout
    assert "--debug" in result.stdout


@pytest.mark.parametrize("words", [(), ("pack",), ("keys",), ("db",)])
def test_every_group_lists_its_verbs(run: Run, words: list[str]) -> None:
    assert "Commands:" in run(*words, "--help").stdout


@pytest.mark.parametrize(
    "words",
    [
        ("pac",),
        ("pack", "chek"),
        ("pack", "check"),
        ("pack", "check", "no-such-folder"),
        ("pack", "check", ".", "--format", "xml"),
        ("evaluate",),
        ("keys", "create", "--client", "x", "--scope", "everything"),
        ("keys", "create", "--client", "x", "--scope", "decide", "--person", "p"),
        ("pack", "activate", "no-such-folder"),
        ("serve", "--port", "0"),
    ],
    ids=" ".join,
)
def test_a_wrong_call_exits_2(run: Run, words: list[str]) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert "Error:" in result.stderr or "error:" in result.stderr


def test_an_unknown_setting_is_told_with_the_one_that_was_meant(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLICY_ENGINE_DATABSE_URL", "sqlite:///x.db")
    result = run("db", "check")
    assert result.exit_code == 2
    assert "did you mean `POLICY_ENGINE_DATABASE_URL`?" in result.stderr


def test_what_nobody_foresaw_is_one_line_and_a_hint(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a\nb")

    monkeypatch.setattr(bootstrap, "open_ledger", fail)
    result = run("db", "check")
    assert result.exit_code == 1
    assert result.stderr == (
        "error: ZeroDivisionError: a b\n  help: repeat it with --debug to see where it happened\n"
    )
    debugged = run("db", "check", "--debug")
    assert "Traceback" in debugged.stderr
    assert "Traceback" in run("--debug", "db", "check").stderr


def test_a_file_that_cannot_be_written_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    result = run("pack", "schema", "taken/below")
    assert result.exit_code == 1
    assert "Traceback" not in result.stderr
