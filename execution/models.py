"""The tables, as SQLAlchemy models.

For readers of the schema and for queries: what exists, how it hangs together, and
which rows are impossible. Each constraint says why it is there. The rows never
leave the modules that query them; others get the frozen values of `results`.

The schema's name is not written here: the engine in `repository` translates it.
What workers write at speed goes through the functions in `sql/`, not through these
classes, so that a worker need not import an ORM.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    DateTime,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from execution.states import (
    TERMINAL_EXECUTION_STATUSES,
    EndReason,
    ExecutionStatus,
    StepStatus,
)

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
_HOT_TABLE = {"postgresql_with": {"fillfactor": "70"}}
"""Leaves room in each page, so that an update can stay beside its old row."""


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


def _uuid(**options: Any) -> Mapped[str]:
    return mapped_column(UUID(as_uuid=False), **options)


def _one_of(column: str, values: object) -> str:
    listed = ", ".join(f"'{value}'" for value in sorted(values))  # type: ignore[call-overload]  # any StrEnum class or set
    return f"{column} IN ({listed})"


def _execution_key(**options: Any) -> Mapped[str]:
    return mapped_column(
        UUID(as_uuid=False),
        ForeignKey("executions.id", ondelete="CASCADE"),
        primary_key=True,
        **options,
    )


class Plan(Base):
    """A plan document, stored once for all executions of it."""

    __tablename__ = "plans"

    id: Mapped[str] = _uuid(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    version: Mapped[str | None]
    digest: Mapped[str] = mapped_column(unique=True)
    definition: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None]
    result_reads: Mapped[list[int]]
    created_at: Mapped[datetime] = mapped_column(
        server_default=text("clock_timestamp()")
    )

    steps: Mapped[list["PlanStep"]] = relationship(order_by="PlanStep.position")
    executions: Mapped[list["Execution"]] = relationship(back_populates="plan")


class PlanStep(Base):
    """A step of a plan, compiled: what every execution of the plan copies or reads.

    A submit copies the graph from here in one statement; a claim reads `inputs`
    and the policies from here, so that the hot rows stay narrow.
    """

    __tablename__ = "plan_steps"

    plan_id: Mapped[str] = mapped_column(
        UUID(as_uuid=False), ForeignKey("plans.id"), primary_key=True
    )
    position: Mapped[int] = mapped_column(
        Integer, primary_key=True, autoincrement=False
    )
    name: Mapped[str]
    action: Mapped[str]
    queue: Mapped[str | None]
    priority: Mapped[int] = mapped_column(SmallInteger)
    needs: Mapped[list[int]]
    successors: Mapped[list[int]]
    reads: Mapped[list[int]]
    survives_skips: Mapped[bool]
    on_failure: Mapped[str]
    timeout_seconds: Mapped[float | None]
    max_attempts: Mapped[int]
    max_lost: Mapped[int]
    inputs: Mapped[dict[str, Any]]


class Action(Base):
    """An action that some worker can run, as that worker published it."""

    __tablename__ = "actions"

    name: Mapped[str] = mapped_column(primary_key=True)
    doc: Mapped[str | None]
    signature: Mapped[dict[str, Any] | None]
    timeout_seconds: Mapped[float | None]
    published_at: Mapped[datetime]


class Submission(Base):
    """An idempotency key, and what was submitted under it.

    A table of its own: a unique key cannot live on a table that is distributed by
    execution.
    """

    __tablename__ = "submissions"

    key: Mapped[str] = mapped_column(primary_key=True)
    execution_id: Mapped[str] = _uuid(index=True)
    digest: Mapped[str]
    created_at: Mapped[datetime]


class Execution(Base):
    """One run of a plan. Its row is the lock under which everything of it moves."""

    __tablename__ = "executions"

    id: Mapped[str] = _uuid(primary_key=True)
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
    variables: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    result: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]

    plan: Mapped[Plan] = relationship(back_populates="executions")
    steps: Mapped[list["ExecutionStep"]] = relationship(
        order_by="ExecutionStep.position", passive_deletes=True
    )

    __table_args__ = (
        # an unknown word would be a state that no code handles
        CheckConstraint(_one_of("status", ExecutionStatus), name="status_known"),
        CheckConstraint(_one_of("reason", EndReason), name="reason_known"),
        # the first reason is kept from the moment the end begins
        CheckConstraint(
            f"({_one_of('status', {'ending', *TERMINAL_EXECUTION_STATUSES})})"
            " = (reason IS NOT NULL)",
            name="ending_has_reason",
        ),
        # a terminal state comes last: nothing runs any more, and the time is known
        CheckConstraint(
            f"({_one_of('status', TERMINAL_EXECUTION_STATUSES)})"
            " = (ended_at IS NOT NULL)",
            name="ended_has_time",
        ),
        CheckConstraint("ended_at IS NULL OR open_steps = 0", name="ended_is_closed"),
        # counters below zero mean that something was counted twice
        CheckConstraint("open_steps >= 0", name="open_steps_counted"),
        CheckConstraint("next_seq >= 1 AND epoch >= 1", name="counters_start_at_one"),
        # lists, newest first, by state or all
        Index("ix_executions_status_created_at", "status", "created_at"),
        Index("ix_executions_created_at", "created_at"),
        # the reconciler's sweep for executions whose last runner died before the end
        Index(
            "ix_executions_ending",
            "id",
            postgresql_where=text("status = 'ending' AND open_steps = 0"),
        ),
        _HOT_TABLE,
    )


class ExecutionStep(Base):
    """A step of one execution: who holds it, how it stands, what came of it."""

    __tablename__ = "execution_steps"

    execution_id: Mapped[str] = _execution_key()
    position: Mapped[int] = mapped_column(
        Integer, primary_key=True, autoincrement=False
    )
    name: Mapped[str]
    action: Mapped[str]
    queue: Mapped[str]
    priority: Mapped[int] = mapped_column(SmallInteger)
    needs: Mapped[list[int]]
    successors: Mapped[list[int]]
    pending_deps: Mapped[int]
    status: Mapped[str]
    reason: Mapped[str | None]
    attempt: Mapped[int] = mapped_column(server_default="0")
    failures: Mapped[int] = mapped_column(server_default="0")
    losses: Mapped[int] = mapped_column(server_default="0")
    lease_token: Mapped[str | None] = _uuid()
    worker_id: Mapped[str | None] = _uuid()
    delivery: Mapped[str | None]
    claimed_by_ride: Mapped[bool] = mapped_column(server_default="false")
    claimed_at: Mapped[datetime | None]
    attempt_deadline: Mapped[datetime | None]
    ready_at: Mapped[datetime | None]
    published_at: Mapped[datetime | None]
    publishes: Mapped[int] = mapped_column(server_default="0")
    wake_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    input: Mapped[dict[str, Any] | None]
    result: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    progress: Mapped[float | None]
    progress_message: Mapped[str | None]
    chunks: Mapped[int | None] = mapped_column(BigInteger)
    records: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = (
        CheckConstraint(_one_of("status", StepStatus), name="status_known"),
        # a running step has a holder; without one nobody could lose it
        CheckConstraint(
            "status <> 'running' OR (lease_token IS NOT NULL AND worker_id IS NOT NULL"
            " AND delivery IS NOT NULL AND claimed_at IS NOT NULL AND attempt >= 1)",
            name="running_has_holder",
        ),
        # what has not started has no holder, so an old token cannot match it
        CheckConstraint(
            "status NOT IN ('pending', 'ready', 'waiting') OR lease_token IS NULL",
            name="unstarted_has_no_holder",
        ),
        # nothing starts before all that it needs is settled
        CheckConstraint(
            "pending_deps >= 0 AND (pending_deps = 0 OR status IN"
            " ('pending', 'cancelled'))",
            name="started_needs_settled",
        ),
        CheckConstraint(
            "status <> 'ready' OR ready_at IS NOT NULL", name="ready_has_time"
        ),
        # only success leaves a result that others may read
        CheckConstraint(
            "result IS NULL OR status = 'completed'", name="result_is_success"
        ),
        CheckConstraint(
            "(status IN ('completed', 'failed', 'skipped', 'cancelled', 'timed_out'))"
            " = (ended_at IS NOT NULL)",
            name="ended_has_time",
        ),
        CheckConstraint(
            "failures >= 0 AND losses >= 0 AND publishes >= 0 AND attempt >= 0",
            name="counters_not_negative",
        ),
        CheckConstraint("progress BETWEEN 0 AND 100", name="progress_is_percentage"),
        # plans name each step once
        Index("uq_execution_steps_name", "execution_id", "name", unique=True),
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
        _HOT_TABLE,
    )


def _step_reference() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["execution_id", "position"],
        ["execution_steps.execution_id", "execution_steps.position"],
        ondelete="CASCADE",
    )


class StepAttempt(Base):
    """An attempt that did not end well; the good ones stay in the step's own row."""

    __tablename__ = "step_attempts"

    execution_id: Mapped[str] = _uuid(primary_key=True)
    position: Mapped[int] = mapped_column(
        Integer, primary_key=True, autoincrement=False
    )
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    outcome: Mapped[str]
    lease_token: Mapped[str | None] = _uuid()
    worker_id: Mapped[str | None] = _uuid()
    claimed_at: Mapped[datetime | None]
    ended_at: Mapped[datetime]
    error: Mapped[dict[str, Any] | None]

    __table_args__ = (
        _step_reference(),
        CheckConstraint(
            "outcome IN ('failed', 'timed_out', 'lost', 'cancelled')",
            name="outcome_known",
        ),
    )


class ExecutionState(Base):
    """One change of an execution's state: who made it, and why."""

    __tablename__ = "execution_states"

    execution_id: Mapped[str] = _execution_key()
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    from_status: Mapped[str | None]
    to_status: Mapped[str]
    by: Mapped[str | None]
    reason: Mapped[str | None]
    at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint(_one_of("to_status", ExecutionStatus), name="status_known"),
    )


class ExecutionEvent(Base):
    """One entry of the timeline; `seq` has no gaps within an execution."""

    __tablename__ = "execution_events"

    execution_id: Mapped[str] = _execution_key()
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    type: Mapped[str]
    position: Mapped[int | None]
    data: Mapped[dict[str, Any]]
    at: Mapped[datetime]

    __table_args__ = (CheckConstraint("seq >= 1", name="seq_starts_at_one"),)


class ExecutionLog(Base):
    """A line that a step wrote with `ctx.log`."""

    __tablename__ = "execution_logs"

    execution_id: Mapped[str] = _uuid(primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    position: Mapped[int]
    attempt: Mapped[int]
    level: Mapped[str]
    message: Mapped[str]
    at: Mapped[datetime]

    __table_args__ = (_step_reference(),)


class ExecutionMetric(Base):
    """A number that a step reported with `ctx.metric`."""

    __tablename__ = "execution_metrics"

    execution_id: Mapped[str] = _uuid(primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    position: Mapped[int]
    attempt: Mapped[int]
    name: Mapped[str]
    value: Mapped[float]
    at: Mapped[datetime]

    __table_args__ = (_step_reference(),)


class ExecutionCheckpoint(Base):
    """What a step saved of its own progress, for the attempt after it."""

    __tablename__ = "execution_checkpoints"

    execution_id: Mapped[str] = _uuid(primary_key=True)
    position: Mapped[int] = mapped_column(
        Integer, primary_key=True, autoincrement=False
    )
    attempt: Mapped[int]
    data: Mapped[dict[str, Any]]
    saved_at: Mapped[datetime]

    __table_args__ = (_step_reference(), _HOT_TABLE)


class Worker(Base):
    """A worker process: what it serves, what it has in hand, when it was last seen.

    `pulse` is the value of the installation's pulse at its last beat. Steps name
    their worker without a foreign key: a step whose worker is gone is lost, and
    must be found, not prevented.
    """

    __tablename__ = "workers"

    id: Mapped[str] = _uuid(primary_key=True)
    hostname: Mapped[str]
    pid: Mapped[int]
    pool: Mapped[str]
    slots: Mapped[int]
    queues: Mapped[list[str]]
    actions: Mapped[list[str]]
    deliveries: Mapped[list[str]] = mapped_column(server_default="{}")
    tokens: Mapped[list[str]] = mapped_column(
        ARRAY(UUID(as_uuid=False)), server_default="{}"
    )
    pulse: Mapped[float]
    sampled_at: Mapped[datetime]
    started_at: Mapped[datetime]
    beat_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None]

    __table_args__ = (
        CheckConstraint("end_reason IN ('stopped', 'lost')", name="end_reason_known"),
        CheckConstraint(
            "(ended_at IS NULL) = (end_reason IS NULL)", name="ended_has_reason"
        ),
        Index("ix_workers_living", "pulse", postgresql_where=text("ended_at IS NULL")),
        _HOT_TABLE,
    )


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

    __table_args__ = (CheckConstraint("is_only", name="one_row"), _HOT_TABLE)


class Installation(Base):
    """One row: whose Redis keys these are, and which functions are installed."""

    __tablename__ = "installation"

    is_only: Mapped[bool] = mapped_column(primary_key=True, server_default="true")
    id: Mapped[str] = _uuid(server_default=text("gen_random_uuid()"))
    functions_digest: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(
        server_default=text("clock_timestamp()")
    )

    __table_args__ = (CheckConstraint("is_only", name="one_row"),)
