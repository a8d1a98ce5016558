"""`policy-engine privacy …`: what a customer may ask for."""

from __future__ import annotations

import click

from policy_engine.cli.database import by_option, opened_services
from policy_engine.cli.frame import show_json, verb
from policy_engine.core.times import format_timestamp
from policy_engine.usecases.privacy import erase as erase_customer


@click.group(epilog="\b\nExample:\n  policy-engine privacy erase C-1")
def privacy() -> None:
    """Erase a customer."""


@verb("policy-engine privacy erase C-1 --by 'data protection officer'")
@click.argument("customer_id", metavar="CUSTOMER")
@click.option("--yes", is_flag=True, help="Don't ask.")
@by_option
def erase(customer_id: str, yes: bool, by: str, output: str) -> None:
    """Destroy the key that everything about a customer is encrypted under. It can't be undone.

    Their answers and the personal parts of their records can't be read by anybody afterwards.
    Totals, caps and proofs stay; the erasure is recorded. Backups still hold the key until they
    are thrown away.
    """
    if not yes:
        click.confirm("this can't be undone; erase the customer?", abort=True, err=True)
    with opened_services() as services:
        erasure = erase_customer(services, customer_id, by)
    if output == "json":
        show_json(
            {
                "record": erasure.record_id,
                "erased_at": format_timestamp(erasure.erased_at),
                "decisions": erasure.decisions,
            }
        )
    else:
        click.echo(f"erased: {erasure.decisions} decisions can't be read any more")


privacy.add_command(erase)
