"""Reads a pack's folder for a verb, and tells its problems."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from policy_engine.cli.frame import CommandError, ExitCode
from policy_engine.core.policy import Pack
from policy_engine.packs.files import PackFiles, PackFilesError
from policy_engine.packs.loading import Loaded, load
from policy_engine.packs.problems import Problem, Severity

REVISION = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
"""How a stored pack is named."""

pack_argument = click.argument(
    "folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
pack_option = click.option(
    "--pack",
    "folder",
    metavar="DIR",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder of the policy pack.",
)


def read_folder(folder: Path) -> Loaded:
    """The pack of a folder with its problems; CommandError when the folder can't be read."""
    try:
        return load(PackFiles.from_folder(folder))
    except PackFilesError as error:
        raise CommandError(str(error)) from None


def usable_pack(folder: Path) -> tuple[Pack, Loaded]:
    """A pack that can decide; shows the errors and exits 3 when it can't."""
    loaded = read_folder(folder)
    if loaded.pack is None:
        for problem in errors_of(loaded.problems):
            click.echo(problem_line(folder, problem), err=True)
        raise CommandError(
            f"the pack in `{folder}` has {counted(len(errors_of(loaded.problems)), 'error')}",
            f"`policy-engine pack check {folder}` shows warnings too",
            ExitCode.PACK_ERRORS,
            check_result(loaded.problems),
        )
    return loaded.pack, loaded


def check_result(problems: Sequence[Problem], *, strict: bool = False) -> dict[str, object]:
    """What `pack check` shows a program: `passed`, the numbers, and every problem."""
    errors = len(errors_of(problems))
    warnings = len(problems) - errors
    return {
        "passed": not errors and not (strict and warnings),
        "errors": errors,
        "warnings": warnings,
        "problems": [
            {
                "file": problem.file,
                "line": problem.line,
                "column": problem.column,
                "severity": str(problem.severity),
                "code": str(problem.code),
                "message": problem.message,
            }
            for problem in problems
        ],
    }


def errors_of(problems: Iterable[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.severity is Severity.ERROR]


def problem_line(folder: Path, problem: Problem) -> str:
    """`policies/caps.yaml:3:7: error: … [CODE]`, with the path an editor can open."""
    return f"{folder / problem.file}:{str(problem).removeprefix(problem.file + ':')}"


def counted(number: int, noun: str) -> str:
    """`1 error`, `2 errors`, `no errors`."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
