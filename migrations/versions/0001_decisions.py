"""Decisions: records and their queue for the log, packs, idempotency, subjects, credentials."""

from alembic import op
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Identity,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
)

revision = "0001"
down_revision = None

# Rows of these are only ever added.
APPEND_ONLY = (
    "instance",
    "record",
    "outbox",
    "pack_revision",
    "activation",
    "decision",
    "decision_reference",
    "credential",
    "revocation",
)
# Rows of these are never changed, but go: a subject when it is erased, a kept answer after a day.
DELETABLE = ("subject", "idempotency")
DAY_US = 86_400_000_000


def upgrade() -> None:
    _create_records()
    _create_packs()
    _create_decisions()
    _create_credentials()
    if op.get_bind().dialect.name == "postgresql":
        _guard_on_postgresql()
    else:
        _guard_on_sqlite()


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION policy_engine_grant_application(text)")
    for table in (
        "revocation",
        "credential",
        "idempotency",
        "decision_reference",
        "decision",
        "subject",
        "activation",
        "pack_revision",
        "outbox",
        "record",
        "instance",
    ):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION policy_engine_refuse()")
        op.execute("DROP FUNCTION policy_engine_keep_answer()")


def _required(name: str, kind: object) -> Column:
    return Column(name, kind, nullable=False)


def _foreign(table: str, column: str, target: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint([column], [target], name=f"fk_{table}_{column}")


def _create_records() -> None:
    op.create_table(
        "instance",
        _required("id", String),
        _required("secret_fingerprint", String),
        _required("created_at_us", BigInteger),
        PrimaryKeyConstraint("id", name="pk_instance"),
    )
    op.create_table(
        "record",
        _required("id", String),
        _required("kind", String),
        _required("recorded_at_us", BigInteger),
        _required("content", LargeBinary),
        _required("leaf_hash", LargeBinary),
        PrimaryKeyConstraint("id", name="pk_record"),
    )
    op.create_table(
        "outbox",
        _required("record_id", String),
        PrimaryKeyConstraint("record_id", name="pk_outbox"),
        _foreign("outbox", "record_id", "record.id"),
    )


def _create_packs() -> None:
    op.create_table(
        "pack_revision",
        _required("revision", String),
        _required("archive", LargeBinary),
        _required("stored_at_us", BigInteger),
        PrimaryKeyConstraint("revision", name="pk_pack_revision"),
    )
    op.create_table(
        "activation",
        Column("sequence", Integer, Identity(always=True), nullable=False),
        _required("record_id", String),
        _required("revision", String),
        _required("activated_by", String),
        _required("activated_at_us", BigInteger),
        PrimaryKeyConstraint("sequence", name="pk_activation"),
        _foreign("activation", "record_id", "record.id"),
        _foreign("activation", "revision", "pack_revision.revision"),
        sqlite_autoincrement=True,
    )


def _create_decisions() -> None:
    op.create_table(
        "subject",
        _required("subject", String),
        _required("key_id", LargeBinary),
        _required("key_sealed", LargeBinary),
        _required("created_at_us", BigInteger),
        PrimaryKeyConstraint("subject", name="pk_subject"),
    )
    op.create_index("ix_subject_key_id", "subject", ["key_id"], unique=True)
    op.create_table(
        "decision",
        _required("id", String),
        _required("decided_at_us", BigInteger),
        _required("client", String),
        _required("order_id", String),
        _required("customer", String),
        _required("agent_id", String),
        _required("role", String),
        _required("outcome", String),
        _required("pack_revision", String),
        _required("grantable", Boolean),
        Column("expires_at_us", BigInteger),
        _required("answer_sealed", LargeBinary),
        PrimaryKeyConstraint("id", name="pk_decision"),
        _foreign("decision", "id", "record.id"),
        _foreign("decision", "pack_revision", "pack_revision.revision"),
    )
    op.create_index("ix_decision_decided_at_us_id", "decision", ["decided_at_us", "id"])
    for column in ("order_id", "customer", "agent_id"):
        op.create_index(
            f"ix_decision_{column}_decided_at_us", "decision", [column, "decided_at_us"]
        )
    op.create_table(
        "decision_reference",
        _required("kind", String),
        _required("value", String),
        _required("decision_id", String),
        PrimaryKeyConstraint("kind", "value", "decision_id", name="pk_decision_reference"),
        _foreign("decision_reference", "decision_id", "decision.id"),
    )
    op.create_table(
        "idempotency",
        _required("key_hash", LargeBinary),
        _required("fingerprint", LargeBinary),
        _required("answer_sealed", LargeBinary),
        _required("created_at_us", BigInteger),
        PrimaryKeyConstraint("key_hash", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_created_at_us", "idempotency", ["created_at_us"])


def _create_credentials() -> None:
    op.create_table(
        "credential",
        _required("id", String),
        _required("record_id", String),
        _required("secret_hash", LargeBinary),
        _required("client", String),
        _required("scopes", JSON),
        Column("person_id", String),
        Column("person_role", String),
        Column("ceiling", String),
        Column("roster", JSON),
        Column("owner", String),
        _required("created_by", String),
        _required("created_at_us", BigInteger),
        Column("expires_at_us", BigInteger),
        PrimaryKeyConstraint("id", name="pk_credential"),
        _foreign("credential", "record_id", "record.id"),
    )
    op.create_table(
        "revocation",
        _required("credential_id", String),
        _required("record_id", String),
        _required("revoked_by", String),
        _required("revoked_at_us", BigInteger),
        PrimaryKeyConstraint("credential_id", name="pk_revocation"),
        _foreign("revocation", "credential_id", "credential.id"),
        _foreign("revocation", "record_id", "record.id"),
    )


def _guard_on_sqlite() -> None:
    for table in APPEND_ONLY:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are only ever added'); END"
            )
    for table in DELETABLE:
        op.execute(
            f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} "
            f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are never changed'); END"
        )
    op.execute(
        "CREATE TRIGGER idempotency_no_early_delete BEFORE DELETE ON idempotency "
        f"WHEN OLD.created_at_us > strftime('%s', 'now') * 1000000 - {DAY_US} "
        "BEGIN SELECT RAISE(ABORT, 'answers are kept for a day'); END"
    )


def _guard_on_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION policy_engine_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'rows of % are only ever added', TG_TABLE_NAME "
        "USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(
        "CREATE FUNCTION policy_engine_keep_answer() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF OLD.created_at_us > extract(epoch FROM clock_timestamp()) * 1000000 "
        f"- {DAY_US} THEN RAISE EXCEPTION 'answers are kept for a day' "
        "USING ERRCODE = 'integrity_constraint_violation'; END IF; RETURN OLD; END $$"
    )
    for table in (*APPEND_ONLY, *DELETABLE):
        verbs = "UPDATE OR DELETE" if table in APPEND_ONLY else "UPDATE"
        op.execute(
            f"CREATE TRIGGER {table}_no_change BEFORE {verbs} ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION policy_engine_refuse()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION policy_engine_refuse()"
        )
    op.execute(
        "CREATE TRIGGER idempotency_no_early_delete BEFORE DELETE ON idempotency "
        "FOR EACH ROW EXECUTE FUNCTION policy_engine_keep_answer()"
    )
    _create_grant_function()


def _create_grant_function() -> None:
    """The rights of the application's own role: never more than the triggers allow."""
    tables = ", ".join((*APPEND_ONLY, *DELETABLE))
    deletable = ", ".join(DELETABLE)
    op.execute(
        "CREATE FUNCTION policy_engine_grant_application(application text) RETURNS void "
        "LANGUAGE plpgsql AS $$ BEGIN "
        "EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), application); "
        f"EXECUTE format('GRANT SELECT, INSERT ON {tables} TO %I', application); "
        f"EXECUTE format('GRANT DELETE ON {deletable} TO %I', application); "
        "EXECUTE format('GRANT SELECT ON alembic_version TO %I', application); "
        "END $$"
    )
