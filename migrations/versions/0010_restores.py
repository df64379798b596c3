"""Restores: a failure that lets an execution go back to before an earlier step."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_OUTCOMES = "outcome IN ('failed', 'timed_out', 'lost', 'cancelled'{more})"


def upgrade() -> None:
    op.add_column("plan_steps", sa.Column("restore", sa.Integer()))
    op.add_column("plan_steps", sa.Column("restore_times", sa.Integer()))
    op.add_column(
        "execution_steps",
        sa.Column("restores", sa.Integer(), nullable=False, server_default="0"),
    )
    _allow_outcomes(", 'restored'")


def downgrade() -> None:
    op.execute("DELETE FROM step_attempts WHERE outcome = 'restored'")
    _allow_outcomes("")
    op.drop_column("execution_steps", "restores")
    op.drop_column("plan_steps", "restore_times")
    op.drop_column("plan_steps", "restore")


def _allow_outcomes(more: str) -> None:
    op.drop_constraint("outcome_known", "step_attempts", type_="check")
    op.create_check_constraint(
        "outcome_known", "step_attempts", _OUTCOMES.format(more=more)
    )
