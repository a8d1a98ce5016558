"""`policy-engine grants list` and `grants show`: whoever can read the database sees all."""

from __future__ import annotations

import click

from policy_engine.api.grant_inputs import GrantListSchema
from policy_engine.cli.acting import AUDITOR
from policy_engine.cli.database import opened_services
from policy_engine.cli.frame import CommandError, ExitCode, show_json, show_table, verb
from policy_engine.cli.grant_page import at, money, show_grant
from policy_engine.cli.typed import typed
from policy_engine.core.grants import GrantStatus
from policy_engine.ledger.errors import CursorError
from policy_engine.ledger.grant_shapes import GrantFilter
from policy_engine.usecases import grants as use


@verb(
    """
    policy-engine grants list --status pending --approver supervisor
    policy-engine grants list --customer C-1042 --format json
    """
)
@click.option(
    "--status",
    type=click.Choice([each.value for each in GrantStatus]),
    help="In this state; `pending`: whatever waits, in part as well.",
)
@click.option("--approver", metavar="ROLE", help="That this role is the lowest to approve.")
@click.option("--order", metavar="ID", help="On this order.")
@click.option("--customer", metavar="ID", help="To this customer.")
@click.option("--agent", metavar="ID", help="Asked for by this agent.")
@click.option("--external-ref", metavar="TEXT", help="With this reference of the shop's.")
@click.option(
    "--limit",
    type=click.IntRange(1, use.MAX_PAGE),
    default=use.DEFAULT_PAGE,
    show_default=True,
    help="At most as many.",
)
@click.option("--cursor", help="Where the page before ended.")
def list_grants(limit: int, cursor: str | None, output: str, **wanted: str | None) -> None:
    """List grants, oldest first; with --status pending the queue of what waits for approval."""
    read = typed(GrantListSchema(), wanted)
    status = read.get("status")
    narrowed = GrantFilter(
        status=None if status is None else GrantStatus(status),
        approver=read.get("approver"),
        external_ref=read.get("external_ref"),
        order_id=read.get("order"),
        customer_id=read.get("customer"),
        agent_id=read.get("agent"),
    )
    with opened_services(with_pack=True) as services:
        try:
            page = use.listed(services, AUDITOR, narrowed, limit, cursor)
        except CursorError as error:
            raise CommandError(f"--cursor: {error}", code=ExitCode.USAGE) from None
    if output == "json":
        show_json(page)
        return
    show_table(
        (
            "id",
            "granted at",
            "status",
            "plan",
            "order",
            "customer",
            "asked by",
            "granted",
            "pending",
            "waits for",
            "until",
        ),
        [
            (
                each["grant_id"],
                at(each["granted_at"]),
                each["status"],
                each["plan"],
                each["order"],
                each["customer"] or "(erased)",
                f"{each['agent']['id']} ({each['agent']['role']})",
                money(each["granted"]),
                money(each["pending"]),
                each["approver"] if each["pending_until"] else "-",
                at(each["pending_until"]),
            )
            for each in page["grants"]
        ],
    )
    if page["next_cursor"] is not None:
        click.echo(f"there are more: --cursor {page['next_cursor']}", err=True)


@verb("policy-engine grants show 01969f2e-5c1a-7d20-9f6e-2b1c6a4d8e33")
@click.argument("grant_id", metavar="ID")
def show(grant_id: str, output: str) -> None:
    """Show a grant: what was given and waits, what its caps hold now, and all that happened."""
    with opened_services(with_pack=True) as services:
        found = use.show(services, AUDITOR, grant_id)
    show_grant(found, output)
