"""Grants: their entries, what they move in caps and lines, orders, evidence, counters."""

from alembic import op
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
)

revision = "0002"
down_revision = "0001"

# Rows of these are only ever added.
APPEND_ONLY = (
    "grant_",
    "grant_remedy",
    "grant_entry",
    "grant_reference",
    "kept_answer",
    "cap_movement",
    "line_movement",
    "evidence_use",
    "order_registration",
)
# Rows of these follow from the rows above, and change with them.
DERIVED = ("order_pin", "grant_state", "limit_counter", "limit_class")
# Rows of these stay; the others go when no active cap counts them any more.
NEVER_DELETED = ("order_pin", "grant_state")


def upgrade() -> None:
    _create_grants()
    _create_movements()
    _create_orders()
    _create_derived()
    if op.get_bind().dialect.name == "postgresql":
        _guard_on_postgresql()
        _extend_grant_function()
    else:
        _guard_on_sqlite()


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION policy_engine_grant_application(text)")
        op.execute(
            "ALTER FUNCTION policy_engine_grant_before_grants(text) "
            "RENAME TO policy_engine_grant_application"
        )
    for table in (
        *reversed(DERIVED),
        "order_registration",
        "evidence_use",
        "line_movement",
        "cap_movement",
        "kept_answer",
        "grant_reference",
        "grant_entry",
        "grant_remedy",
        "grant_",
    ):
        op.drop_table(table)


def _required(name: str, kind: object) -> Column:
    return Column(name, kind, nullable=False)


def _number(name: str) -> Column:
    return Column(name, Integer, nullable=False, autoincrement=False)


def _foreign(table: str, column: str, target: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint([column], [target], name=f"fk_{table}_{column}")


def _key(table: str, *columns: str) -> PrimaryKeyConstraint:
    return PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def _index(table: str, *columns: str, unique: bool = False) -> None:
    name = f"ix_{table}_{'_'.join(columns)}"
    op.create_index(name, table, list(columns), unique=unique)


def _create_grants() -> None:
    op.create_table(
        "grant_",
        _required("id", String),
        _required("decision_id", String),
        _required("granted_at_us", BigInteger),
        _required("client", String),
        _required("credential", String),
        Column("owner", String),
        _required("order_id", String),
        _required("customer", String),
        _required("agent_id", String),
        _required("role", String),
        _required("plan", String),
        _required("currency", String),
        Column("approver", String),
        Column("pending_until_us", BigInteger),
        _required("pack_revision", String),
        _key("grant_", "id"),
        _foreign("grant_", "id", "record.id"),
        _foreign("grant_", "decision_id", "decision.id"),
        _foreign("grant_", "pack_revision", "pack_revision.revision"),
    )
    _index("grant_", "decision_id", unique=True)
    _index("grant_", "granted_at_us", "id")
    for column in ("order_id", "customer", "agent_id"):
        _index("grant_", column, "granted_at_us")
    op.create_table(
        "grant_remedy",
        _required("grant_id", String),
        _number("position"),
        _required("remedy", String),
        _required("kind", String),
        _required("policy", String),
        _required("source", String),
        Column("valid_for_us", BigInteger),
        _key("grant_remedy", "grant_id", "position"),
        _foreign("grant_remedy", "grant_id", "grant_.id"),
    )
    op.create_table(
        "grant_entry",
        _required("grant_id", String),
        _number("position"),
        _required("record_id", String),
        _required("remedy", String),
        _required("movement", String),
        _required("minor", BigInteger),
        _required("shares", JSON),
        _required("at_us", BigInteger),
        _required("counted_at_us", BigInteger),
        Column("against", Integer),
        Column("actor", String),
        _key("grant_entry", "grant_id", "position"),
        _foreign("grant_entry", "grant_id", "grant_.id"),
        _foreign("grant_entry", "record_id", "record.id"),
    )
    op.create_table(
        "grant_reference",
        _required("value", String),
        _required("grant_id", String),
        _key("grant_reference", "value", "grant_id"),
        _foreign("grant_reference", "grant_id", "grant_.id"),
    )
    op.create_table(
        "kept_answer",
        _required("record_id", String),
        _required("customer", String),
        _required("answer_sealed", LargeBinary),
        _key("kept_answer", "record_id"),
        _foreign("kept_answer", "record_id", "record.id"),
    )


def _create_movements() -> None:
    op.create_table(
        "cap_movement",
        _required("record_id", String),
        _number("position"),
        _required("grant_id", String),
        _required("remedy", String),
        _required("order_id", String),
        _required("customer", String),
        _required("agent_id", String),
        _required("policy", String),
        _required("kind", String),
        _required("currency", String),
        _required("minor", BigInteger),
        _required("presence", Integer),
        _required("counted_at_us", BigInteger),
        _key("cap_movement", "record_id", "position"),
        _foreign("cap_movement", "record_id", "record.id"),
    )
    _index("cap_movement", "grant_id")
    for column in ("order_id", "customer", "agent_id"):
        _index("cap_movement", column, "counted_at_us")
    _index("cap_movement", "counted_at_us")
    op.create_table(
        "line_movement",
        _required("record_id", String),
        _number("position"),
        _required("grant_id", String),
        _required("remedy", String),
        _required("order_id", String),
        _required("line", String),
        _required("minor", BigInteger),
        _key("line_movement", "record_id", "position"),
        _foreign("line_movement", "record_id", "record.id"),
    )
    _index("line_movement", "order_id")


def _create_orders() -> None:
    op.create_table(
        "evidence_use",
        _required("evidence", String),
        _required("order_id", String),
        _required("used_at_us", BigInteger),
        _key("evidence_use", "evidence"),
    )
    op.create_table(
        "order_registration",
        _required("order_id", String),
        _number("version"),
        _required("record_id", String),
        _required("registered_at_us", BigInteger),
        _required("client", String),
        _required("customer", String),
        _required("facts", JSON),
        _key("order_registration", "order_id", "version"),
        _foreign("order_registration", "record_id", "record.id"),
    )


def _create_derived() -> None:
    op.create_table(
        "order_pin",
        _required("order_id", String),
        _required("customer", String),
        _required("currency", String),
        _required("amounts", JSON),
        _required("version", Integer),
        Column("first_grant_id", String),
        _key("order_pin", "order_id"),
    )
    op.create_table(
        "grant_state",
        _required("grant_id", String),
        _required("status", String),
        Column("due_at_us", BigInteger),
        _key("grant_state", "grant_id"),
        _foreign("grant_state", "grant_id", "grant_.id"),
    )
    _index("grant_state", "status")
    _index("grant_state", "due_at_us")
    op.create_table(
        "limit_counter",
        _required("counter", String),
        Column("period_us", BigInteger, nullable=False, autoincrement=False),
        _required("class", String),
        _required("rank", Integer),
        _required("described", String),
        _required("amount", BigInteger),
        _key("limit_counter", "counter", "period_us"),
    )
    _index("limit_counter", "class")
    op.create_table(
        "limit_class",
        _required("class", String),
        _required("described", String),
        _key("limit_class", "class"),
    )


def _guard_on_sqlite() -> None:
    for table in APPEND_ONLY:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are only ever added'); END"
            )
    for table in NEVER_DELETED:
        op.execute(
            f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} "
            f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are never deleted'); END"
        )


def _guard_on_postgresql() -> None:
    for table in (*APPEND_ONLY, *NEVER_DELETED):
        verbs = "UPDATE OR DELETE" if table in APPEND_ONLY else "DELETE"
        op.execute(
            f"CREATE TRIGGER {table}_no_change BEFORE {verbs} ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION policy_engine_refuse()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION policy_engine_refuse()"
        )


def _extend_grant_function() -> None:
    tables = ", ".join((*APPEND_ONLY, *DERIVED))
    derived = ", ".join(DERIVED)
    op.execute(
        "ALTER FUNCTION policy_engine_grant_application(text) "
        "RENAME TO policy_engine_grant_before_grants"
    )
    op.execute(
        "CREATE FUNCTION policy_engine_grant_application(application text) RETURNS void "
        "LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM policy_engine_grant_before_grants(application); "
        f"EXECUTE format('GRANT SELECT, INSERT ON {tables} TO %I', application); "
        f"EXECUTE format('GRANT UPDATE ON {derived} TO %I', application); "
        "EXECUTE format('GRANT DELETE ON limit_counter, limit_class TO %I', application); "
        "END $$"
    )
