"""The views have stable names and columns, and a role that only reads them can do no more."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import create_engine, inspect
from sqlalchemy.engine import make_url

from policy_engine.usecases.export_rows import DECISIONS, MOVEMENTS
from tests.conftest import ROOT
from tests.reports.conftest import Quarter

VIEWS = {
    "v_caps", "v_cap_movements", "v_decision_caps", "v_decisions", "v_grant_movements",
    "v_grant_remedies", "v_grants", "v_log", "v_reason_codes",
}  # fmt: skip

REFUSED = (
    psycopg.errors.InsufficientPrivilege,
    # Views that add up can't be written to by anybody.
    psycopg.errors.ObjectNotInPrerequisiteState,
    psycopg.errors.FeatureNotSupported,
)


def test_the_page_about_views_names_all_their_columns(quarter: Quarter) -> None:
    page = (ROOT / "docs" / "reports.md").read_text("utf-8")
    engine = create_engine(quarter.url)
    found = inspect(engine)
    assert set(found.get_view_names()) == VIEWS
    for view in VIEWS:
        lines = [line for line in page.splitlines() if line.startswith(f"| `{view}` ")]
        assert len(lines) == 1, view
        columns = {column["name"] for column in found.get_columns(view)}
        assert {name for name in lines[0].split("`") if name in columns} == columns
    engine.dispose()


def test_decisions_in_the_view_are_those_of_the_export(quarter: Quarter) -> None:
    rows = quarter.rows(
        "SELECT decision_id, log_index, digest, client, order_id, customer, agent_id, role, "
        "role_from, channel, outcome, currency, plan, binding_cap, entitled_minor, allowed_minor "
        "FROM v_decisions"
    )
    names = (
        "record", "log_index", "digest", "client", "order", "customer", "agent", "role",
        "role_from", "channel", "outcome", "currency", "plan", "binding_cap", "entitled_minor",
        "allowed_minor",
    )  # fmt: skip
    at = {column.name: place for place, column in enumerate(DECISIONS.columns)}
    exported = {tuple(row[at[name]] for name in names) for row in quarter.export().decisions()}
    assert set(rows) == exported


def test_reason_codes_in_the_view_are_those_of_the_export(quarter: Quarter) -> None:
    rows = quarter.rows(
        "SELECT record_id, position, reason_code "
        "FROM v_grant_movements JOIN v_reason_codes USING (decision_id, policy)"
    )
    exported = [
        dict(zip((column.name for column in MOVEMENTS.columns), row, strict=True))
        for row in quarter.export().movements()
    ]
    assert len(rows) == len(exported) > 100
    codes = {(row[0], row[2]) for row in rows}
    assert codes == {(row["record"], row["reason_code"]) for row in exported}
    assert len({code for _, code in codes}) > 2


def test_caps_in_the_view_are_what_movements_come_to(quarter: Quarter) -> None:
    counted = quarter.rows(
        "SELECT scope_key, currency, used_amount FROM v_caps WHERE scope = 'order' "
        "AND measure = 'value' AND kinds IS NULL AND used_amount > 0 ORDER BY 1"
    )
    summed = quarter.rows(
        "SELECT order_id, currency, sum(minor) FROM v_cap_movements GROUP BY order_id, currency "
        "HAVING sum(minor) > 0 ORDER BY 1"
    )
    assert sorted((f'["{order}"]', currency, int(str(m))) for order, currency, m in summed) == (
        sorted((str(key).replace(" ", ""), currency, used) for key, currency, used in counted)
    )


@pytest.fixture
def reader(postgres_url: str) -> Iterator[psycopg.Connection]:
    url = make_url(postgres_url)
    role = f"reader_{url.database}"
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN")
        owner.execute("SELECT policy_engine_grant_reader(%s)", [role])
        as_reader = url.set(drivername="postgresql", username=role)
        with psycopg.connect(
            as_reader.render_as_string(hide_password=False), autocommit=True
        ) as connection:
            yield connection
        owner.execute(f"DROP OWNED BY {role}")
        owner.execute(f"DROP ROLE {role}")


def test_the_reading_role_reads_every_view(reader: psycopg.Connection) -> None:
    for view in sorted(VIEWS):
        assert reader.execute(f"SELECT count(*) FROM {view}").fetchone() is not None


def test_the_reading_role_reads_no_table_and_writes_nothing(reader: psycopg.Connection) -> None:
    tables = ["record", "decision", "grant_", "grant_entry", "subject", "credential", "idempotency"]
    forbidden = [f"SELECT * FROM {table}" for table in tables]
    for target in (*tables, *VIEWS):
        forbidden += [f"DELETE FROM {target}", f"INSERT INTO {target} DEFAULT VALUES"]
    forbidden += ["CREATE TABLE more (one int)", "DROP VIEW v_log"]
    for statement in forbidden:
        with pytest.raises(REFUSED):
            reader.execute(statement)
