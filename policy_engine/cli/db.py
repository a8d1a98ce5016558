"""`policy-engine db …`: the database's schema."""

from __future__ import annotations

import click

from policy_engine import bootstrap
from policy_engine.cli.database import opened_ledger, settings
from policy_engine.cli.frame import show_json, verb
from policy_engine.ledger.errors import SchemaError


@click.group(epilog="\b\nExample:\n  policy-engine db upgrade")
def db() -> None:
    """Set up, upgrade and check the database."""


@verb("policy-engine db upgrade")
def upgrade(output: str) -> None:
    """Create the database or bring its schema up to date, in one transaction.

    A new database also gets a secret key: keep a copy of it apart from the database, for
    without it no customer and no personal part can be read. Likewise the key that signs the log.
    """
    path = settings().secret_path
    made = path is not None and not path.exists()
    with opened_ledger(create_secret=True) as ledger:
        try:
            ledger.upgrade()
        except SchemaError:
            # It belongs to nothing: the database is of another secret, or of a newer release.
            if made and path is not None:
                path.unlink()
            raise
        bootstrap.watch_log(settings(), ledger)
        bootstrap.open_log(settings(), ledger, by="db upgrade")
    _tell("the database is up to date", output)


@verb("policy-engine db check")
def check(output: str) -> None:
    """Check that the database answers and its schema is the one this release needs."""
    with opened_ledger() as ledger:
        ledger.check_schema()
    _tell("the database is up to date", output)


def _tell(text: str, output: str) -> None:
    if output == "json":
        show_json({"ok": True, "detail": text})
    else:
        click.echo(text)


db.add_command(upgrade)
db.add_command(check)
