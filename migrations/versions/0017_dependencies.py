"""Dependencies: what steps use, whether it is paused, and what was seen of it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_ID = postgresql.UUID(as_uuid=False)
_MOMENT = sa.DateTime(timezone=True)
_NOW = sa.text("clock_timestamp()")
_NAMES = postgresql.ARRAY(sa.Text)


def _count(name: str, default: int) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False, server_default=str(default))


def _seconds(name: str, default: int) -> sa.Column[float]:
    return sa.Column(name, sa.Float, nullable=False, server_default=str(default))


def _names(name: str) -> sa.Column[list[str]]:
    return sa.Column(name, _NAMES, nullable=False, server_default="{}")


def upgrade() -> None:
    op.add_column("plan_steps", _names("uses"))
    op.add_column("actions", _names("uses"))
    op.create_table(
        "dependencies",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default="free"),
        sa.Column("since", _MOMENT, nullable=False, server_default=_NOW),
        sa.Column("by", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("look_at", _MOMENT),
        _count("pauses", 0),
        _count("round", 0),
        sa.Column("act_id", _ID),
        sa.Column("counted_from", _MOMENT, nullable=False, server_default=_NOW),
        sa.Column(
            "is_paused_by_rate", sa.Boolean, nullable=False, server_default="false"
        ),
        sa.Column("pause_at", sa.Float),
        _count("of_last", 20),
        sa.Column("window_seconds", sa.Float),
        _seconds("cooldown_seconds", 30),
        _seconds("most_cooldown_seconds", 600),
        _seconds("canary_seconds", 300),
        _seconds("ramp_seconds", 5),
        _names("failing_on"),
        _names("not_failing_on"),
        sa.Column("guarded_by", sa.Text),
        sa.Column("guard_reason", sa.Text),
        sa.Column("guarded_at", _MOMENT),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_dependencies")),
        sa.CheckConstraint(
            "state IN ('canary', 'free', 'paused', 'ramp')",
            name=op.f("ck_dependencies_state_known"),
        ),
        sa.CheckConstraint(
            "state IN ('free', 'paused') OR look_at IS NOT NULL",
            name=op.f("ck_dependencies_trial_is_looked_at"),
        ),
        sa.CheckConstraint(
            "pause_at > 0 AND pause_at <= 1",
            name=op.f("ck_dependencies_pause_at_is_share"),
        ),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index(
        "ix_dependencies_look_at",
        "dependencies",
        ["look_at"],
        postgresql_where=sa.text("look_at IS NOT NULL"),
    )
    _create_outcomes()
    _create_passes()


def _create_outcomes() -> None:
    op.create_table(
        "dependency_outcomes",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("has_failed", sa.Boolean, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", "id", name=op.f("pk_dependency_outcomes")),
    )


def _create_passes() -> None:
    op.create_table(
        "dependency_passes",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("execution_id", _ID, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("given_at", _MOMENT, nullable=False),
        sa.Column("is_canary", sa.Boolean, nullable=False),
        sa.Column("has_failed", sa.Boolean),
        sa.PrimaryKeyConstraint(
            "name", "execution_id", "position", name=op.f("pk_dependency_passes")
        ),
        sa.ForeignKeyConstraint(
            ["name"],
            ["dependencies.name"],
            name=op.f("fk_dependency_passes_dependencies"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["execution_id", "position"],
            ["execution_steps.execution_id", "execution_steps.position"],
            name=op.f("fk_dependency_passes_execution_steps"),
            ondelete="CASCADE",
        ),
    )
    op.create_index(
        "uq_dependency_passes_canary",
        "dependency_passes",
        ["name"],
        unique=True,
        postgresql_where=sa.text("is_canary"),
    )
    op.create_index(
        "ix_dependency_passes_step", "dependency_passes", ["execution_id", "position"]
    )


def downgrade() -> None:
    op.drop_table("dependency_passes")
    op.drop_table("dependency_outcomes")
    op.drop_table("dependencies")
    op.drop_column("actions", "uses")
    op.drop_column("plan_steps", "uses")
