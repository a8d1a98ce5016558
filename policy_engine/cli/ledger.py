"""`policy-engine ledger …`: whether what is kept follows from what happened."""

from __future__ import annotations

from dataclasses import asdict

import click

from policy_engine.cli.database import opened_ledger
from policy_engine.cli.frame import ExitCode, progress_bar, show_json, show_table, verb


@click.group(epilog="\b\nExample:\n  policy-engine ledger check")
def ledger() -> None:
    """Check the ledger of grants."""


@verb("policy-engine ledger check")
@click.pass_context
def check(ctx: click.Context, output: str) -> None:
    """Rebuild every counter and line from the entries of the grants, and compare.

    Looks at one moment of the database, also while the service runs; nothing is changed. Exits
    1 with each difference named.
    """
    with opened_ledger() as opened, progress_bar("checking") as progress:
        opened.check_schema()
        found = opened.check_counters(progress)
    if output == "json":
        show_json({"clean": not found, "differences": [asdict(each) for each in found]})
    elif found:
        show_table(
            ("table", "where", "expected", "stored"),
            [(each.table, each.where, each.expected, each.stored) for each in found],
        )
        click.echo(f"{len(found)} differences")
    else:
        click.echo("clean: every counter, line and state is what the entries come to")
    if found:
        ctx.exit(ExitCode.FAILURE)


ledger.add_command(check)
