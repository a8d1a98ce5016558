"""`policy-engine report`: what was given in a month, and what became of it."""

from __future__ import annotations

from datetime import date, tzinfo
from pathlib import Path

import click
import orjson

from policy_engine.cli.database import opened_services
from policy_engine.cli.frame import CommandError, show_json, verb
from policy_engine.cli.times import Month, zone_option
from policy_engine.reports.files import MissingExtraError
from policy_engine.reports.pages import report_page
from policy_engine.usecases.reporting import month_report


@verb(
    """
    policy-engine report --month 2026-06 --zone Asia/Shanghai --out june.html
    policy-engine report --month 2026-06 --format json
    """
)
@click.option("--month", type=Month(), metavar="YYYY-MM", required=True, help="Which month.")
@zone_option
@click.option(
    "--out",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The HTML file; report-YYYY-MM.html if left out. The data go beside it, as JSON.",
)
def report(month: tuple[date, date], zone: tzinfo, file: Path | None, output: str) -> None:
    """Write the report of a month: one HTML file that needs nothing else, and its data as JSON.

    With `--format json` and no `--out`, the data are printed and no file is written.
    """
    with opened_services() as services:
        counted = month_report(services, *month, zone)
    if output == "json" and file is None:
        show_json(counted)
        return
    page = file or Path(f"report-{month[0]:%Y-%m}.html")
    data = page.with_suffix(".json")
    try:
        html = report_page(counted)
    except MissingExtraError as error:
        raise CommandError(str(error)) from error
    page.write_text(html, encoding="utf-8")
    data.write_bytes(orjson.dumps(counted, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    if output == "json":
        show_json({"page": str(page), "data": str(data)})
    else:
        click.echo(f"wrote {page} and {data}")
