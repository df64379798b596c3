"""Steps that run a plan: executions within executions, and word between them."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_ID = postgresql.UUID(as_uuid=False)


def _columns() -> dict[str, list[sa.Column[Any]]]:
    """Return what is added to each table; a column belongs to one statement only."""
    return {
        "plan_steps": [sa.Column("subplan", sa.Text)],
        "executions": [
            sa.Column("parent_id", _ID),
            sa.Column("parent_position", sa.Integer),
            sa.Column("depth", sa.SmallInteger, nullable=False, server_default="0"),
            sa.Column(
                "paused_with_parent", sa.Boolean, nullable=False, server_default="false"
            ),
        ],
        "execution_steps": [sa.Column("child_id", _ID)],
    }


def upgrade() -> None:
    for table, columns in _columns().items():
        for column in columns:
            op.add_column(table, column)
    op.create_foreign_key(
        op.f("fk_executions_executions"),
        "executions",
        "executions",
        ["parent_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.create_index(
        "ix_executions_parent",
        "executions",
        ["parent_id", "parent_position"],
        postgresql_where=sa.text("parent_id IS NOT NULL"),
    )
    op.create_index(
        "ix_execution_steps_child",
        "execution_steps",
        ["execution_id"],
        postgresql_where=sa.text("child_id IS NOT NULL"),
    )
    op.create_table(
        "relays",
        sa.Column("execution_id", _ID, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("execution_id", name=op.f("pk_relays")),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["executions.id"],
            name=op.f("fk_relays_executions"),
            ondelete="CASCADE",
        ),
    )


_REFUSE_WHAT_THE_OLD_RELEASE_CANNOT_FINISH = """
DO $$
DECLARE
    stranded int;
BEGIN
    SELECT count(DISTINCT execution_id) INTO stranded
      FROM execution_steps s JOIN executions e ON e.id = s.execution_id
     WHERE e.ended_at IS NULL AND (s.child_id IS NOT NULL OR EXISTS (
           SELECT FROM plan_steps p
            WHERE p.plan_id = e.plan_id AND p.subplan IS NOT NULL));
    IF stranded > 0 THEN
        RAISE EXCEPTION '% executions run plans within plans, which the older release'
            ' cannot finish', stranded
            USING HINT = 'Let them end, or cancel them, and downgrade then.';
    END IF;
END $$
"""


def downgrade() -> None:
    op.execute(_REFUSE_WHAT_THE_OLD_RELEASE_CANNOT_FINISH)
    op.drop_table("relays")
    for table, columns in _columns().items():
        for column in columns:
            op.drop_column(table, column.name)
