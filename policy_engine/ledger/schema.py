"""Is the database's schema the one that this release needs, and the instance's own?

Asked at every start, so without Alembic, which is only needed to change it (`migrating`).
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, inspect, select, text
from sqlalchemy.exc import ProgrammingError

from policy_engine.ledger.errors import SchemaError
from policy_engine.ledger.tables import INSTANCE

HEAD: Final = "0007"
"""The newest of the migrations. They are numbered in their order."""
_UPGRADE: Final = "run `policy-engine db upgrade`"
_NO_PRIVILEGE: Final = "42501"
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
    _check_known(current)
    check_secret(connection, fingerprint)


def check_known(connection: Connection) -> None:
    """SchemaError where a newer release has upgraded the database."""
    _check_known(_current(connection))


def _check_known(current: str | None) -> None:
    if current is not None and current > HEAD:
        raise SchemaError(
            f"the database is at revision `{current}`, which is newer than this release; "
            "run the release that upgraded it"
        )


def _current(connection: Connection) -> str | None:
    """The revision that Alembic has noted."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    try:
        return connection.execute(_VERSION).scalar()
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != _NO_PRIVILEGE:
            raise
        role = connection.engine.url.username
        raise SchemaError(
            "the database's role may not read it; as the owner: "
            f"SELECT policy_engine_grant_application('{role}')"
        ) from error


def check_secret(connection: Connection, fingerprint: str) -> None:
    """SchemaError unless this is the secret that the database was set up with."""
    stored = connection.execute(select(INSTANCE.c.secret_fingerprint)).scalar_one_or_none()
    if stored != fingerprint:
        raise SchemaError(
            "the database was set up with another secret key; restore that one, because "
            "customers and personal parts can't be read with this one"
        )
