"""`policy-engine pack check`: every problem of a pack at once, by position."""

from __future__ import annotations

from pathlib import Path

import click

from policy_engine.cli.frame import ExitCode, show_json, verb
from policy_engine.cli.pack_folder import (
    counted,
    errors_of,
    pack_argument,
    problem_line,
    read_folder,
)
from policy_engine.packs.problems import Problem


@verb("policy-engine pack check policies --strict")
@pack_argument
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.pass_context
def check(ctx: click.Context, folder: Path, strict: bool, output: str) -> None:
    """Check a pack and list all its problems, sorted by position.

    Each line is FILE:LINE:COLUMN: SEVERITY: MESSAGE [CODE]. Exits 3 when there is an error,
    or with --strict a warning.
    """
    problems = read_folder(folder).problems
    errors = len(errors_of(problems))
    warnings = len(problems) - errors
    passed = not errors and not (strict and warnings)
    if output == "json":
        show_json(
            {
                "passed": passed,
                "errors": errors,
                "warnings": warnings,
                "problems": [_as_json(problem) for problem in problems],
            }
        )
    else:
        for problem in problems:
            click.echo(problem_line(folder, problem))
        click.echo(f"{folder}: {counted(errors, 'error')}, {counted(warnings, 'warning')}")
    if not passed:
        ctx.exit(ExitCode.PACK_ERRORS)


def _as_json(problem: Problem) -> dict[str, object]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "severity": str(problem.severity),
        "code": str(problem.code),
        "message": problem.message,
    }
