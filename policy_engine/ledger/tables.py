"""The tables, as the migrations leave them. A test compares the two.

Instants are whole microseconds since 1970 in UTC on both databases: exact, and sums over
rolling windows compare plain integers. docs/storage.md says what each table is for.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TypeDecorator,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Instant(TypeDecorator[datetime]):
    """An aware datetime, stored as microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002 -- SQLAlchemy's signature
        return None if value is None else micros(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002 -- SQLAlchemy's signature
        return None if value is None else instant(value)


def micros(at: datetime) -> int:
    """An aware datetime as microseconds since 1970."""
    return (at - _EPOCH) // _MICROSECOND


def instant(at_us: int) -> datetime:
    """Microseconds since 1970 as a datetime in UTC."""
    return _EPOCH + timedelta(microseconds=at_us)


METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def required(name: str, kind: Any, *rules: Any) -> Column[Any]:
    """A column that is never null."""
    return Column(name, kind, *rules, nullable=False)


INSTANCE = Table(
    "instance",
    METADATA,
    Column("id", String, primary_key=True),
    required("secret_fingerprint", String),
    required("created_at_us", Instant),
)

RECORD = Table(
    "record",
    METADATA,
    Column("id", String, primary_key=True),
    required("kind", String),
    required("recorded_at_us", Instant),
    required("content", LargeBinary),
    required("leaf_hash", LargeBinary),
)

OUTBOX = Table(
    "outbox",
    METADATA,
    Column("record_id", String, ForeignKey("record.id"), primary_key=True),
)

PACK_REVISION = Table(
    "pack_revision",
    METADATA,
    Column("revision", String, primary_key=True),
    required("archive", LargeBinary),
    required("stored_at_us", Instant),
)

ACTIVATION = Table(
    "activation",
    METADATA,
    Column("sequence", Integer, Identity(always=True), primary_key=True),
    required("record_id", String, ForeignKey("record.id")),
    required("revision", String, ForeignKey("pack_revision.revision")),
    required("activated_by", String),
    required("activated_at_us", Instant),
    sqlite_autoincrement=True,
)

SUBJECT = Table(
    "subject",
    METADATA,
    Column("subject", String, primary_key=True),
    required("key_id", LargeBinary),
    required("key_sealed", LargeBinary),
    required("created_at_us", Instant),
    Index(None, "key_id", unique=True),
)

DECISION = Table(
    "decision",
    METADATA,
    Column("id", String, ForeignKey("record.id"), primary_key=True),
    required("decided_at_us", Instant),
    required("client", String),
    required("order_id", String),
    required("customer", String),
    required("agent_id", String),
    required("role", String),
    required("outcome", String),
    required("pack_revision", String, ForeignKey("pack_revision.revision")),
    required("grantable", Boolean),
    Column("expires_at_us", Instant),
    required("answer_sealed", LargeBinary),
    Index(None, "decided_at_us", "id"),
    Index(None, "order_id", "decided_at_us"),
    Index(None, "customer", "decided_at_us"),
    Index(None, "agent_id", "decided_at_us"),
)

DECISION_REFERENCE = Table(
    "decision_reference",
    METADATA,
    Column("kind", String, primary_key=True),
    Column("value", String, primary_key=True),
    Column("decision_id", String, ForeignKey("decision.id"), primary_key=True),
)

IDEMPOTENCY = Table(
    "idempotency",
    METADATA,
    Column("key_hash", LargeBinary, primary_key=True),
    required("fingerprint", LargeBinary),
    required("answer_sealed", LargeBinary),
    required("created_at_us", Instant),
    Index(None, "created_at_us"),
)

CREDENTIAL = Table(
    "credential",
    METADATA,
    Column("id", String, primary_key=True),
    required("record_id", String, ForeignKey("record.id")),
    required("secret_hash", LargeBinary),
    required("client", String),
    required("scopes", JSON),
    Column("person_id", String),
    Column("person_role", String),
    Column("ceiling", String),
    Column("roster", JSON(none_as_null=True)),
    Column("owner", String),
    required("created_by", String),
    required("created_at_us", Instant),
    Column("expires_at_us", Instant),
)

REVOCATION = Table(
    "revocation",
    METADATA,
    Column("credential_id", String, ForeignKey("credential.id"), primary_key=True),
    required("record_id", String, ForeignKey("record.id")),
    required("revoked_by", String),
    required("revoked_at_us", Instant),
)

# A whole number on SQLite is a key of its own only under exactly this name.
_Index = BigInteger().with_variant(Integer(), "sqlite")

LOG_KEY = Table(
    "log_key",
    METADATA,
    Column("verifier_key", String, primary_key=True),
    required("record_id", String, ForeignKey("record.id")),
)

LOG_LEAF = Table(
    "log_leaf",
    METADATA,
    Column("leaf_index", _Index, primary_key=True, autoincrement=False),
    required("record_id", String),
    required("leaf_hash", LargeBinary),
    Index(None, "record_id", unique=True),
)

LOG_NODE = Table(
    "log_node",
    METADATA,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    required("hash", LargeBinary),
)

CHECKPOINT = Table(
    "checkpoint",
    METADATA,
    Column("sequence", _Index, primary_key=True, autoincrement=False),
    required("size", BigInteger),
    required("root", LargeBinary),
    required("note", String),
    Index(None, "size", unique=True),
)
