"""The plan language, whole: what comes after the steps."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_JSON = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())
_CHECKS = {
    "plan_steps": {
        "section_known": "section IN ('end', 'rollback', 'steps')",
        "end_has_run_on": "(section = 'end') = (run_on IS NOT NULL)",
        "rollback_undoes": "(section = 'rollback') = (undoes IS NOT NULL)",
    },
}


def _columns() -> dict[str, list[sa.Column[Any]]]:
    """Return what is added to each table; a column belongs to one statement only."""
    return {
        "plans": [
            _with_default("rollback", sa.ARRAY(sa.Text), "{}"),
            _with_default("cancels_running", sa.Boolean, "false"),
            _with_default("end_steps", sa.ARRAY(sa.Integer), "{}"),
        ],
        "plan_steps": [
            _with_default("section", sa.Text, "steps"),
            sa.Column("run_on", sa.Text),
            sa.Column("undoes", sa.Integer),
            sa.Column("for_each", sa.Text),
            sa.Column("item_reads", sa.ARRAY(sa.Integer)),
            sa.Column("max_parallel", sa.Integer),
            sa.Column("tolerate", sa.Integer),
            sa.Column("tolerate_percent", sa.Float),
            sa.Column("fallback", sa.Integer),
            sa.Column("stands_in_for", sa.Integer),
        ],
        "executions": [
            _with_default("section", sa.Text, "steps"),
            sa.Column("queue", sa.Text),
        ],
        "execution_steps": [
            _with_default("section", sa.Text, "steps"),
            sa.Column("item_of", sa.Integer),
            sa.Column("item", _JSON),
            sa.Column("first_item", sa.Integer),
            sa.Column("item_count", sa.Integer),
            sa.Column("next_item", sa.Integer),
            sa.Column("skips_left", sa.Integer),
            sa.Column("fallback", sa.Integer),
            sa.Column("stands_in_for", sa.Integer),
        ],
    }


def _with_default(name: str, kind: Any, default: str) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, server_default=default)


def upgrade() -> None:
    for table, columns in _columns().items():
        for column in columns:
            op.add_column(table, column)
    for table, checks in _CHECKS.items():
        for name, condition in checks.items():
            op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)
    # their steps had ended, and nothing came after them: what is left is to finish
    op.execute(
        "UPDATE executions SET section = 'over'"
        " WHERE status = 'ending' AND open_steps = 0"
    )


_REFUSE_WHAT_THE_OLD_RELEASE_CANNOT_FINISH = """
DO $$
DECLARE
    stranded int;
BEGIN
    SELECT count(*) INTO stranded FROM executions e
     WHERE (e.status = 'ending' AND e.section IN ('rollback', 'end'))
        OR EXISTS (SELECT FROM execution_steps s
                    WHERE s.execution_id = e.id AND s.status = 'waiting'
                      AND s.wake_at IS NULL);
    IF stranded > 0 THEN
        RAISE EXCEPTION '% executions undo steps, run their end, or wait for items or a'
            ' fallback, which the older release cannot finish', stranded
            USING HINT = 'Let them end, or cancel them, and downgrade then.';
    END IF;
END $$
"""


def downgrade() -> None:
    op.execute(_REFUSE_WHAT_THE_OLD_RELEASE_CANNOT_FINISH)
    for table, checks in _CHECKS.items():
        for name in checks:
            op.drop_constraint(op.f(f"ck_{table}_{name}"), table)
    for table, columns in _columns().items():
        for column in columns:
            op.drop_column(table, column.name)
