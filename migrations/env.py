"""Runs the migrations on the connection that `execution.schema` hands over."""

from alembic import context

from execution.models import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    transactional_ddl=True,
)
context.run_migrations()
