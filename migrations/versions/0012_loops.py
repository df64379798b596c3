"""Loops: steps whose action is repeated until an expression is true."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("plan_steps", sa.Column("repeat", JSONB()))
    op.add_column("execution_steps", sa.Column("iterations", sa.Integer()))


def downgrade() -> None:
    op.drop_column("execution_steps", "iterations")
    op.drop_column("plan_steps", "repeat")
