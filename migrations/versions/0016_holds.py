"""Plans, tags and queues that are paused, and steps that wait for what people do."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_ID = postgresql.UUID(as_uuid=False)
_KIND_KNOWN = "kind IN ('dependency', 'plan', 'queue', 'tag')"


def _hold_columns() -> list[sa.Column[str]]:
    """Return what a hold and a past one have both."""
    return [
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("by", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    ]


_AWAITED = "deadline IS NOT NULL AND status IN ('ready', 'waiting')"


def _index_deadlines(condition: str) -> None:
    """Let the index of deadlines be one of the steps of which that is true."""
    op.drop_index("ix_execution_steps_deadline", table_name="execution_steps")
    op.create_index(
        "ix_execution_steps_deadline",
        "execution_steps",
        ["deadline"],
        postgresql_where=sa.text(condition),
    )


def upgrade() -> None:
    op.create_table(
        "holds",
        *_hold_columns(),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_holds")),
        sa.CheckConstraint(_KIND_KNOWN, name=op.f("ck_holds_kind_known")),
    )
    op.create_table(
        "past_holds",
        *_hold_columns(),
        sa.Column("resume_id", _ID, nullable=False),
        sa.Column("resumed_by", sa.Text),
        sa.Column("resume_reason", sa.Text),
        sa.Column("resumed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_past_holds")),
        sa.CheckConstraint(_KIND_KNOWN, name=op.f("ck_past_holds_kind_known")),
    )
    op.create_index("ix_past_holds_name", "past_holds", ["kind", "name", "resumed_at"])
    op.add_column("execution_steps", sa.Column("waits_for", sa.Text))
    op.add_column("execution_steps", sa.Column("parked_at", sa.DateTime(timezone=True)))
    op.create_index(
        "ix_execution_steps_parked",
        "execution_steps",
        ["waits_for", "execution_id"],
        postgresql_where=sa.text("parked_at IS NOT NULL"),
    )
    _index_deadlines(f"{_AWAITED} AND parked_at IS NULL")


_REFUSE_WHAT_THE_OLD_RELEASE_CANNOT_FINISH = """
DO $$
DECLARE
    stranded int;
BEGIN
    SELECT count(DISTINCT execution_id) INTO stranded
      FROM execution_steps WHERE waits_for IS NOT NULL;
    IF stranded > 0 OR EXISTS (SELECT FROM holds) THEN
        RAISE EXCEPTION '% executions wait for what is paused, and the older release'
            ' would neither wait nor go on', stranded
            USING HINT = 'Resume what `plans pauses` lists, and downgrade then.';
    END IF;
END $$
"""


def downgrade() -> None:
    op.execute(_REFUSE_WHAT_THE_OLD_RELEASE_CANNOT_FINISH)
    _index_deadlines(_AWAITED)
    op.drop_index("ix_execution_steps_parked", table_name="execution_steps")
    op.drop_column("execution_steps", "parked_at")
    op.drop_column("execution_steps", "waits_for")
    op.drop_table("past_holds")
    op.drop_table("holds")
