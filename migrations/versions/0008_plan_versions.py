"""Versions of plans: under one name, a published version has one body."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # of two bodies that were published as one version, the last keeps it
    op.execute(
        """
        UPDATE plans p SET published_at = NULL, default_queue = NULL
         WHERE published_at IS NOT NULL AND EXISTS (
               SELECT FROM plans o
                WHERE o.name = p.name AND o.version = p.version
                  AND (o.published_at, o.id) > (p.published_at, p.id))
        """
    )
    op.create_index(
        "uq_plans_published_version",
        "plans",
        ["name", "version"],
        unique=True,
        postgresql_where=sa.text("published_at IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("uq_plans_published_version", table_name="plans")
