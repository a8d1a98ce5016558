"""`policy-engine pack activate`: a folder's pack, or a stored revision, becomes the active one."""

from __future__ import annotations

from pathlib import Path

import click

from policy_engine.cli.database import by_option, opened_services
from policy_engine.cli.frame import CommandError, ExitCode, show_json, verb
from policy_engine.cli.pack_folder import (
    REVISION,
    check_result,
    counted,
    errors_of,
    problem_line,
)
from policy_engine.core.times import format_timestamp
from policy_engine.packs.files import PackFiles
from policy_engine.usecases import packs


@verb(
    """
    policy-engine pack activate policies
    policy-engine pack activate sha256:9f86d081…  (as `GET /v1/revisions` lists it)
    """
)
@click.argument("what", metavar="DIR|REVISION")
@by_option
def activate(what: str, by: str, output: str) -> None:
    """Make the pack of a folder, or a stored revision, the active one.

    The bytes are stored in the database, the activation is recorded, and every node follows
    within a second. Exits 3, and changes nothing, when the pack has errors.
    """
    folder = Path(what)
    revision = REVISION.fullmatch(what) is not None
    if not revision and not folder.is_dir():
        raise click.BadParameter(
            f"`{what}` is no folder and no revision", param_hint="DIR|REVISION"
        )
    with opened_services() as services:
        try:
            if revision:
                activated = packs.activate_revision(services, what, by)
            else:
                activated = packs.activate_files(services, PackFiles.from_folder(folder), by)
        except packs.PackRefusedError as error:
            errors = errors_of(error.problems)
            for problem in errors:
                click.echo(str(problem) if revision else problem_line(folder, problem), err=True)
            raise CommandError(
                f"the pack has {counted(len(errors), 'error')}; nothing changed",
                code=ExitCode.PACK_ERRORS,
                data=check_result(error.problems),
            ) from None
    activation = activated.activation
    warnings = len(activated.problems)
    changed = activated.previous != activation.revision
    if output == "json":
        show_json(
            {
                "revision": activation.revision,
                "previous": activated.previous,
                "changed": changed,
                "activated_at": format_timestamp(activation.activated_at),
                "activated_by": activation.activated_by,
                "warnings": warnings,
            }
        )
        return
    state = "active" if changed else "active already"
    click.echo(f"{activation.revision} is {state} ({counted(warnings, 'warning')})")
