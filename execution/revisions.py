"""Moves the tables from revision to revision, and compares them with the models.

The only one to know Alembic, which takes a twelfth of the time that an engine needs to
load: `schema` loads this when tables are to be changed or compared.
"""

import io
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from .assets import find_asset
from .models import Base


def go_forward(connection: sa.Connection, revision: str) -> None:
    """Change the tables to those of a newer revision, or of the same."""
    command.upgrade(_config(connection), revision)


def go_back(connection: sa.Connection, revision: str) -> None:
    """Change the tables to those of an older revision; `base` leaves none."""
    command.downgrade(_config(connection), revision)


def find_revision(connection: sa.Connection) -> str | None:
    """Return the revision of the tables; None where there are none."""
    return MigrationContext.configure(connection).get_current_revision()


def list_differences(connection: sa.Connection) -> list[Any]:
    """Return what separates the tables from the models, in Alembic's terms."""
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, Base.metadata))


def _config(connection: sa.Connection) -> Config:
    config = Config(stdout=io.StringIO())
    config.set_main_option(
        "script_location", str(find_asset("migrations")).replace("%", "%%")
    )
    config.attributes["connection"] = connection
    config.attributes["metadata"] = Base.metadata
    return config
