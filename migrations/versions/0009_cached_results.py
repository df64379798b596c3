"""Results that are used again: what steps state of it, and where they are kept."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, UUID

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("plan_steps", sa.Column("cache", JSONB))
    op.add_column("execution_steps", sa.Column("cached_from", JSONB))
    op.create_table(
        "cached_results",
        sa.Column("digest", sa.Text(), primary_key=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("result", JSONB, nullable=False),
        sa.Column("execution_id", UUID(as_uuid=False), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=False),
    )
    op.create_index("ix_cached_results_expires_at", "cached_results", ["expires_at"])


def downgrade() -> None:
    op.drop_table("cached_results")
    op.drop_column("execution_steps", "cached_from")
    op.drop_column("plan_steps", "cache")
