"""Yields: attempts that end at a checkpoint, or with their worker, and count nowhere."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_OUTCOMES = "outcome IN ('failed', 'timed_out', 'lost', 'cancelled', 'restored'{more})"


def upgrade() -> None:
    _allow_outcomes(", 'yielded', 'drained'")


def downgrade() -> None:
    op.execute("DELETE FROM step_attempts WHERE outcome IN ('yielded', 'drained')")
    _allow_outcomes("")


def _allow_outcomes(more: str) -> None:
    op.drop_constraint("outcome_known", "step_attempts", type_="check")
    op.create_check_constraint(
        "outcome_known", "step_attempts", _OUTCOMES.format(more=more)
    )
