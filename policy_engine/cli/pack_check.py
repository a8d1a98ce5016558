"""`policy-engine pack check`: every problem of a pack at once, by position."""

from __future__ import annotations

from pathlib import Path

import click

from policy_engine.cli.frame import ExitCode, show_json, verb
from policy_engine.cli.pack_folder import (
    check_result,
    counted,
    errors_of,
    pack_argument,
    problem_line,
    read_folder,
)


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
    result = check_result(problems, strict=strict)
    if output == "json":
        show_json(result)
    else:
        for problem in problems:
            click.echo(problem_line(folder, problem))
        errors = len(errors_of(problems))
        warnings = len(problems) - errors
        click.echo(f"{folder}: {counted(errors, 'error')}, {counted(warnings, 'warning')}")
    if not result["passed"]:
        ctx.exit(ExitCode.PACK_ERRORS)
