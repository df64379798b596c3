"""Conditions: the expression that decides whether a step runs."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("plan_steps", sa.Column("condition", sa.Text()))


def downgrade() -> None:
    op.drop_column("plan_steps", "condition")
