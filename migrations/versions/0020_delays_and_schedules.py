"""Executions that begin later, and schedules that begin them by the clock."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_HELD = "concurrency_key IS NOT NULL AND admitted_at IS NULL AND ended_at IS NULL"


def upgrade() -> None:
    op.add_column("executions", sa.Column("starts_at", sa.DateTime(timezone=True)))
    op.add_column(
        "executions",
        sa.Column("is_delayed", sa.Boolean, nullable=False, server_default="false"),
    )
    op.add_column("executions", sa.Column("schedule", sa.Text))
    op.add_column("executions", sa.Column("scheduled_at", sa.DateTime(timezone=True)))
    op.create_index(
        "ix_executions_delayed",
        "executions",
        ["starts_at"],
        postgresql_where=sa.text("is_delayed AND status = 'pending'"),
    )
    op.create_index(
        "ix_executions_schedule",
        "executions",
        ["schedule"],
        postgresql_where=sa.text("schedule IS NOT NULL AND ended_at IS NULL"),
    )
    _index_held("COALESCE(starts_at, created_at)")
    _create_schedules()
    _create_runs()
    op.create_table(
        "schedule_changes",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("schedule", sa.Text, nullable=False),
        sa.Column("act", sa.Text, nullable=False),
        sa.Column("by", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_schedule_changes_schedule", "schedule_changes", ["schedule"])


def downgrade() -> None:
    op.drop_table("schedule_changes")
    op.drop_table("schedule_runs")
    op.drop_table("schedules")
    _index_held("created_at")
    op.drop_index("ix_executions_schedule", table_name="executions")
    op.drop_index("ix_executions_delayed", table_name="executions")
    op.drop_column("executions", "scheduled_at")
    op.drop_column("executions", "schedule")
    op.drop_column("executions", "is_delayed")
    op.drop_column("executions", "starts_at")


def _index_held(moment: str) -> None:
    """Order those who wait for a key by `moment`."""
    op.drop_index("ix_executions_held", table_name="executions")
    op.create_index(
        "ix_executions_held",
        "executions",
        ["concurrency_key", sa.text("priority DESC"), sa.text(moment), "id"],
        postgresql_where=sa.text(_HELD),
    )


def _create_schedules() -> None:
    op.create_table(
        "schedules",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("parameters", postgresql.JSONB, nullable=False),
        sa.Column("tags", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("priority", sa.SmallInteger, nullable=False),
        sa.Column("cron", sa.Text),
        sa.Column("every_seconds", sa.Float),
        sa.Column("time_zone", sa.Text, nullable=False),
        sa.Column("catch_up", sa.Text, nullable=False),
        sa.Column("catch_up_seconds", sa.Float),
        sa.Column("overlap", sa.Text, nullable=False),
        sa.Column("start_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_at", sa.DateTime(timezone=True)),
        sa.Column("next_at", sa.DateTime(timezone=True)),
        sa.Column("revision", sa.Integer, nullable=False, server_default="1"),
        sa.Column("paused_at", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "num_nulls(cron, every_seconds) = 1", name=op.f("ck_schedules_one_rule")
        ),
        sa.CheckConstraint(
            "every_seconds >= 1", name=op.f("ck_schedules_every_forward")
        ),
        sa.CheckConstraint(
            "catch_up IN ('all', 'last', 'none')",
            name=op.f("ck_schedules_catch_up_known"),
        ),
        sa.CheckConstraint(
            "overlap IN ('allow', 'cancel_older', 'queue', 'skip')",
            name=op.f("ck_schedules_overlap_known"),
        ),
    )
    op.create_index(
        "ix_schedules_due",
        "schedules",
        ["next_at"],
        postgresql_where=sa.text("next_at IS NOT NULL AND paused_at IS NULL"),
    )


def _create_runs() -> None:
    op.create_table(
        "schedule_runs",
        sa.Column("id", sa.UUID, primary_key=True),
        sa.Column(
            "schedule",
            sa.Text,
            sa.ForeignKey(
                "schedules.name",
                name=op.f("fk_schedule_runs_schedules"),
                ondelete="CASCADE",
            ),
            nullable=False,
        ),
        sa.Column("scheduled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("trigger", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("detail", sa.Text),
        sa.Column("execution_id", sa.UUID),
        sa.Column("by", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "trigger IN ('person', 'timer')",
            name=op.f("ck_schedule_runs_trigger_known"),
        ),
        sa.CheckConstraint(
            "outcome IN ('failed', 'missed', 'queued', 'skipped', 'started')",
            name=op.f("ck_schedule_runs_outcome_known"),
        ),
        sa.CheckConstraint(
            "(outcome = 'started') = (execution_id IS NOT NULL)",
            name=op.f("ck_schedule_runs_started_has_execution"),
        ),
    )
    op.create_index(
        "uq_schedule_runs_time",
        "schedule_runs",
        ["schedule", "scheduled_at"],
        unique=True,
        postgresql_where=sa.text("trigger = 'timer'"),
    )
    op.create_index(
        "ix_schedule_runs_schedule", "schedule_runs", ["schedule", "scheduled_at", "id"]
    )
    op.create_index(
        "ix_schedule_runs_queued",
        "schedule_runs",
        ["schedule", "scheduled_at"],
        postgresql_where=sa.text("outcome = 'queued'"),
    )
