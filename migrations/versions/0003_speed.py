"""Speed: less for a hot update to touch or to check, and autovacuum that keeps up."""

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

# what the guards, which are installed with the functions, have taken over
_CHECKS = {
    "executions": {
        "ending_has_reason": "(status IN ('cancelled', 'completed', 'ending', 'failed', "
        "'timed_out')) = (reason IS NOT NULL)",
        "ended_has_time": "(status IN ('cancelled', 'completed', 'failed', 'timed_out')) = "
        "(ended_at IS NOT NULL)",
        "reason_known": "reason IN ('abort', 'cancel', 'deadline', 'result')",
        "status_known": "status IN ('cancelled', 'completed', 'ending', 'failed', "
        "'paused', 'pending', 'running', 'timed_out')",
        "ended_is_closed": "ended_at IS NULL OR open_steps = 0",
        "counters_start_at_one": "next_seq >= 1 AND epoch >= 1",
        "open_steps_counted": "open_steps >= 0",
        "paused_has_time": "status <> 'paused' OR paused_at IS NOT NULL",
    },
    "execution_steps": {
        "ended_has_time": "(status IN ('completed', 'failed', 'skipped', 'cancelled', "
        "'timed_out')) = (ended_at IS NOT NULL)",
        "started_needs_settled": "pending_deps >= 0 AND (pending_deps = 0 OR status IN ('pending', "
        "'cancelled'))",
        "result_is_success": "result IS NULL OR status = 'completed'",
        "ready_has_time": "status <> 'ready' OR ready_at IS NOT NULL",
        "running_has_holder": "status <> 'running' OR (lease_token IS NOT NULL AND worker_id IS "
        "NOT NULL AND delivery IS NOT NULL AND claimed_at IS NOT NULL AND "
        "attempt >= 1)",
        "status_known": "status IN ('cancelled', 'completed', 'failed', 'pending', "
        "'ready', 'running', 'skipped', 'timed_out', 'waiting')",
        "unstarted_has_no_holder": "status NOT IN ('pending', 'ready', 'waiting') OR lease_token IS "
        "NULL",
        "counters_not_negative": "failures >= 0 AND losses >= 0 AND publishes >= 0 AND attempt >= "
        "0",
        "progress_is_percentage": "progress BETWEEN 0 AND 100",
        "waiting_has_time": "(status = 'waiting') = (wake_at IS NOT NULL)",
    },
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
    for table, checks in _CHECKS.items():
        for name in checks:
            op.drop_constraint(op.f(f"ck_{table}_{name}"), table)
    settings = ", ".join(f"{name} = {value}" for name, value in _AUTOVACUUM.items())
    for table in _BUSY_TABLES:
        op.execute(f"ALTER TABLE {table} SET ({settings})")


def downgrade() -> None:
    for table in _BUSY_TABLES:
        op.execute(f"ALTER TABLE {table} RESET ({', '.join(_AUTOVACUUM)})")
    for table, checks in _CHECKS.items():
        for name, condition in checks.items():
            op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)
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
