"""`policy-engine caps`: what is left to give."""

from __future__ import annotations

import click

from policy_engine.api.grant_inputs import CapsQuerySchema
from policy_engine.cli.acting import AUDITOR
from policy_engine.cli.database import opened_services
from policy_engine.cli.frame import show_json, verb
from policy_engine.cli.grant_page import at, show_caps
from policy_engine.cli.typed import typed
from policy_engine.usecases import caps as use


@verb(
    """
    policy-engine caps --order SO-1 --customer C-1042
    policy-engine caps --agent A-7 --format json
    """
)
@click.option("--order", metavar="ID", help="Caps of scope order and claim.")
@click.option("--customer", metavar="ID", help="Caps of scope customer.")
@click.option("--agent", metavar="ID", help="Caps of scope agent.")
def caps(order: str | None, customer: str | None, agent: str | None, output: str) -> None:
    """Show what is left of the active pack's caps, what is used, and what of that waits.

    Those of scope pack are always shown; without an option, they alone.
    """
    given = {"order": order, "customer": customer, "agent": agent}
    asked = any(each is not None for each in given.values())
    read = typed(CapsQuerySchema(), given) if asked else {}
    with opened_services(with_pack=True) as services:
        whose = use.Whose(read.get("order"), read.get("customer"), read.get("agent"))
        found = use.caps(services, AUDITOR, whose)
    if output == "json":
        show_json(found)
        return
    show_caps(found["caps"])
    click.echo(f"as of {at(found['as_of'])}, pack {found['pack_revision']}", err=True)
