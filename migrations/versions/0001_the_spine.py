"""The spine."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "actions",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("doc", sa.Text(), nullable=True),
        sa.Column(
            "signature",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
        ),
        sa.Column("timeout_seconds", sa.Float(), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_actions")),
    )
    op.create_table(
        "installation",
        sa.Column("is_only", sa.Boolean(), server_default="true", nullable=False),
        sa.Column(
            "id",
            sa.UUID(as_uuid=False),
            server_default=sa.text("gen_random_uuid()"),
            nullable=False,
        ),
        sa.Column("functions_digest", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("is_only", name=op.f("ck_installation_one_row")),
        sa.PrimaryKeyConstraint("is_only", name=op.f("pk_installation")),
    )
    op.create_table(
        "plans",
        sa.Column("id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column(
            "definition",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=False,
        ),
        sa.Column(
            "result",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
        ),
        sa.Column("result_reads", sa.ARRAY(sa.Integer()), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plans")),
        sa.UniqueConstraint("digest", name=op.f("uq_plans_digest")),
    )
    op.create_index(op.f("ix_plans_name"), "plans", ["name"], unique=False)
    op.create_table(
        "pulse",
        sa.Column("is_only", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("value", sa.Float(), server_default="0", nullable=False),
        sa.Column(
            "advanced_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("is_only", name=op.f("ck_pulse_one_row")),
        sa.PrimaryKeyConstraint("is_only", name=op.f("pk_pulse")),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_table(
        "submissions",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("execution_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_submissions")),
    )
    op.create_index(
        op.f("ix_submissions_execution_id"),
        "submissions",
        ["execution_id"],
        unique=False,
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("pool", sa.Text(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("queues", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("actions", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("in_hand", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "deliveries", sa.ARRAY(sa.Text()), server_default="{}", nullable=False
        ),
        sa.Column(
            "tokens",
            sa.ARRAY(sa.UUID(as_uuid=False)),
            server_default="{}",
            nullable=False,
        ),
        sa.Column("pulse", sa.Float(), nullable=False),
        sa.Column("sampled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("beat_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "end_reason IN ('stopped', 'lost')",
            name=op.f("ck_workers_end_reason_known"),
        ),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (end_reason IS NULL)",
            name=op.f("ck_workers_ended_has_reason"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index(
        "ix_workers_living",
        "workers",
        ["pulse"],
        unique=False,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "executions",
        sa.Column("id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("plan_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("epoch", sa.Integer(), server_default="1", nullable=False),
        sa.Column("next_seq", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("open_steps", sa.Integer(), nullable=False),
        sa.Column("total_steps", sa.Integer(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("tags", sa.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column(
            "parameters",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=False,
        ),
        sa.Column(
            "variables",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
        ),
        sa.Column(
            "result",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
        ),
        sa.Column(
            "error",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(status IN ('cancelled', 'completed', 'ending', 'failed', 'timed_out')) = (reason IS NOT NULL)",
            name=op.f("ck_executions_ending_has_reason"),
        ),
        sa.CheckConstraint(
            "(status IN ('cancelled', 'completed', 'failed', 'timed_out')) = (ended_at IS NOT NULL)",
            name=op.f("ck_executions_ended_has_time"),
        ),
        sa.CheckConstraint(
            "reason IN ('abort', 'cancel', 'deadline', 'result')",
            name=op.f("ck_executions_reason_known"),
        ),
        sa.CheckConstraint(
            "status IN ('cancelled', 'completed', 'ending', 'failed', 'paused', 'pending', 'running', 'timed_out')",
            name=op.f("ck_executions_status_known"),
        ),
        sa.CheckConstraint(
            "ended_at IS NULL OR open_steps = 0",
            name=op.f("ck_executions_ended_is_closed"),
        ),
        sa.CheckConstraint(
            "next_seq >= 1 AND epoch >= 1",
            name=op.f("ck_executions_counters_start_at_one"),
        ),
        sa.CheckConstraint(
            "open_steps >= 0", name=op.f("ck_executions_open_steps_counted")
        ),
        sa.ForeignKeyConstraint(
            ["plan_id"], ["plans.id"], name=op.f("fk_executions_plans")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_executions")),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index(
        "ix_executions_created_at", "executions", ["created_at"], unique=False
    )
    op.create_index(
        "ix_executions_ending",
        "executions",
        ["id"],
        unique=False,
        postgresql_where=sa.text("status = 'ending' AND open_steps = 0"),
    )
    op.create_index(
        op.f("ix_executions_plan_id"), "executions", ["plan_id"], unique=False
    )
    op.create_index(
        "ix_executions_status_created_at",
        "executions",
        ["status", "created_at"],
        unique=False,
    )
    op.create_table(
        "plan_steps",
        sa.Column("plan_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=True),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("needs", sa.ARRAY(sa.Integer()), nullable=False),
        sa.Column("successors", sa.ARRAY(sa.Integer()), nullable=False),
        sa.Column("reads", sa.ARRAY(sa.Integer()), nullable=False),
        sa.Column("survives_skips", sa.Boolean(), nullable=False),
        sa.Column("on_failure", sa.Text(), nullable=False),
        sa.Column("timeout_seconds", sa.Float(), nullable=True),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("max_lost", sa.Integer(), nullable=False),
        sa.Column(
            "inputs",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["plan_id"], ["plans.id"], name=op.f("fk_plan_steps_plans")
        ),
        sa.PrimaryKeyConstraint("plan_id", "position", name=op.f("pk_plan_steps")),
    )
    op.create_table(
        "execution_events",
        sa.Column("execution_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.Column(
            "data",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=False,
        ),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "seq >= 1", name=op.f("ck_execution_events_seq_starts_at_one")
        ),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["executions.id"],
            name=op.f("fk_execution_events_executions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "execution_id", "seq", name=op.f("pk_execution_events")
        ),
    )
    op.create_table(
        "execution_states",
        sa.Column("execution_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("from_status", sa.Text(), nullable=True),
        sa.Column("to_status", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "to_status IN ('cancelled', 'completed', 'ending', 'failed', 'paused', 'pending', 'running', 'timed_out')",
            name=op.f("ck_execution_states_status_known"),
        ),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["executions.id"],
            name=op.f("fk_execution_states_executions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "execution_id", "seq", name=op.f("pk_execution_states")
        ),
    )
    op.create_table(
        "execution_steps",
        sa.Column("execution_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("needs", sa.ARRAY(sa.Integer()), nullable=False),
        sa.Column("successors", sa.ARRAY(sa.Integer()), nullable=False),
        sa.Column("pending_deps", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("losses", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_token", sa.UUID(as_uuid=False), nullable=True),
        sa.Column("worker_id", sa.UUID(as_uuid=False), nullable=True),
        sa.Column("delivery", sa.Text(), nullable=True),
        sa.Column(
            "claimed_by_ride", sa.Boolean(), server_default="false", nullable=False
        ),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempt_deadline", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ready_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("publishes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("wake_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "input",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
        ),
        sa.Column(
            "result",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
        ),
        sa.Column(
            "error",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
        ),
        sa.Column("progress", sa.Float(), nullable=True),
        sa.Column("progress_message", sa.Text(), nullable=True),
        sa.Column("chunks", sa.BigInteger(), nullable=True),
        sa.Column("records", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(status IN ('completed', 'failed', 'skipped', 'cancelled', 'timed_out')) = (ended_at IS NOT NULL)",
            name=op.f("ck_execution_steps_ended_has_time"),
        ),
        sa.CheckConstraint(
            "pending_deps >= 0 AND (pending_deps = 0 OR status IN ('pending', 'cancelled'))",
            name=op.f("ck_execution_steps_started_needs_settled"),
        ),
        sa.CheckConstraint(
            "result IS NULL OR status = 'completed'",
            name=op.f("ck_execution_steps_result_is_success"),
        ),
        sa.CheckConstraint(
            "status <> 'ready' OR ready_at IS NOT NULL",
            name=op.f("ck_execution_steps_ready_has_time"),
        ),
        sa.CheckConstraint(
            "status <> 'running' OR (lease_token IS NOT NULL AND worker_id IS NOT NULL AND delivery IS NOT NULL AND claimed_at IS NOT NULL AND attempt >= 1)",
            name=op.f("ck_execution_steps_running_has_holder"),
        ),
        sa.CheckConstraint(
            "status IN ('cancelled', 'completed', 'failed', 'pending', 'ready', 'running', 'skipped', 'timed_out', 'waiting')",
            name=op.f("ck_execution_steps_status_known"),
        ),
        sa.CheckConstraint(
            "status NOT IN ('pending', 'ready', 'waiting') OR lease_token IS NULL",
            name=op.f("ck_execution_steps_unstarted_has_no_holder"),
        ),
        sa.CheckConstraint(
            "failures >= 0 AND losses >= 0 AND publishes >= 0 AND attempt >= 0",
            name=op.f("ck_execution_steps_counters_not_negative"),
        ),
        sa.CheckConstraint(
            "progress BETWEEN 0 AND 100",
            name=op.f("ck_execution_steps_progress_is_percentage"),
        ),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["executions.id"],
            name=op.f("fk_execution_steps_executions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "execution_id", "position", name=op.f("pk_execution_steps")
        ),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index(
        "ix_execution_steps_ready",
        "execution_steps",
        ["queue", "published_at"],
        unique=False,
        postgresql_where=sa.text("status = 'ready'"),
    )
    op.create_index(
        "ix_execution_steps_running",
        "execution_steps",
        ["worker_id"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_index(
        "uq_execution_steps_name",
        "execution_steps",
        ["execution_id", "name"],
        unique=True,
    )
    op.create_table(
        "execution_checkpoints",
        sa.Column("execution_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column(
            "data",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=False,
        ),
        sa.Column("saved_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["execution_id", "position"],
            ["execution_steps.execution_id", "execution_steps.position"],
            name=op.f("fk_execution_checkpoints_execution_steps"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "execution_id", "position", name=op.f("pk_execution_checkpoints")
        ),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_table(
        "execution_logs",
        sa.Column("execution_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["execution_id", "position"],
            ["execution_steps.execution_id", "execution_steps.position"],
            name=op.f("fk_execution_logs_execution_steps"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("execution_id", "id", name=op.f("pk_execution_logs")),
    )
    op.create_table(
        "execution_metrics",
        sa.Column("execution_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["execution_id", "position"],
            ["execution_steps.execution_id", "execution_steps.position"],
            name=op.f("fk_execution_metrics_execution_steps"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "execution_id", "id", name=op.f("pk_execution_metrics")
        ),
    )
    op.create_table(
        "step_attempts",
        sa.Column("execution_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("lease_token", sa.UUID(as_uuid=False), nullable=True),
        sa.Column("worker_id", sa.UUID(as_uuid=False), nullable=True),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "error",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
        ),
        sa.CheckConstraint(
            "outcome IN ('failed', 'timed_out', 'lost', 'cancelled')",
            name=op.f("ck_step_attempts_outcome_known"),
        ),
        sa.ForeignKeyConstraint(
            ["execution_id", "position"],
            ["execution_steps.execution_id", "execution_steps.position"],
            name=op.f("fk_step_attempts_execution_steps"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "execution_id", "position", "attempt", name=op.f("pk_step_attempts")
        ),
    )
    # the two tables of one row each
    op.execute("INSERT INTO pulse DEFAULT VALUES")
    op.execute("INSERT INTO installation DEFAULT VALUES")


def downgrade() -> None:
    op.drop_table("step_attempts")
    op.drop_table("execution_metrics")
    op.drop_table("execution_logs")
    op.drop_table("execution_checkpoints")
    op.drop_index("uq_execution_steps_name", table_name="execution_steps")
    op.drop_index(
        "ix_execution_steps_running",
        table_name="execution_steps",
        postgresql_where=sa.text("status = 'running'"),
    )
    op.drop_index(
        "ix_execution_steps_ready",
        table_name="execution_steps",
        postgresql_where=sa.text("status = 'ready'"),
    )
    op.drop_table("execution_steps")
    op.drop_table("execution_states")
    op.drop_table("execution_events")
    op.drop_table("plan_steps")
    op.drop_index("ix_executions_status_created_at", table_name="executions")
    op.drop_index(op.f("ix_executions_plan_id"), table_name="executions")
    op.drop_index(
        "ix_executions_ending",
        table_name="executions",
        postgresql_where=sa.text("status = 'ending' AND open_steps = 0"),
    )
    op.drop_index("ix_executions_created_at", table_name="executions")
    op.drop_table("executions")
    op.drop_index(
        "ix_workers_living",
        table_name="workers",
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.drop_table("workers")
    op.drop_index(op.f("ix_submissions_execution_id"), table_name="submissions")
    op.drop_table("submissions")
    op.drop_table("pulse")
    op.drop_index(op.f("ix_plans_name"), table_name="plans")
    op.drop_table("plans")
    op.drop_table("installation")
    op.drop_table("actions")
