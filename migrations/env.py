"""How Alembic runs the migrations: on the connection that the ledger hands over."""

from alembic import context

from policy_engine.ledger.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # The ledger has opened one transaction around all of them, on both databases.
    transactional_ddl=False,
)
context.run_migrations()
