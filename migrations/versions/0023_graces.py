"""When running steps were told to end, and how long they may take."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("executions", sa.Column("told_at", sa.DateTime(timezone=True)))
    op.add_column("executions", sa.Column("grace_seconds", sa.Float()))
    # running workers of the last release end what they run only by its timeout
    op.add_column(
        "workers",
        sa.Column("grace_seconds", sa.Float(), nullable=False, server_default="30"),
    )


def downgrade() -> None:
    op.drop_column("workers", "grace_seconds")
    op.drop_column("executions", "grace_seconds")
    op.drop_column("executions", "told_at")
