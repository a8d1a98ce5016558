"""What a PostgreSQL server lets the service's role do, and whether what it commits stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, text

from policy_engine.ledger.tables import METADATA

_DERIVED: Final = frozenset({"order_pin", "grant_state", "limit_counter", "limit_class"})
_DELETED_FROM: Final = frozenset(
    {"outbox", "subject", "idempotency", "limit_counter", "limit_class"}
)
_CHANGES: Final = ("UPDATE", "DELETE", "TRUNCATE")
_RIGHTS: Final = text(
    "SELECT t, r FROM unnest(CAST(:tables AS text[])) t, unnest(CAST(:rights AS text[])) r "
    "WHERE has_table_privilege(t, r)"
)
_SERVER: Final = text(
    "SELECT current_user AS role, "
    "current_setting('max_connections')::int "
    "- current_setting('superuser_reserved_connections')::int AS connections, "
    "array(SELECT name FROM pg_settings WHERE setting = 'off' "
    "AND name IN ('fsync', 'full_page_writes', 'synchronous_commit') ORDER BY name) AS unsafe"
)


@dataclass(frozen=True, slots=True)
class Server:
    """A right is `(table, verb)`."""

    role: str
    missing: tuple[tuple[str, str], ...]
    """Rights that the service needs and its role doesn't have."""
    excess: tuple[tuple[str, str], ...]
    """Rights to change what is only ever added."""
    connections_limit: int
    """Connections that the server takes from all who aren't superusers."""
    unsafe: tuple[str, ...]
    """Settings that are off, so that a crash of the server loses what was acknowledged."""


def look(connection: Connection) -> Server:
    """What the server says; the schema must be up to date."""
    tables = sorted(METADATA.tables)
    asked = {"tables": tables, "rights": ["SELECT", "INSERT", *_CHANGES]}
    held = {(str(table), str(right)) for table, right in connection.execute(_RIGHTS, asked)}
    needed = {(table, right) for table in tables for right in ("SELECT", "INSERT")}
    needed |= {(table, "UPDATE") for table in _DERIVED}
    needed |= {(table, "DELETE") for table in _DELETED_FROM}
    changing = {(table, right) for table in tables for right in _CHANGES}
    found = connection.execute(_SERVER).one()
    return Server(
        found.role,
        tuple(sorted(needed - held)),
        tuple(sorted((held & changing) - needed)),
        found.connections,
        tuple(found.unsafe),
    )
