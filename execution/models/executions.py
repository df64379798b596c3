"""What runs: submissions, executions and their steps.

The rules of executions and steps are not here but in `execution.sql.guards`.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    text,
)
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.orm import Mapped, mapped_column, relationship

from .plans import Plan
from .tables import (
    BUSY_TABLE,
    Base,
    execution_key,
    uuid_column,
)


class Submission(Base):
    """An idempotency key, and what was submitted under it.

    A table of its own: a unique key cannot live on a table that is distributed by
    execution.
    """

    __tablename__ = "submissions"

    key: Mapped[str] = mapped_column(primary_key=True)
    execution_id: Mapped[str] = uuid_column(index=True)
    digest: Mapped[str]
    created_at: Mapped[datetime]


class Execution(Base):
    """One run of a plan. Its row is the lock under which everything of it moves."""

    __tablename__ = "executions"

    id: Mapped[str] = uuid_column(primary_key=True)
    plan_id: Mapped[str] = mapped_column(
        UUID(as_uuid=False), ForeignKey("plans.id"), index=True
    )
    status: Mapped[str]
    reason: Mapped[str | None]
    epoch: Mapped[int] = mapped_column(server_default="1")
    next_seq: Mapped[int] = mapped_column(BigInteger, server_default="1")
    open_steps: Mapped[int]
    total_steps: Mapped[int]
    priority: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    tags: Mapped[list[str]] = mapped_column(server_default="{}")
    digest: Mapped[str]
    parameters: Mapped[dict[str, Any]]
    queue: Mapped[str | None]
    section: Mapped[str] = mapped_column(server_default="steps")
    variables: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    result: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    deadline: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    retried_at: Mapped[datetime | None]
    told_at: Mapped[datetime | None]
    grace_seconds: Mapped[float | None]
    parent_id: Mapped[str | None] = mapped_column(
        UUID(as_uuid=False), ForeignKey("executions.id", ondelete="CASCADE")
    )
    parent_position: Mapped[int | None]
    depth: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    paused_with_parent: Mapped[bool] = mapped_column(server_default="false")
    concurrency_key: Mapped[str | None]
    admitted_at: Mapped[datetime | None]
    starts_at: Mapped[datetime | None]
    is_delayed: Mapped[bool] = mapped_column(server_default="false")
    schedule: Mapped[str | None]
    scheduled_at: Mapped[datetime | None]

    plan: Mapped[Plan] = relationship()
    steps: Mapped[list["ExecutionStep"]] = relationship(
        order_by="ExecutionStep.position", passive_deletes=True
    )

    __table_args__ = (
        # lists, newest first, by state or all
        Index("ix_executions_status_created_at", "status", "created_at"),
        Index("ix_executions_created_at", "created_at"),
        # in the order of their ends, for who watches all of them
        Index(
            "ix_executions_ended_at",
            "ended_at",
            "id",
            postgresql_where=text("ended_at IS NOT NULL"),
        ),
        # the sweep for executions whose last runner died before the end; not by their
        # open steps, which change with every step: no such update would be HOT
        Index("ix_executions_ending", "id", postgresql_where=text("status = 'ending'")),
        # and the one for deadlines that have passed
        Index(
            "ix_executions_deadline",
            "deadline",
            postgresql_where=text(
                "deadline IS NOT NULL AND status IN ('pending', 'running', 'paused')"
            ),
        ),
        # the children of an execution, and of each of its steps
        Index(
            "ix_executions_parent",
            "parent_id",
            "parent_position",
            postgresql_where=text("parent_id IS NOT NULL"),
        ),
        # who is next under a key, and the sweep for keys that have room
        Index(
            "ix_executions_held",
            "concurrency_key",
            text("priority DESC"),
            text("COALESCE(starts_at, created_at)"),
            "id",
            postgresql_where=text(
                "concurrency_key IS NOT NULL AND admitted_at IS NULL"
                " AND ended_at IS NULL"
            ),
        ),
        # the sweep for those whose time has come
        Index(
            "ix_executions_delayed",
            "starts_at",
            postgresql_where=text("is_delayed AND status = 'pending'"),
        ),
        # what of a schedule still runs
        Index(
            "ix_executions_schedule",
            "schedule",
            postgresql_where=text("schedule IS NOT NULL AND ended_at IS NULL"),
        ),
        # how many run under it
        Index(
            "ix_executions_admitted",
            "concurrency_key",
            postgresql_where=text("admitted_at IS NOT NULL AND ended_at IS NULL"),
        ),
        BUSY_TABLE,
    )


class Relay(Base):
    """Word of an execution that its children, or its parent, have not all heard yet."""

    __tablename__ = "relays"

    execution_id: Mapped[str] = execution_key()
    number: Mapped[int] = mapped_column(BigInteger)


class ExecutionStep(Base):
    """A step of one execution: who holds it, how it stands, what came of it."""

    __tablename__ = "execution_steps"

    execution_id: Mapped[str] = execution_key()
    position: Mapped[int] = mapped_column(
        Integer, primary_key=True, autoincrement=False
    )
    name: Mapped[str]
    action: Mapped[str]
    queue: Mapped[str]
    priority: Mapped[int] = mapped_column(SmallInteger)
    section: Mapped[str] = mapped_column(server_default="steps")
    needs: Mapped[list[int]]
    successors: Mapped[list[int]]
    pending_deps: Mapped[int]
    status: Mapped[str]
    reason: Mapped[str | None]
    attempt: Mapped[int] = mapped_column(server_default="0")
    failures: Mapped[int] = mapped_column(server_default="0")
    losses: Mapped[int] = mapped_column(server_default="0")
    lease_token: Mapped[str | None] = uuid_column()
    worker_id: Mapped[str | None] = uuid_column()
    delivery: Mapped[str | None]
    claimed_by_ride: Mapped[bool] = mapped_column(server_default="false")
    claimed_at: Mapped[datetime | None]
    claimed_beat: Mapped[int | None]
    attempt_deadline: Mapped[datetime | None]
    ready_at: Mapped[datetime | None]
    published_at: Mapped[datetime | None]
    publishes: Mapped[int] = mapped_column(server_default="0")
    wake_at: Mapped[datetime | None]
    deadline_seconds: Mapped[float | None]
    deadline: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    input: Mapped[dict[str, Any] | None]
    result: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    progress: Mapped[float | None]
    progress_message: Mapped[str | None]
    chunks: Mapped[int | None] = mapped_column(BigInteger)
    records: Mapped[int | None] = mapped_column(BigInteger)
    item_of: Mapped[int | None]
    item: Mapped[dict[str, Any] | None]
    first_item: Mapped[int | None]
    item_count: Mapped[int | None]
    next_item: Mapped[int | None]
    skips_left: Mapped[int | None]
    fallback: Mapped[int | None]
    stands_in_for: Mapped[int | None]
    child_id: Mapped[str | None] = uuid_column()
    child_epoch: Mapped[int | None]
    iterations: Mapped[int | None]
    restores: Mapped[int] = mapped_column(server_default="0")
    cached_from: Mapped[dict[str, Any] | None]
    waits_for: Mapped[str | None]
    parked_at: Mapped[datetime | None]

    __table_args__ = (
        # whether an execution has children that it must tell something
        Index(
            "ix_execution_steps_child",
            "execution_id",
            postgresql_where=text("child_id IS NOT NULL"),
        ),
        # sweeps: what runs, by its worker; what is ready, by its queue
        Index(
            "ix_execution_steps_running",
            "worker_id",
            postgresql_where=text("status = 'running'"),
        ),
        Index(
            "ix_execution_steps_ready",
            "queue",
            "published_at",
            postgresql_where=text("status = 'ready'"),
        ),
        # what was never sent: the next of a fan-out, and what nobody sends
        Index(
            "ix_execution_steps_unsent",
            "execution_id",
            "queue",
            text("priority DESC"),
            "position",
            postgresql_where=text("status = 'ready' AND published_at IS NULL"),
        ),
        # how many messages of an execution are under way in a queue
        Index(
            "ix_execution_steps_sent",
            "execution_id",
            "queue",
            postgresql_where=text("status = 'ready' AND published_at IS NOT NULL"),
        ),
        # timers and deadlines that are due
        Index(
            "ix_execution_steps_waiting",
            "wake_at",
            postgresql_where=text("status = 'waiting'"),
        ),
        # the sweep for what a hold has parked that is no more
        Index(
            "ix_execution_steps_parked",
            "waits_for",
            "execution_id",
            postgresql_where=text("parked_at IS NOT NULL"),
        ),
        # the first that waits for a signal, or whatever else has a name
        Index(
            "ix_execution_steps_awaiting",
            "execution_id",
            "waits_for",
            "position",
            postgresql_where=text("status = 'waiting' AND waits_for IS NOT NULL"),
        ),
        Index(
            "ix_execution_steps_deadline",
            "deadline",
            postgresql_where=text(
                "deadline IS NOT NULL AND status IN ('ready', 'waiting')"
                " AND parked_at IS NULL"
            ),
        ),
        BUSY_TABLE,
    )


class CachedResult(Base):
    """A result that steps of equal inputs may use, of whichever executions.

    It outlives the execution that it comes from, and so refers to none.
    """

    __tablename__ = "cached_results"

    digest: Mapped[str] = mapped_column(primary_key=True)
    action: Mapped[str]
    result: Mapped[dict[str, Any]]
    execution_id: Mapped[str] = uuid_column()
    step: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
