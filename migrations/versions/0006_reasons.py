"""A view of the reason codes that finance books by; and the view of counters shows only those
that the active pack's caps count by."""

from alembic import op

revision = "0006"
down_revision = "0005"

VIEW = "v_reason_codes"
ACTIVE = "class IN (SELECT class FROM limit_class WHERE built_to IS NULL)"


def upgrade() -> None:
    _create_caps(f" AND {ACTIVE}")
    if op.get_bind().dialect.name != "postgresql":
        op.execute(
            f"CREATE VIEW {VIEW} AS SELECT record.id AS decision_id, each.key AS policy, "  # noqa: S608 -- our own names
            "each.value AS reason_code FROM record, "
            "json_each(CAST(record.content AS TEXT), '$.reason_codes') AS each "
            "WHERE record.kind = 'decision'"
        )
        return
    op.execute(
        f"CREATE VIEW {VIEW} AS SELECT record.id AS decision_id, each.key AS policy, "  # noqa: S608 -- our own names
        "each.value AS reason_code FROM record, "
        "jsonb_each_text(convert_from(record.content, 'UTF8')::jsonb -> 'reason_codes') AS each "
        "WHERE record.kind = 'decision'"
    )
    op.execute(
        "ALTER FUNCTION policy_engine_grant_reader(text) "
        "RENAME TO policy_engine_grant_reader_before_reasons"
    )
    op.execute(
        "CREATE FUNCTION policy_engine_grant_reader(reader text) RETURNS void "
        "LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM policy_engine_grant_reader_before_reasons(reader); "
        f"EXECUTE format('GRANT SELECT ON {VIEW} TO %I', reader); "
        "END $$"
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION policy_engine_grant_reader(text)")
        op.execute(
            "ALTER FUNCTION policy_engine_grant_reader_before_reasons(text) "
            "RENAME TO policy_engine_grant_reader"
        )
    op.execute(f"DROP VIEW {VIEW}")
    _create_caps("")


def _create_caps(narrowed: str) -> None:
    names = ("scope", "scope_key", "counted_in", "measure", "kinds", "policies", "currency")
    if op.get_bind().dialect.name == "postgresql":
        create = "CREATE OR REPLACE VIEW"
        parts = [f"(limit_counter.described::jsonb #>> '{{{place}}}')" for place in range(7)]
    else:
        op.execute("DROP VIEW v_caps")
        create = "CREATE VIEW"
        parts = [f"json_extract(limit_counter.described, '$[{place}]')" for place in range(7)]
    columns = ", ".join(f"{part} AS {name}" for part, name in zip(parts, names, strict=True))
    op.execute(
        f"{create} v_caps AS SELECT limit_counter.counter, {columns}, "  # noqa: S608 -- our own names
        "CASE WHEN limit_counter.period_us <> 0 THEN limit_counter.period_us END "
        "AS period_starts_at_us, limit_counter.amount AS used_amount "
        f"FROM limit_counter WHERE {parts[2]} NOT LIKE 'P%'{narrowed}"
    )
