"""`policy-engine log checkpoint` and `log key`: what an auditor takes home."""

from __future__ import annotations

import base64

import click

from policy_engine.cli.database import opened_ledger
from policy_engine.cli.frame import CommandError, show_json, verb

_NOT_YET = "start the service, or run `policy-engine db upgrade`"


@verb("policy-engine log checkpoint > held.txt")
def checkpoint(output: str) -> None:
    """Print the latest checkpoint, a signed note.

    Who keeps it can prove later that nothing it covers was changed: `log verify --checkpoint`.
    """
    with opened_ledger() as ledger:
        ledger.check_schema()
        latest = ledger.log.checkpoint()
    if latest is None:
        raise CommandError("the log has no checkpoint yet", _NOT_YET)
    if output == "json":
        root = base64.b64encode(latest.root).decode()
        show_json({"size": latest.size, "root": root, "note": latest.note})
    else:
        click.echo(latest.note, nl=False)


@verb("policy-engine log key > log.pub")
def key(output: str) -> None:
    """Print the public key that checkpoints are signed with, as `name+id+key`."""
    with opened_ledger() as ledger:
        ledger.check_schema()
        found = ledger.log.key()
    if found is None:
        raise CommandError("the log has no key yet", _NOT_YET)
    if output == "json":
        show_json({"name": found.name, "key": str(found)})
    else:
        click.echo(str(found))
