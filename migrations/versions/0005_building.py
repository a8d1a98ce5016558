"""How far the counters of a class are built, while grants go on."""

from alembic import op
from sqlalchemy import Column, String

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("limit_class", Column("built_to", String))


def downgrade() -> None:
    op.drop_column("limit_class", "built_to")
