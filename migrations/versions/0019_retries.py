"""Executions that go on after their end."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("executions", sa.Column("retried_at", sa.DateTime(timezone=True)))
    op.add_column("execution_steps", sa.Column("child_epoch", sa.Integer))


def downgrade() -> None:
    op.drop_column("execution_steps", "child_epoch")
    op.drop_column("executions", "retried_at")
