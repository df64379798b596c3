"""Loops: steps whose action is repeated until an expression is true."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("plan_steps", sa.Column("repeat", JSONB()))
    op.add_column("execution_steps", sa.Column("iterations", sa.Integer()))


_REFUSE_WHAT_THE_OLD_RELEASE_CANNOT_FINISH = """
DO $$
DECLARE
    stranded int;
BEGIN
    SELECT count(*) INTO stranded FROM executions e
     WHERE e.ended_at IS NULL AND EXISTS (
           SELECT FROM plan_steps p
            WHERE p.plan_id = e.plan_id AND p.repeat IS NOT NULL);
    IF stranded > 0 THEN
        RAISE EXCEPTION '% executions have loops, which the older release cannot finish:'
            ' it would call their actions once', stranded
            USING HINT = 'Let them end, or cancel them, and downgrade then.';
    END IF;
END $$
"""


def downgrade() -> None:
    op.execute(_REFUSE_WHAT_THE_OLD_RELEASE_CANNOT_FINISH)
    op.drop_column("execution_steps", "iterations")
    op.drop_column("plan_steps", "repeat")
