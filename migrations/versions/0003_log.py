"""The verifiable log: leaves in order, inner nodes, signed checkpoints, the log's public key."""

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
)

revision = "0003"
down_revision = "0002"

APPEND_ONLY = ("log_key", "log_leaf", "log_node", "checkpoint")
WAITS = "rows of outbox are only ever added, and go when they are in the log"


def upgrade() -> None:
    _create_tables()
    if op.get_bind().dialect.name == "postgresql":
        _guard_on_postgresql()
        _extend_grant_function()
    else:
        _guard_on_sqlite()


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION policy_engine_grant_application(text)")
        op.execute(
            "ALTER FUNCTION policy_engine_grant_before_log(text) "
            "RENAME TO policy_engine_grant_application"
        )
        op.execute("DROP TRIGGER outbox_no_early_delete ON outbox")
        op.execute("DROP FUNCTION policy_engine_keep_waiting()")
        op.execute("DROP TRIGGER outbox_no_change ON outbox")
        op.execute(
            "CREATE TRIGGER outbox_no_change BEFORE UPDATE OR DELETE ON outbox "
            "FOR EACH ROW EXECUTE FUNCTION policy_engine_refuse()"
        )
    else:
        op.execute("DROP TRIGGER outbox_no_delete")
    # What is in the log already waits again: the log that it was in is gone.
    op.execute("INSERT INTO outbox SELECT record_id FROM log_leaf")
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE TRIGGER outbox_no_delete BEFORE DELETE ON outbox "
            "BEGIN SELECT RAISE(ABORT, 'rows of outbox are only ever added'); END"
        )
    for table in reversed(APPEND_ONLY):
        op.drop_table(table)


def _required(name: str, kind: object) -> Column:
    return Column(name, kind, nullable=False)


def _index_type() -> object:
    return BigInteger().with_variant(Integer(), "sqlite")


def _create_tables() -> None:
    op.create_table(
        "log_key",
        _required("verifier_key", String),
        _required("record_id", String),
        PrimaryKeyConstraint("verifier_key", name="pk_log_key"),
        ForeignKeyConstraint(["record_id"], ["record.id"], name="fk_log_key_record_id"),
    )
    # No foreign key: checking it would lock, and so write, every record a second time. The
    # sequencer inserts from `record`, whose rows never go.
    op.create_table(
        "log_leaf",
        Column("leaf_index", _index_type(), nullable=False, autoincrement=False),
        _required("record_id", String),
        _required("leaf_hash", LargeBinary),
        PrimaryKeyConstraint("leaf_index", name="pk_log_leaf"),
    )
    op.create_index("ix_log_leaf_record_id", "log_leaf", ["record_id"], unique=True)
    op.create_table(
        "log_node",
        Column("level", Integer, nullable=False, autoincrement=False),
        Column("position", BigInteger, nullable=False, autoincrement=False),
        _required("hash", LargeBinary),
        PrimaryKeyConstraint("level", "position", name="pk_log_node"),
    )
    op.create_table(
        "checkpoint",
        Column("sequence", _index_type(), nullable=False, autoincrement=False),
        _required("size", BigInteger),
        _required("root", LargeBinary),
        _required("note", String),
        PrimaryKeyConstraint("sequence", name="pk_checkpoint"),
    )
    op.create_index("ix_checkpoint_size", "checkpoint", ["size"], unique=True)


def _guard_on_sqlite() -> None:
    for table in APPEND_ONLY:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are only ever added'); END"
            )
    op.execute("DROP TRIGGER outbox_no_delete")
    op.execute(
        "CREATE TRIGGER outbox_no_delete BEFORE DELETE ON outbox "  # noqa: S608 -- our own names
        "WHEN NOT EXISTS (SELECT 1 FROM log_leaf WHERE record_id = OLD.record_id) "
        f"BEGIN SELECT RAISE(ABORT, '{WAITS}'); END"
    )


def _guard_on_postgresql() -> None:
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION policy_engine_refuse()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION policy_engine_refuse()"
        )
    op.execute("DROP TRIGGER outbox_no_change ON outbox")
    op.execute(
        "CREATE TRIGGER outbox_no_change BEFORE UPDATE ON outbox "
        "FOR EACH ROW EXECUTE FUNCTION policy_engine_refuse()"
    )
    op.execute(
        "CREATE FUNCTION policy_engine_keep_waiting() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF EXISTS (SELECT FROM gone LEFT JOIN log_leaf USING (record_id) "
        f"WHERE log_leaf.leaf_index IS NULL) THEN RAISE EXCEPTION '{WAITS}' "
        "USING ERRCODE = 'integrity_constraint_violation'; END IF; RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER outbox_no_early_delete AFTER DELETE ON outbox "
        "REFERENCING OLD TABLE AS gone "
        "FOR EACH STATEMENT EXECUTE FUNCTION policy_engine_keep_waiting()"
    )


def _extend_grant_function() -> None:
    tables = ", ".join(APPEND_ONLY)
    op.execute(
        "ALTER FUNCTION policy_engine_grant_application(text) "
        "RENAME TO policy_engine_grant_before_log"
    )
    op.execute(
        "CREATE FUNCTION policy_engine_grant_application(application text) RETURNS void "
        "LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM policy_engine_grant_before_log(application); "
        f"EXECUTE format('GRANT SELECT, INSERT ON {tables} TO %I', application); "
        "EXECUTE format('GRANT DELETE ON outbox TO %I', application); "
        "END $$"
    )
