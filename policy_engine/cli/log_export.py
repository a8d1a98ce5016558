"""`policy-engine log export`: decisions and grant movements as files, for auditors and finance."""

from __future__ import annotations

from datetime import date, datetime, tzinfo
from pathlib import Path

import click
from rich.progress import Progress, SpinnerColumn, TextColumn

from policy_engine.cli.database import by_option, keeping_log, opened_services
from policy_engine.cli.frame import CommandError, debug_option, notes
from policy_engine.cli.times import instant, span_options
from policy_engine.reports.exports import MANIFEST, write_folder
from policy_engine.reports.files import FORMATS, FileFormat, MissingExtraError
from policy_engine.usecases.exporting import Export, begin


@click.command(
    epilog="\b\nExample:\n"
    "  policy-engine log export --from 2026-04-01 --to 2026-07-01 --format parquet --out q2"
)
@span_options
@click.option(
    "--format",
    "output",
    type=click.Choice(list(FORMATS)),
    default="jsonl",
    show_default=True,
    help="Of the files; parquet and xlsx need the extra `reports`.",
)
@click.option(
    "--out",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("export"),
    show_default=True,
    help="The folder to write to; files of the same names are replaced.",
)
@by_option
@debug_option
def export(
    since: date | datetime,
    until: date | datetime | None,
    zone: tzinfo,
    output: str,
    folder: Path,
    by: str,
) -> None:
    """Write decisions and grant movements to files, with a manifest that proves them.

    One row a decision and one a grant movement, as far as they are in the log by now; the
    manifest has counts, totals, the checkpoint, and the SHA-256 of each file. The export is
    recorded.
    """
    chosen = FORMATS[output]
    try:
        chosen.check()
    except MissingExtraError as error:
        raise CommandError(str(error)) from error
    with opened_services() as services, keeping_log(services):
        made = begin(
            services,
            since=instant(since, zone),
            until=services.ledger.now() if until is None else instant(until, zone),
            output=output,
            by=by,
        )
        rows = _write(made, chosen, folder)
    click.echo(f"{rows} rows and {MANIFEST} are in {folder}")


def _write(made: Export, output: FileFormat, folder: Path) -> int:
    rows = 0
    columns = (SpinnerColumn(), TextColumn("{task.completed:.0f} rows"))
    with Progress(*columns, console=notes(), transient=True) as progress:
        task = progress.add_task("", total=None)
        for rows in write_folder(made, output, folder):
            progress.update(task, completed=rows)
    return rows
