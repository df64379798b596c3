"""Who is there: workers, the pulse that measures their silence, the installation."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Index,
    text,
)
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.orm import Mapped, mapped_column

from .tables import (
    HOT_TABLE,
    Base,
    uuid_column,
)


class Worker(Base):
    """A worker process: what it serves, what it has in hand, when it was last seen.

    `pulse` is the value of the installation's pulse at its last beat. Steps name
    their worker without a foreign key: a step whose worker is gone is lost, and
    must be found, not prevented.
    """

    __tablename__ = "workers"

    id: Mapped[str] = uuid_column(primary_key=True)
    hostname: Mapped[str]
    pid: Mapped[int]
    pool: Mapped[str]
    slots: Mapped[int]
    queues: Mapped[list[str]]
    actions: Mapped[list[str]]
    in_hand: Mapped[int] = mapped_column(server_default="0")
    deliveries: Mapped[list[str]] = mapped_column(server_default="{}")
    tokens: Mapped[list[str]] = mapped_column(
        ARRAY(UUID(as_uuid=False)), server_default="{}"
    )
    pulse: Mapped[float]
    beats: Mapped[int] = mapped_column(server_default="0")
    sampled_at: Mapped[datetime]
    started_at: Mapped[datetime]
    beat_at: Mapped[datetime]
    rounds: Mapped[dict[str, Any] | None]
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None]
    grace_seconds: Mapped[float] = mapped_column(server_default="30")
    lease_seconds: Mapped[float | None]

    __table_args__ = (
        CheckConstraint("end_reason IN ('stopped', 'lost')", name="end_reason_known"),
        CheckConstraint(
            "(ended_at IS NULL) = (end_reason IS NULL)", name="ended_has_reason"
        ),
        Index("ix_workers_living", "pulse", postgresql_where=text("ended_at IS NULL")),
        HOT_TABLE,
    )


class Queue(Base):
    """How far a queue has come: when the newest message was sent that was claimed.

    What was sent well before it and is still not claimed has been overtaken, and so its
    message is lost. Kept to the second: a claim writes it rarely.
    """

    __tablename__ = "queues"

    name: Mapped[str] = mapped_column(primary_key=True)
    front: Mapped[datetime]

    __table_args__ = (HOT_TABLE,)


class Pulse(Base):
    """One row: the installation's own clock, which stands still while nobody works.

    A worker's silence is measured in it, so that neither an outage of the database
    nor a jump of its clock makes a healthy worker look dead.
    """

    __tablename__ = "pulse"

    is_only: Mapped[bool] = mapped_column(primary_key=True, server_default="true")
    value: Mapped[float] = mapped_column(server_default="0")
    advanced_at: Mapped[datetime] = mapped_column(
        server_default=text("clock_timestamp()")
    )

    __table_args__ = (CheckConstraint("is_only", name="one_row"), HOT_TABLE)


class Installation(Base):
    """One row: whose Redis keys these are, and which functions are installed."""

    __tablename__ = "installation"

    is_only: Mapped[bool] = mapped_column(primary_key=True, server_default="true")
    id: Mapped[str] = uuid_column(server_default=text("gen_random_uuid()"))
    functions_digest: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(
        server_default=text("clock_timestamp()")
    )

    __table_args__ = (CheckConstraint("is_only", name="one_row"),)
