"""Is the database's schema the one that this release needs, and the instance's own?

Asked at every start, so without Alembic, which is only needed to change it (`migrating`).
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, inspect, select, text

from policy_engine.ledger.errors import SchemaError
from policy_engine.ledger.tables import INSTANCE

HEAD: Final = "0007"
"""The newest of the migrations. They are numbered in their order."""
_UPGRADE: Final = "run `policy-engine db upgrade`"
_VERSION: Final = text("SELECT version_num FROM alembic_version")


def check(connection: Connection, fingerprint: str) -> None:
    """SchemaError unless the schema is that of this release and the secret the instance's."""
    current = _current(connection)
    if current is None:
        raise SchemaError(f"the database is empty; {_UPGRADE}")
    if current < HEAD:
        raise SchemaError(
            f"the database is at revision `{current}`, this release needs `{HEAD}`; {_UPGRADE}"
        )
    if current > HEAD:
        raise SchemaError(
            f"the database is at revision `{current}`, which is newer than this release; "
            "run the release that upgraded it"
        )
    check_secret(connection, fingerprint)


def _current(connection: Connection) -> str | None:
    """The revision that Alembic has noted."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(_VERSION).scalar()


def check_secret(connection: Connection, fingerprint: str) -> None:
    """SchemaError unless this is the secret that the database was set up with."""
    stored = connection.execute(select(INSTANCE.c.secret_fingerprint)).scalar_one_or_none()
    if stored != fingerprint:
        raise SchemaError(
            "the database was set up with another secret key; restore that one, because "
            "customers and personal parts can't be read with this one"
        )
