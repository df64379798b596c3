"""Speed: indexes that a hot update need not touch, and autovacuum that keeps up."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BUSY_TABLES = ("executions", "execution_steps")
_AUTOVACUUM = {
    "autovacuum_vacuum_scale_factor": "0.05",
    "autovacuum_analyze_scale_factor": "0.05",
    "autovacuum_vacuum_cost_delay": "0",
}


def upgrade() -> None:
    op.create_index(
        "uq_plan_steps_name", "plan_steps", ["plan_id", "name"], unique=True
    )
    op.drop_index("uq_execution_steps_name", table_name="execution_steps")
    op.create_index(
        "ix_execution_steps_sent",
        "execution_steps",
        ["execution_id", "queue"],
        postgresql_where=sa.text("status = 'ready' AND published_at IS NOT NULL"),
    )
    _index_ending("status = 'ending'")
    settings = ", ".join(f"{name} = {value}" for name, value in _AUTOVACUUM.items())
    for table in _BUSY_TABLES:
        op.execute(f"ALTER TABLE {table} SET ({settings})")


def downgrade() -> None:
    for table in _BUSY_TABLES:
        op.execute(f"ALTER TABLE {table} RESET ({', '.join(_AUTOVACUUM)})")
    _index_ending("status = 'ending' AND open_steps = 0")
    op.drop_index("ix_execution_steps_sent", table_name="execution_steps")
    op.create_index(
        "uq_execution_steps_name",
        "execution_steps",
        ["execution_id", "name"],
        unique=True,
    )
    op.drop_index("uq_plan_steps_name", table_name="plan_steps")


def _index_ending(condition: str) -> None:
    op.drop_index("ix_executions_ending", table_name="executions")
    op.create_index(
        "ix_executions_ending",
        "executions",
        ["id"],
        postgresql_where=sa.text(condition),
    )
