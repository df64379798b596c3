"""Signals to executions, and the steps that wait for them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_ID = postgresql.UUID(as_uuid=False)


def upgrade() -> None:
    op.add_column("plan_steps", sa.Column("awaits", sa.Text))
    op.add_column("plan_steps", sa.Column("payload", postgresql.JSONB))
    op.create_table(
        "execution_signals",
        sa.Column("execution_id", _ID, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("payload", postgresql.JSONB, nullable=False),
        sa.Column("by", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("key", sa.Text),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seq", sa.BigInteger),
        sa.Column("taken_by", sa.Integer),
        sa.Column("taken_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint(
            "execution_id", "id", name=op.f("pk_execution_signals")
        ),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["executions.id"],
            name=op.f("fk_execution_signals_executions"),
            ondelete="CASCADE",
        ),
        sa.CheckConstraint(
            "taken_by IS NULL OR coalesce(seq, 0) > 0",
            name=op.f("ck_execution_signals_taken_is_told"),
        ),
        sa.CheckConstraint(
            "(taken_by IS NULL) = (taken_at IS NULL)",
            name=op.f("ck_execution_signals_taken_has_time"),
        ),
    )
    op.create_index(
        "uq_execution_signals_key",
        "execution_signals",
        ["execution_id", "key"],
        unique=True,
        postgresql_where=sa.text("key IS NOT NULL"),
    )
    op.create_index(
        "ix_execution_signals_kept",
        "execution_signals",
        ["execution_id", "name", "seq"],
        postgresql_where=sa.text("taken_by IS NULL"),
    )
    op.create_index(
        "ix_execution_signals_unreceived",
        "execution_signals",
        ["execution_id"],
        postgresql_where=sa.text("seq IS NULL"),
    )
    op.create_index(
        "ix_execution_steps_awaiting",
        "execution_steps",
        ["execution_id", "waits_for", "position"],
        postgresql_where=sa.text("status = 'waiting' AND waits_for IS NOT NULL"),
    )


_REFUSE_WHAT_THE_OLD_RELEASE_CANNOT_FINISH = """
DO $$
DECLARE
    stranded int;
BEGIN
    SELECT count(*) INTO stranded FROM executions e
     WHERE e.ended_at IS NULL AND EXISTS (
           SELECT FROM plan_steps p
            WHERE p.plan_id = e.plan_id AND p.awaits IS NOT NULL);
    IF stranded > 0 THEN
        RAISE EXCEPTION '% executions have steps that wait for signals, which the older'
            ' release cannot run', stranded
            USING HINT = 'Let them end, or cancel them, and downgrade then.';
    END IF;
END $$
"""


def downgrade() -> None:
    op.execute(_REFUSE_WHAT_THE_OLD_RELEASE_CANNOT_FINISH)
    op.drop_index("ix_execution_steps_awaiting", table_name="execution_steps")
    op.drop_table("execution_signals")
    op.drop_column("plan_steps", "payload")
    op.drop_column("plan_steps", "awaits")
