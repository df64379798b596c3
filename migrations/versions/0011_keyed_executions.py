"""Keyed executions: how many of a plan run at once under one key, and who waits."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("plans", sa.Column("concurrency_key", JSONB))
    op.add_column("plans", sa.Column("concurrency_limit", sa.Integer))
    op.add_column("plans", sa.Column("on_conflict", sa.Text))
    op.create_check_constraint(
        "concurrency_whole",
        "plans",
        "num_nulls(concurrency_key, concurrency_limit, on_conflict) IN (0, 3)",
    )
    op.create_check_constraint(
        "on_conflict_known",
        "plans",
        "on_conflict IN ('cancel_older', 'queue', 'reject')",
    )
    op.add_column("executions", sa.Column("concurrency_key", sa.Text))
    op.add_column("executions", sa.Column("admitted_at", sa.DateTime(timezone=True)))
    op.create_index(
        "ix_executions_held",
        "executions",
        ["concurrency_key", sa.text("priority DESC"), "created_at", "id"],
        postgresql_where=sa.text(
            "concurrency_key IS NOT NULL AND admitted_at IS NULL AND ended_at IS NULL"
        ),
    )
    op.create_index(
        "ix_executions_admitted",
        "executions",
        ["concurrency_key"],
        postgresql_where=sa.text("admitted_at IS NOT NULL AND ended_at IS NULL"),
    )


_REFUSE_WHAT_THE_OLD_RELEASE_CANNOT_FINISH = """
DO $$
DECLARE
    stranded int;
BEGIN
    SELECT count(*) INTO stranded FROM executions e
     WHERE e.concurrency_key IS NOT NULL AND e.admitted_at IS NULL
       AND e.ended_at IS NULL;
    IF stranded > 0 THEN
        RAISE EXCEPTION '% executions wait for their key, which the older release'
            ' cannot finish: it would never begin them', stranded
            USING HINT = 'Let them begin, or cancel them, and downgrade then.';
    END IF;
END $$
"""


def downgrade() -> None:
    op.execute(_REFUSE_WHAT_THE_OLD_RELEASE_CANNOT_FINISH)
    op.drop_index("ix_executions_admitted", table_name="executions")
    op.drop_index("ix_executions_held", table_name="executions")
    op.drop_column("executions", "admitted_at")
    op.drop_column("executions", "concurrency_key")
    op.drop_constraint("on_conflict_known", "plans", type_="check")
    op.drop_constraint("concurrency_whole", "plans", type_="check")
    op.drop_column("plans", "on_conflict")
    op.drop_column("plans", "concurrency_limit")
    op.drop_column("plans", "concurrency_key")
