"""The database's schema, brought up to date and taken back through Alembic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, insert, inspect, text

from policy_engine import resources
from policy_engine.ledger.database import Database, failures_told
from policy_engine.ledger.ids import new_id
from policy_engine.ledger.schema import check_known, check_secret
from policy_engine.ledger.tables import INSTANCE

# Two nodes may start at once after a release; the second finds the work done.
_TURN = text("SELECT pg_advisory_xact_lock(1886350441)")


def upgrade(database: Database, fingerprint: str, revision: str = "head") -> None:
    """Brings the schema up to date in one transaction, and sets a new instance up.

    Raises SchemaError when the database belongs to an instance with another secret.
    """
    with failures_told(), _alone(database.engine) as connection:
        present = inspect(connection).has_table(INSTANCE.name)
        if present:
            check_known(connection)
            check_secret(connection, fingerprint)
        command.upgrade(_config(connection), revision)
        if not present and inspect(connection).has_table(INSTANCE.name):
            row = {
                "id": new_id(),
                "secret_fingerprint": fingerprint,
                "created_at_us": database.now(connection),
            }
            connection.execute(insert(INSTANCE), row)


def downgrade(engine: Engine, revision: str) -> None:
    """Takes the schema back to a revision, or to `base`. What the later tables held is lost."""
    with failures_told(), _alone(engine) as connection:
        command.downgrade(_config(connection), revision)


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(_TURN)
        yield connection


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(resources.migrations()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
