"""The tables of grants, orders and caps in use. docs/storage.md says what each one is for.

Four of them change as grants move: `grant_state`, `order_pin`, `limit_counter` and
`limit_class`. Each of their rows follows from rows that are only ever added, which is what
`counter_check` proves.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
)

from policy_engine.ledger.tables import METADATA, Instant, required

GRANT = Table(
    "grant_",
    METADATA,
    Column("id", String, ForeignKey("record.id"), primary_key=True),
    required("decision_id", String, ForeignKey("decision.id")),
    required("granted_at_us", Instant),
    required("client", String),
    required("credential", String),
    Column("owner", String),
    required("order_id", String),
    required("customer", String),
    required("agent_id", String),
    required("role", String),
    required("plan", String),
    required("currency", String),
    Column("approver", String),
    Column("pending_until_us", Instant),
    required("pack_revision", String, ForeignKey("pack_revision.revision")),
    Index(None, "decision_id", unique=True),
    Index(None, "granted_at_us", "id"),
    Index(None, "order_id", "granted_at_us"),
    Index(None, "customer", "granted_at_us"),
    Index(None, "agent_id", "granted_at_us"),
)

GRANT_REMEDY = Table(
    "grant_remedy",
    METADATA,
    Column("grant_id", String, ForeignKey("grant_.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    required("remedy", String),
    required("kind", String),
    required("policy", String),
    required("source", String),
    Column("valid_for_us", BigInteger),
)

GRANT_ENTRY = Table(
    "grant_entry",
    METADATA,
    Column("grant_id", String, ForeignKey("grant_.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    required("record_id", String, ForeignKey("record.id")),
    required("remedy", String),
    required("movement", String),
    required("minor", BigInteger),
    required("shares", JSON),
    required("at_us", Instant),
    required("counted_at_us", Instant),
    Column("against", Integer),
    Column("actor", String),
)

GRANT_REFERENCE = Table(
    "grant_reference",
    METADATA,
    Column("value", String, primary_key=True),
    Column("grant_id", String, ForeignKey("grant_.id"), primary_key=True),
)

KEPT_ANSWER = Table(
    "kept_answer",
    METADATA,
    Column("record_id", String, ForeignKey("record.id"), primary_key=True),
    required("customer", String),
    required("answer_sealed", LargeBinary),
)

CAP_MOVEMENT = Table(
    "cap_movement",
    METADATA,
    Column("record_id", String, ForeignKey("record.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    required("grant_id", String),
    required("remedy", String),
    required("order_id", String),
    required("customer", String),
    required("agent_id", String),
    required("policy", String),
    required("kind", String),
    required("currency", String),
    required("minor", BigInteger),
    required("presence", Integer),
    required("counted_at_us", Instant),
    Index(None, "grant_id"),
    Index(None, "order_id", "counted_at_us"),
    Index(None, "customer", "counted_at_us"),
    Index(None, "agent_id", "counted_at_us"),
    Index(None, "counted_at_us"),
)

LINE_MOVEMENT = Table(
    "line_movement",
    METADATA,
    Column("record_id", String, ForeignKey("record.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    required("grant_id", String),
    required("remedy", String),
    required("order_id", String),
    required("line", String),
    required("minor", BigInteger),
    Index(None, "order_id"),
)

EVIDENCE_USE = Table(
    "evidence_use",
    METADATA,
    Column("evidence", String, primary_key=True),
    required("order_id", String),
    required("used_at_us", Instant),
)

ORDER_REGISTRATION = Table(
    "order_registration",
    METADATA,
    Column("order_id", String, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    required("record_id", String, ForeignKey("record.id")),
    required("registered_at_us", Instant),
    required("client", String),
    required("customer", String),
    required("facts", JSON),
)

ORDER_PIN = Table(
    "order_pin",
    METADATA,
    Column("order_id", String, primary_key=True),
    required("customer", String),
    required("currency", String),
    required("amounts", JSON),
    required("version", Integer),
    Column("first_grant_id", String),
)

GRANT_STATE = Table(
    "grant_state",
    METADATA,
    Column("grant_id", String, ForeignKey("grant_.id"), primary_key=True),
    required("status", String),
    Column("due_at_us", Instant),
    Index(None, "status"),
    Index(None, "due_at_us"),
)

LIMIT_COUNTER = Table(
    "limit_counter",
    METADATA,
    Column("counter", String, primary_key=True),
    Column("period_us", BigInteger, primary_key=True, autoincrement=False),
    required("class", String),
    required("rank", Integer),
    required("described", String),
    required("amount", BigInteger),
    Index(None, "class"),
)

LIMIT_CLASS = Table(
    "limit_class",
    METADATA,
    Column("class", String, primary_key=True),
    required("described", String),
    Column("built_to", String),
)
