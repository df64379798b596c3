"""Lines of steps: where they come from, and which one of their attempt they are."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_LEVELS = "'critical', 'debug', 'error', 'info', 'warning'"


def upgrade() -> None:
    # until now every line came from there, and none of them was told twice
    op.add_column(
        "execution_logs",
        sa.Column("source", sa.Text, nullable=False, server_default="ctx.log"),
    )
    op.add_column(
        "execution_logs",
        sa.Column("number", sa.Integer, nullable=False, server_default="0"),
    )
    op.alter_column("execution_logs", "source", server_default=None)
    op.alter_column("execution_logs", "number", server_default=None)
    op.execute(
        f"UPDATE execution_logs SET level = 'info' WHERE level NOT IN ({_LEVELS})"  # noqa: S608  # words of our own
    )
    op.create_check_constraint(
        op.f("ck_execution_logs_level_known"),
        "execution_logs",
        f"level IN ({_LEVELS})",
    )
    op.create_index(
        "ix_execution_logs_step", "execution_logs", ["execution_id", "position", "id"]
    )
    op.create_index(
        "ix_execution_metrics_step", "execution_metrics", ["execution_id", "position"]
    )


def downgrade() -> None:
    op.drop_index("ix_execution_metrics_step", "execution_metrics")
    op.drop_index("ix_execution_logs_step", "execution_logs")
    op.drop_constraint(op.f("ck_execution_logs_level_known"), "execution_logs")
    op.drop_column("execution_logs", "number")
    op.drop_column("execution_logs", "source")
