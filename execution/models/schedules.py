"""What begins executions by the clock, and what became of each time."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    SmallInteger,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from ..timing import CatchUp, Overlap, RunOutcome, RunTrigger
from .tables import Base, one_of, uuid_column


class Schedule(Base):
    """A plan that is begun by the clock: when, with what, and what if it still runs.

    `next_at` is the first moment that nobody has seen to; null: there is none any more.
    Reconcilers compare it, and the revision, with what they have read.
    """

    __tablename__ = "schedules"

    name: Mapped[str] = mapped_column(primary_key=True)
    plan: Mapped[str]
    parameters: Mapped[dict[str, Any]]
    tags: Mapped[list[str]]
    priority: Mapped[int] = mapped_column(SmallInteger)
    cron: Mapped[str | None]
    every_seconds: Mapped[float | None]
    time_zone: Mapped[str]
    catch_up: Mapped[str]
    catch_up_seconds: Mapped[float | None]
    overlap: Mapped[str]
    start_at: Mapped[datetime]
    end_at: Mapped[datetime | None]
    next_at: Mapped[datetime | None]
    revision: Mapped[int] = mapped_column(server_default="1")
    paused_at: Mapped[datetime | None]
    created_at: Mapped[datetime]

    __table_args__ = (
        # two rules for one next time, or none
        CheckConstraint("num_nulls(cron, every_seconds) = 1", name="one_rule"),
        # a next time that never comes closer would be found at each look
        CheckConstraint("every_seconds >= 1", name="every_forward"),
        CheckConstraint(one_of("catch_up", CatchUp), name="catch_up_known"),
        CheckConstraint(one_of("overlap", Overlap), name="overlap_known"),
        # the sweep for those whose time has come
        Index(
            "ix_schedules_due",
            "next_at",
            postgresql_where=text("next_at IS NOT NULL AND paused_at IS NULL"),
        ),
    )


class ScheduleRun(Base):
    """One time of a schedule, or one run that a person asked for."""

    __tablename__ = "schedule_runs"

    id: Mapped[str] = uuid_column(primary_key=True)
    schedule: Mapped[str] = mapped_column(
        ForeignKey("schedules.name", ondelete="CASCADE")
    )
    scheduled_at: Mapped[datetime]
    trigger: Mapped[str]
    outcome: Mapped[str]
    detail: Mapped[str | None]
    execution_id: Mapped[str | None] = uuid_column()
    by: Mapped[str | None]
    reason: Mapped[str | None]
    at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint(one_of("trigger", RunTrigger), name="trigger_known"),
        CheckConstraint(one_of("outcome", RunOutcome), name="outcome_known"),
        CheckConstraint(
            "(outcome = 'started') = (execution_id IS NOT NULL)",
            name="started_has_execution",
        ),
        # nothing twice
        Index(
            "uq_schedule_runs_time",
            "schedule",
            "scheduled_at",
            unique=True,
            postgresql_where=text("trigger = 'timer'"),
        ),
        # the newest of a schedule
        Index("ix_schedule_runs_schedule", "schedule", "scheduled_at", "id"),
        # what has not begun yet
        Index(
            "ix_schedule_runs_queued",
            "schedule",
            "scheduled_at",
            postgresql_where=text("outcome = 'queued'"),
        ),
    )


class ScheduleChange(Base):
    """Who did what to a schedule, and why; it outlives the schedule."""

    __tablename__ = "schedule_changes"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    schedule: Mapped[str] = mapped_column(index=True)
    act: Mapped[str]
    by: Mapped[str | None]
    reason: Mapped[str | None]
    at: Mapped[datetime]
