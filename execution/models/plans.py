"""What can be run: plans, their steps, and the actions that workers offer."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    text,
)
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.orm import Mapped, mapped_column, relationship

from .tables import (
    Base,
    uuid_column,
)


class Plan(Base):
    """A plan document, stored once for all executions of it."""

    __tablename__ = "plans"

    id: Mapped[str] = uuid_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    version: Mapped[str | None]
    digest: Mapped[str] = mapped_column(unique=True)
    definition: Mapped[dict[str, Any]]
    deadline_seconds: Mapped[float | None]
    result: Mapped[dict[str, Any] | None]
    result_reads: Mapped[list[int]]
    rollback: Mapped[list[str]] = mapped_column(server_default="{}")
    cancels_running: Mapped[bool] = mapped_column(server_default="false")
    end_steps: Mapped[list[int]] = mapped_column(server_default="{}")
    concurrency_key: Mapped[dict[str, Any] | None]
    concurrency_limit: Mapped[int | None]
    on_conflict: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(
        server_default=text("clock_timestamp()")
    )
    published_at: Mapped[datetime | None]
    default_queue: Mapped[str | None]

    __table_args__ = (
        # a submit by SQL must know where the steps go that name no queue
        CheckConstraint(
            "(published_at IS NULL) = (default_queue IS NULL)",
            name="published_has_queue",
        ),
        # a key without a limit would hold executions for ever
        CheckConstraint(
            "num_nulls(concurrency_key, concurrency_limit, on_conflict) IN (0, 3)",
            name="concurrency_whole",
        ),
        CheckConstraint(
            "on_conflict IN ('cancel_older', 'queue', 'reject')",
            name="on_conflict_known",
        ),
        # a version is a promise; what is only submitted may repeat one
        Index(
            "uq_plans_published_version",
            "name",
            "version",
            unique=True,
            postgresql_where=text("published_at IS NOT NULL"),
        ),
    )

    steps: Mapped[list["PlanStep"]] = relationship(order_by="PlanStep.position")


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
    deadline_seconds: Mapped[float | None]
    max_attempts: Mapped[int]
    max_lost: Mapped[int]
    retry: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    retries_timeouts: Mapped[bool] = mapped_column(server_default="true")
    condition: Mapped[str | None]
    inputs: Mapped[dict[str, Any]]
    section: Mapped[str] = mapped_column(server_default="steps")
    run_on: Mapped[str | None]
    undoes: Mapped[int | None]
    for_each: Mapped[str | None]
    item_reads: Mapped[list[int] | None]
    max_parallel: Mapped[int | None]
    tolerate: Mapped[int | None]
    tolerate_percent: Mapped[float | None]
    fallback: Mapped[int | None]
    stands_in_for: Mapped[int | None]
    subplan: Mapped[str | None]
    repeat: Mapped[dict[str, Any] | None]
    restore: Mapped[int | None]
    restore_times: Mapped[int | None]
    cache: Mapped[dict[str, Any] | None]
    uses: Mapped[list[str]] = mapped_column(server_default="{}")
    awaits: Mapped[str | None]
    payload: Mapped[dict[str, Any] | None]

    __table_args__ = (
        # a plan names each step once; so do its executions, which copy the names
        Index("uq_plan_steps_name", "plan_id", "name", unique=True),
        # another word would be a section that never comes
        CheckConstraint(
            "section IN ('end', 'rollback', 'steps')", name="section_known"
        ),
        CheckConstraint(
            "(section = 'end') = (run_on IS NOT NULL)", name="end_has_run_on"
        ),
        CheckConstraint(
            "(section = 'rollback') = (undoes IS NOT NULL)", name="rollback_undoes"
        ),
    )


class Action(Base):
    """An action that some worker can run, as it was published last.

    Written only by a worker that knows it otherwise than it stands here.
    """

    __tablename__ = "actions"

    name: Mapped[str] = mapped_column(primary_key=True)
    doc: Mapped[str | None]
    signature: Mapped[dict[str, Any] | None]
    timeout_seconds: Mapped[float | None]
    published_by: Mapped[str | None]
    published_at: Mapped[datetime]
    queue: Mapped[str | None]
    uses: Mapped[list[str]] = mapped_column(server_default="{}")
