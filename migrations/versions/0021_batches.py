"""Acts on many executions: batches and their items."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_ID = postgresql.UUID(as_uuid=False)
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_batches()
    op.create_table(
        "batch_items",
        sa.Column("batch_id", _ID, nullable=False),
        sa.Column("position", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("execution_id", _ID, nullable=False),
        sa.Column("status", sa.Text, nullable=False, server_default="pending"),
        sa.Column("detail", sa.Text),
        sa.Column("at", _MOMENT),
        sa.PrimaryKeyConstraint("batch_id", "position", name=op.f("pk_batch_items")),
        sa.ForeignKeyConstraint(
            ["batch_id"],
            ["batches.id"],
            name=op.f("fk_batch_items_batches"),
            ondelete="CASCADE",
        ),
        sa.CheckConstraint(
            "status IN ('done', 'failed', 'pending', 'refused')",
            name=op.f("ck_batch_items_status_known"),
        ),
        sa.CheckConstraint(
            "(status = 'pending') = (at IS NULL)",
            name=op.f("ck_batch_items_settled_has_time"),
        ),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index(
        "ix_batch_items_pending",
        "batch_items",
        ["batch_id", "position"],
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        "ix_batch_items_failures",
        "batch_items",
        ["batch_id", "position"],
        postgresql_where=sa.text("status IN ('refused', 'failed')"),
    )


def _create_batches() -> None:
    op.create_table(
        "batches",
        sa.Column("id", _ID, nullable=False),
        sa.Column("act", sa.Text, nullable=False),
        sa.Column("arguments", postgresql.JSONB, nullable=False, server_default="{}"),
        sa.Column("filter", postgresql.JSONB, nullable=False),
        sa.Column("by", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("rate_per_second", sa.Float),
        sa.Column("most_failures", sa.Integer),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("total", sa.Integer, nullable=False, server_default="0"),
        sa.Column("next_position", sa.Integer, nullable=False, server_default="0"),
        sa.Column("next_at", _MOMENT, nullable=False),
        sa.Column("handed_at", _MOMENT),
        sa.Column("counts", postgresql.JSONB),
        sa.Column("history", postgresql.JSONB, nullable=False, server_default="[]"),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("ended_at", _MOMENT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
        sa.CheckConstraint(
            "act IN ('cancel', 'force', 'pause', 'resume', 'retry', 'skip')",
            name=op.f("ck_batches_act_known"),
        ),
        sa.CheckConstraint(
            "status IN ('cancelled', 'completed', 'failed', 'paused', 'running')",
            name=op.f("ck_batches_status_known"),
        ),
        sa.CheckConstraint(
            "(status IN ('running', 'paused')) = (ended_at IS NULL)",
            name=op.f("ck_batches_ended_has_time"),
        ),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (counts IS NULL)",
            name=op.f("ck_batches_ended_has_counts"),
        ),
        sa.CheckConstraint("rate_per_second > 0", name=op.f("ck_batches_rate_moves")),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index("ix_batches_created_at", "batches", ["created_at", "id"])
    op.create_index(
        "ix_batches_running",
        "batches",
        ["created_at", "id"],
        postgresql_where=sa.text("status = 'running'"),
    )


_REFUSE_WHAT_THE_OLD_RELEASE_CANNOT_FINISH = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM batches WHERE ended_at IS NULL) THEN
        RAISE EXCEPTION 'batches go on that the older release would forget'
            USING HINT = 'Wait for what `plans batch list` shows, or cancel it.';
    END IF;
END $$
"""


def downgrade() -> None:
    op.execute(_REFUSE_WHAT_THE_OLD_RELEASE_CANNOT_FINISH)
    op.drop_table("batch_items")
    op.drop_table("batches")
