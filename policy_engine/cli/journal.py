"""`policy-engine journal`: grants as a double-entry journal, for plain-text accounting."""

from __future__ import annotations

from datetime import date, datetime, tzinfo

import click

from policy_engine.cli.database import opened_services
from policy_engine.cli.frame import CommandError, ExitCode, debug_option
from policy_engine.cli.times import instant, span_options
from policy_engine.reports.journals import JOURNALS
from policy_engine.usecases.journal import closings, transactions


@click.command(
    epilog="\b\nExample:\n"
    "  policy-engine journal --format beancount --from 2026-04-01 --to 2026-07-01 > q2.beancount\n"
    "  bean-check q2.beancount"
)
@span_options
@click.option(
    "--format",
    "output",
    type=click.Choice(list(JOURNALS)),
    default="hledger",
    show_default=True,
    help="The tool that is to read it.",
)
@debug_option
def journal(
    since: date | datetime, until: date | datetime | None, zone: tzinfo, output: str
) -> None:
    """Print grants as double entries that balance.

    Expenses by policy, liabilities for what was granted and not used yet, breakage for what
    expired. It begins with what was carried forward, and ends with what the liabilities must
    come to.
    """
    with opened_services() as services:
        begin = instant(since, zone)
        end = services.ledger.now() if until is None else instant(until, zone)
        if end <= begin:
            raise CommandError("`--to` must lie after `--from`", code=ExitCode.USAGE)
        history = services.ledger.history
        text = JOURNALS[output](zone).lines(
            transactions(history, begin, end), closings(history, end), begin, end
        )
        for part in text:
            click.echo(part, nl=False)
