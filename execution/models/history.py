"""What happened: attempts, states, events, and what steps told and saved."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Identity,
    Index,
    Integer,
)
from sqlalchemy.orm import Mapped, mapped_column

from ..observations import LineLevel
from ..states import (
    ExecutionStatus,
)
from .tables import (
    HOT_TABLE,
    Base,
    execution_key,
    one_of,
    step_reference,
    uuid_column,
)


class StepAttempt(Base):
    """An attempt that did not end well; the good ones stay in the step's own row."""

    __tablename__ = "step_attempts"

    execution_id: Mapped[str] = uuid_column(primary_key=True)
    position: Mapped[int] = mapped_column(
        Integer, primary_key=True, autoincrement=False
    )
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    outcome: Mapped[str]
    lease_token: Mapped[str | None] = uuid_column()
    worker_id: Mapped[str | None] = uuid_column()
    claimed_at: Mapped[datetime | None]
    ended_at: Mapped[datetime]
    error: Mapped[dict[str, Any] | None]

    __table_args__ = (
        step_reference(),
        CheckConstraint(
            "outcome IN ('failed', 'timed_out', 'lost', 'cancelled', 'restored',"
            " 'yielded', 'drained')",
            name="outcome_known",
        ),
    )


class ExecutionState(Base):
    """One change of an execution's state: who made it, and why."""

    __tablename__ = "execution_states"

    execution_id: Mapped[str] = execution_key()
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    from_status: Mapped[str | None]
    to_status: Mapped[str]
    by: Mapped[str | None]
    reason: Mapped[str | None]
    at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint(one_of("to_status", ExecutionStatus), name="status_known"),
    )


class ExecutionEvent(Base):
    """One entry of the timeline; `seq` has no gaps within an execution."""

    __tablename__ = "execution_events"

    execution_id: Mapped[str] = execution_key()
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    type: Mapped[str]
    position: Mapped[int | None]
    data: Mapped[dict[str, Any]]
    at: Mapped[datetime]

    __table_args__ = (CheckConstraint("seq >= 1", name="seq_starts_at_one"),)


class ExecutionLog(Base):
    """A line that a step told: by `ctx.log`, a logger, or a stream."""

    __tablename__ = "execution_logs"

    execution_id: Mapped[str] = uuid_column(primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    position: Mapped[int]
    attempt: Mapped[int]
    number: Mapped[int]
    level: Mapped[str]
    source: Mapped[str]
    message: Mapped[str]
    at: Mapped[datetime]

    __table_args__ = (
        step_reference(),
        CheckConstraint(one_of("level", LineLevel), name="level_known"),
        Index("ix_execution_logs_step", "execution_id", "position", "id"),
    )


class ExecutionMetric(Base):
    """A number that a step reported with `ctx.metric`."""

    __tablename__ = "execution_metrics"

    execution_id: Mapped[str] = uuid_column(primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    position: Mapped[int]
    attempt: Mapped[int]
    name: Mapped[str]
    value: Mapped[float]
    at: Mapped[datetime]

    __table_args__ = (
        step_reference(),
        Index("ix_execution_metrics_step", "execution_id", "position"),
    )


class ExecutionCheckpoint(Base):
    """What a step saved of its own progress, for the attempt after it."""

    __tablename__ = "execution_checkpoints"

    execution_id: Mapped[str] = uuid_column(primary_key=True)
    position: Mapped[int] = mapped_column(
        Integer, primary_key=True, autoincrement=False
    )
    attempt: Mapped[int]
    data: Mapped[dict[str, Any]]
    saved_at: Mapped[datetime]

    __table_args__ = (step_reference(), HOT_TABLE)
