"""Self-healing: retry policies, waits, deadlines, published plans, fronts of queues."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_JSON = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("plans", sa.Column("deadline_seconds", sa.Float(), nullable=True))
    op.add_column("plans", sa.Column("published_at", _TIME, nullable=True))
    op.add_column("plans", sa.Column("default_queue", sa.Text(), nullable=True))
    op.create_check_constraint(
        op.f("ck_plans_published_has_queue"),
        "plans",
        "(published_at IS NULL) = (default_queue IS NULL)",
    )
    op.add_column(
        "plan_steps", sa.Column("deadline_seconds", sa.Float(), nullable=True)
    )
    op.add_column(
        "plan_steps", sa.Column("retry", _JSON, server_default="{}", nullable=False)
    )
    op.add_column(
        "plan_steps",
        sa.Column(
            "retries_timeouts", sa.Boolean(), server_default="true", nullable=False
        ),
    )
    # what these releases did for every step
    op.execute(
        "UPDATE plan_steps SET retry = jsonb_build_object('max_attempts', max_attempts,"
        " 'initial_seconds', 0.1, 'max_seconds', 2.0, 'jitter_seconds', 0.1)"
    )
    op.create_table(
        "queues",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("front", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_queues")),
        postgresql_with={"fillfactor": "70"},
    )
    op.add_column(
        "workers", sa.Column("beats", sa.Integer(), server_default="0", nullable=False)
    )
    op.add_column("workers", sa.Column("rounds", _JSON, nullable=True))
    _add_to_executions()
    _add_to_steps()


def _add_to_executions() -> None:
    op.add_column("executions", sa.Column("deadline", _TIME, nullable=True))
    op.add_column("executions", sa.Column("paused_at", _TIME, nullable=True))
    op.execute(
        "UPDATE executions SET paused_at = clock_timestamp() WHERE status = 'paused'"
    )
    op.create_check_constraint(
        op.f("ck_executions_paused_has_time"),
        "executions",
        "status <> 'paused' OR paused_at IS NOT NULL",
    )
    op.create_index(
        "ix_executions_deadline",
        "executions",
        ["deadline"],
        postgresql_where=sa.text(
            "deadline IS NOT NULL AND status IN ('pending', 'running', 'paused')"
        ),
    )


def _add_to_steps() -> None:
    op.add_column(
        "execution_steps", sa.Column("deadline_seconds", sa.Float(), nullable=True)
    )
    op.add_column("execution_steps", sa.Column("deadline", _TIME, nullable=True))
    op.add_column(
        "execution_steps", sa.Column("claimed_beat", sa.Integer(), nullable=True)
    )
    op.create_check_constraint(
        op.f("ck_execution_steps_waiting_has_time"),
        "execution_steps",
        "(status = 'waiting') = (wake_at IS NOT NULL)",
    )
    op.create_index(
        "ix_execution_steps_unsent",
        "execution_steps",
        ["execution_id", "queue", sa.text("priority DESC"), "position"],
        postgresql_where=sa.text("status = 'ready' AND published_at IS NULL"),
    )
    op.create_index(
        "ix_execution_steps_waiting",
        "execution_steps",
        ["wake_at"],
        postgresql_where=sa.text("status = 'waiting'"),
    )
    op.create_index(
        "ix_execution_steps_deadline",
        "execution_steps",
        ["deadline"],
        postgresql_where=sa.text(
            "deadline IS NOT NULL AND status IN ('ready', 'waiting')"
        ),
    )


def downgrade() -> None:
    # before, nobody knew how to wake them
    op.execute(
        "UPDATE execution_steps SET status = 'ready', ready_at = clock_timestamp(),"
        " wake_at = NULL WHERE status = 'waiting'"
    )
    op.drop_index("ix_execution_steps_deadline", table_name="execution_steps")
    op.drop_index("ix_execution_steps_waiting", table_name="execution_steps")
    op.drop_index("ix_execution_steps_unsent", table_name="execution_steps")
    op.drop_constraint(op.f("ck_execution_steps_waiting_has_time"), "execution_steps")
    op.drop_column("execution_steps", "claimed_beat")
    op.drop_column("execution_steps", "deadline")
    op.drop_column("execution_steps", "deadline_seconds")
    op.drop_index("ix_executions_deadline", table_name="executions")
    op.drop_constraint(op.f("ck_executions_paused_has_time"), "executions")
    op.drop_column("executions", "paused_at")
    op.drop_column("executions", "deadline")
    op.drop_column("workers", "rounds")
    op.drop_column("workers", "beats")
    op.drop_table("queues")
    op.drop_column("plan_steps", "retries_timeouts")
    op.drop_column("plan_steps", "retry")
    op.drop_column("plan_steps", "deadline_seconds")
    op.drop_constraint(op.f("ck_plans_published_has_queue"), "plans")
    op.drop_column("plans", "default_queue")
    op.drop_column("plans", "published_at")
    op.drop_column("plans", "deadline_seconds")
