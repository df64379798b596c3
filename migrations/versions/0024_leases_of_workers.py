"""How long each worker may be silent: its own lease, not that of who looks at it."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # workers of the last release do not say; who looks then takes its own
    op.add_column("workers", sa.Column("lease_seconds", sa.Float()))


def downgrade() -> None:
    op.drop_column("workers", "lease_seconds")
