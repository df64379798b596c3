"""The catalogue: signatures with types, and who published them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("actions", sa.Column("published_by", sa.Text()))
    _forget_signatures()


def downgrade() -> None:
    _forget_signatures()
    op.drop_column("actions", "published_by")


def _forget_signatures() -> None:
    # those of the other release have another form; workers publish them at their start
    op.execute("UPDATE actions SET signature = NULL")
