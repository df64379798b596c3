"""What the tables have in common: names of constraints, types, keys.

The schema's name is not written here: the engine in `queries` translates it.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    DateTime,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
HOT_TABLE = {"postgresql_with": {"fillfactor": "70"}}
"""Leaves room in each page, so that an update can stay beside its old row."""

BUSY_TABLE = {
    "postgresql_with": {
        **HOT_TABLE["postgresql_with"],
        "autovacuum_vacuum_scale_factor": "0.05",
        "autovacuum_analyze_scale_factor": "0.05",
        "autovacuum_vacuum_cost_delay": "0",
    }
}
"""The same, for tables whose every row is written several times within seconds: what
is dead in them is cleared away before it is a fifth of a table of millions."""


class Base(DeclarativeBase):
    """What all models share: names of constraints and the Python types."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map = {  # noqa: RUF012  # the ORM reads it from the class
        str: Text(),
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB(none_as_null=True),
        list[str]: ARRAY(Text()),
        list[int]: ARRAY(Integer()),
        float: Float(),
    }


def uuid_column(**options: Any) -> Mapped[str]:
    return mapped_column(UUID(as_uuid=False), **options)


def one_of(column: str, values: object) -> str:
    listed = ", ".join(f"'{value}'" for value in sorted(values))  # type: ignore[call-overload]  # any StrEnum class or set
    return f"{column} IN ({listed})"


def execution_key(**options: Any) -> Mapped[str]:
    return mapped_column(
        UUID(as_uuid=False),
        ForeignKey("executions.id", ondelete="CASCADE"),
        primary_key=True,
        **options,
    )


def step_reference() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["execution_id", "position"],
        ["execution_steps.execution_id", "execution_steps.position"],
        ondelete="CASCADE",
    )
