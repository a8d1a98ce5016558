"""The schema goes up and down, guards what is recorded, and knows its instance."""

import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from policy_engine import resources
from policy_engine.ledger.errors import SchemaError
from policy_engine.ledger.ledger import Ledger
from policy_engine.ledger.schema import HEAD
from policy_engine.ledger.secret import InstanceSecret
from policy_engine.ledger.shapes import CredentialTerms
from policy_engine.ledger.tables import METADATA
from tests.ledger.given import REVISION, a_call, deciding

# The tables that a decision, a pack and a credential fill; others are tested where they are filled.
ONLY_ADDED = [
    "instance",
    "record",
    "outbox",
    "pack_revision",
    "activation",
    "decision",
    "decision_reference",
    "credential",
    "revocation",
]
NEVER_CHANGED = [*ONLY_ADDED, "subject", "idempotency"]
DERIVED = {"order_pin", "grant_state", "limit_counter", "limit_class"}
"""What is kept beside the entries and can be rebuilt from them."""


@pytest.fixture
def filled(ledger: Ledger) -> Ledger:
    """A ledger with at least a row in every table."""
    ledger.packs.activate(REVISION, "ops")
    key = ledger.credentials.create(CredentialTerms("shop", frozenset({"decide"})), "ops")
    ledger.credentials.revoke(key.credential.id, "ops")
    ledger.decide(a_call("k1"), deciding(references=("ZD-1",)))
    return ledger


@pytest.fixture
def open_empty(empty_database_url: str, secret: InstanceSecret) -> Iterator[Callable[[], Ledger]]:
    """Opens ledgers over a database that no migration has been through."""
    opened: list[Ledger] = []

    def open_one() -> Ledger:
        opened.append(Ledger.open(empty_database_url, secret))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


def test_the_migrations_make_the_tables_that_the_code_names(ledger: Ledger) -> None:
    with ledger._database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_the_release_knows_its_newest_migration_and_they_are_numbered_in_order() -> None:
    config = Config()
    config.set_main_option("script_location", str(resources.migrations()))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    revisions = [each.revision for each in scripts.walk_revisions()]
    assert scripts.get_current_head() == HEAD
    assert revisions == sorted(revisions, reverse=True)


def test_the_schema_goes_down_to_nothing_and_up_again(filled: Ledger) -> None:
    filled.downgrade("base")
    with filled._database.engine.connect() as connection:
        assert inspect(connection).get_table_names() in ([], ["alembic_version"])
        if connection.dialect.name == "postgresql":
            functions = "SELECT count(*) FROM pg_proc WHERE proname LIKE 'policy_engine%'"
            assert connection.execute(text(functions)).scalar_one() == 0
    with pytest.raises(SchemaError):
        filled.check_schema()

    filled.upgrade()
    filled.check_schema()
    filled.packs.store(REVISION, b"")
    assert not filled.decide(a_call("k1"), deciding()).replayed


def test_upgrading_twice_or_from_two_nodes_at_once_changes_nothing(
    open_empty: Callable[[], Ledger],
) -> None:
    nodes = [open_empty() for _ in range(4)]
    failures: list[Exception] = []

    def upgrade(node: Ledger) -> None:
        try:
            node.upgrade()
        except Exception as error:  # noqa: BLE001 -- shown below
            failures.append(error)

    threads = [threading.Thread(target=upgrade, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    nodes[0].upgrade()

    assert failures == []
    nodes[3].check_schema()
    with nodes[0]._database.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM instance")).scalar_one() == 1


@pytest.mark.parametrize("table", NEVER_CHANGED)
def test_no_row_is_ever_changed(filled: Ledger, table: str) -> None:
    column = METADATA.tables[table].columns.keys()[-1]
    with filled._database.engine.begin() as connection:
        assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() > 0
    with (
        pytest.raises(DBAPIError, match=r"only ever added|never changed"),
        filled._database.engine.begin() as connection,
    ):
        connection.execute(text(f"UPDATE {table} SET {column} = {column}"))


@pytest.mark.parametrize("table", ONLY_ADDED)
def test_no_recorded_row_is_ever_deleted(filled: Ledger, table: str) -> None:
    with (
        pytest.raises(DBAPIError, match="only ever added"),
        filled._database.engine.begin() as connection,
    ):
        connection.execute(text(f"DELETE FROM {table}"))


def test_an_answer_is_not_deleted_within_its_day(filled: Ledger) -> None:
    with (
        pytest.raises(DBAPIError, match="kept for a day"),
        filled._database.engine.begin() as connection,
    ):
        connection.execute(text("DELETE FROM idempotency"))


@pytest.mark.parametrize("table", ONLY_ADDED)
def test_no_recorded_row_is_replaced_or_cut_off(filled: Ledger, table: str) -> None:
    postgres = filled._database.engine.dialect.name == "postgresql"
    statement = (
        f"TRUNCATE {table} CASCADE"
        if postgres
        else f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}"
    )
    with (
        pytest.raises(DBAPIError, match="only ever added"),
        filled._database.engine.begin() as connection,
    ):
        connection.execute(text(statement))


def test_an_empty_database_says_what_to_do(open_empty: Callable[[], Ledger]) -> None:
    with pytest.raises(SchemaError, match="policy-engine db upgrade"):
        open_empty().check_schema()


def test_a_newer_database_is_not_touched(ledger: Ledger) -> None:
    with ledger._database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaError, match="newer than this release"):
        ledger.check_schema()


def test_another_secret_is_refused_at_start_and_on_upgrade(
    ledger: Ledger, database_url: str
) -> None:
    other = Ledger.open(database_url, InstanceSecret("x" * 40))
    for step in (other.check_schema, other.upgrade):
        with pytest.raises(SchemaError, match="another secret key"):
            step()
    other.close()


@pytest.fixture
def restricted_url(postgres_url: str) -> Iterator[str]:
    """The same database as its owner set it up, for the application's own role."""
    url = make_url(postgres_url)
    role = f"app_{url.database}"
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN")
        connection.execute("SELECT policy_engine_grant_application(%s)", [role])
        yield url.set(username=role).render_as_string(hide_password=False)
        connection.execute(f"DROP OWNED BY {role}")
        connection.execute(f"DROP ROLE {role}")


def test_the_restricted_role_runs_the_service(restricted_url: str, secret: InstanceSecret) -> None:
    ledger = Ledger.open(restricted_url, secret)
    ledger.check_schema()
    ledger.packs.store(REVISION, b"")
    ledger.packs.activate(REVISION, "ops")
    key = ledger.credentials.create(CredentialTerms("shop", frozenset({"decide"})), "ops")
    ledger.credentials.revoke(key.credential.id, "ops")
    first = ledger.decide(a_call("k1"), deciding(references=("ZD-1",)))
    assert ledger.decide(a_call("k1"), deciding()).body == first.body
    assert ledger.sweep() == 0
    ledger.close()


def test_the_restricted_role_has_no_right_to_change_what_is_recorded(
    restricted_url: str, secret: InstanceSecret
) -> None:
    ledger = Ledger.open(restricted_url, secret)
    # A place in the outbox goes when its record is in the log; a trigger refuses it before.
    forbidden = [f"DELETE FROM {table}" for table in ONLY_ADDED if table != "outbox"]
    for table in sorted(METADATA.tables):
        column = METADATA.tables[table].columns.keys()[-1]
        if table not in DERIVED:
            forbidden += [f"UPDATE {table} SET {column} = {column}"]
        forbidden += [f"TRUNCATE {table}", f"DROP TABLE {table}"]
        forbidden += [f"ALTER TABLE {table} DISABLE TRIGGER ALL"]
    for statement in [*forbidden, "CREATE TABLE more (one int)", "DELETE FROM alembic_version"]:
        with (
            pytest.raises(DBAPIError, match=r"permission denied|must be owner"),
            ledger._database.engine.begin() as connection,
        ):
            connection.execute(text(statement))
    ledger.close()
