"""Acts on many executions: batches, and the executions that were chosen for each."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, text
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.orm import Mapped, mapped_column

from ..batches import BatchStatus, ItemStatus
from .tables import HOT_TABLE, Base, one_of, uuid_column

_ACTS = ("cancel", "force", "pause", "resume", "retry", "skip")


class Batch(Base):
    """One act on many executions: what was asked, by whom, and how far it is."""

    __tablename__ = "batches"

    id: Mapped[str] = uuid_column(primary_key=True)
    act: Mapped[str]
    arguments: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    filter: Mapped[dict[str, Any]]
    by: Mapped[str | None]
    reason: Mapped[str | None]
    rate_per_second: Mapped[float | None]
    most_failures: Mapped[int | None]
    status: Mapped[str]
    total: Mapped[int] = mapped_column(server_default="0")
    next_position: Mapped[int] = mapped_column(server_default="0")
    next_at: Mapped[datetime]
    handed_at: Mapped[datetime | None]
    counts: Mapped[dict[str, Any] | None]
    history: Mapped[list[Any]] = mapped_column(JSONB, server_default="[]")
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(one_of("act", _ACTS), name="act_known"),
        CheckConstraint(one_of("status", BatchStatus), name="status_known"),
        CheckConstraint(
            "(status IN ('running', 'paused')) = (ended_at IS NULL)",
            name="ended_has_time",
        ),
        CheckConstraint(
            "(ended_at IS NULL) = (counts IS NULL)", name="ended_has_counts"
        ),
        CheckConstraint("rate_per_second > 0", name="rate_moves"),
        Index(
            "ix_batches_running",
            "created_at",
            "id",
            postgresql_where=text("status = 'running'"),
        ),
        Index("ix_batches_created_at", "created_at", "id"),
        HOT_TABLE,
    )


class BatchItem(Base):
    """One execution of a batch, and what came out for it.

    Without a foreign key to the execution: the record of what was done outlives it.
    """

    __tablename__ = "batch_items"

    batch_id: Mapped[str] = mapped_column(
        UUID(as_uuid=False),
        ForeignKey("batches.id", ondelete="CASCADE"),
        primary_key=True,
    )
    position: Mapped[int] = mapped_column(
        Integer, primary_key=True, autoincrement=False
    )
    execution_id: Mapped[str] = uuid_column()
    status: Mapped[str] = mapped_column(server_default="pending")
    detail: Mapped[str | None]
    at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(one_of("status", ItemStatus), name="status_known"),
        CheckConstraint("(status = 'pending') = (at IS NULL)", name="settled_has_time"),
        Index(
            "ix_batch_items_pending",
            "batch_id",
            "position",
            postgresql_where=text("status = 'pending'"),
        ),
        Index(
            "ix_batch_items_failures",
            "batch_id",
            "position",
            postgresql_where=text("status IN ('refused', 'failed')"),
        ),
        HOT_TABLE,
    )
