"""`policy-engine pack …`: everything that is done with a folder of policy files."""

from __future__ import annotations

import click

from policy_engine.cli.frame import VerbGroup

_HERE = "policy_engine.cli"


@click.command(
    cls=VerbGroup,
    verbs={
        "check": f"{_HERE}.pack_check:check",
        "test": f"{_HERE}.pack_test:test",
        "show": f"{_HERE}.pack_show:show",
        "explain": f"{_HERE}.pack_explain:explain",
        "diff": f"{_HERE}.pack_diff:diff",
        "schema": f"{_HERE}.pack_schema:schema",
        "activate": f"{_HERE}.pack_activate:activate",
    },
    epilog="\b\nExample:\n  policy-engine pack check policies",
)
def pack() -> None:
    """Check, test, show, explain, compare and activate policy packs."""
