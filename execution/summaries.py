"""What is read of executions, steps, workers, actions: the frozen forms it leaves in.

Columns, not entities, where there may be many: a step has 33 columns, a list shows 16.
Knows no connection: `queries` asks.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by, distinct_on
from sqlalchemy.orm import aliased

from .built_in import RUN_PLAN_ACTION
from .catalogue import ActionSignature, ActionSummary
from .holds import Hold, HoldKind
from .models import Action, Execution, ExecutionMetric, ExecutionStep, PlanStep, Worker
from .models import Plan as PlanRow
from .results import (
    ErrorRecord,
    ExecutionSummary,
    RunningSteps,
    StepSummary,
    WorkerSummary,
)
from .states import ExecutionStatus, StepStatus
from .updates import LatestMetric

_MOST_NAMED_STEPS = 100
_MOST_METRICS = 100
_MOST_REPORTS = 1_000
"""Of so many reports the latest are looked for: a step may report for hours."""

_CHILD = aliased(Execution)
_PARENT = aliased(Execution)


def _read_child() -> sa.Case[Any]:
    """Return the id of a step's newest child; for others nothing is looked up."""
    newest = (
        sa.select(_CHILD.id)
        .where(
            _CHILD.parent_id == ExecutionStep.execution_id,
            _CHILD.parent_position == ExecutionStep.position,
        )
        .order_by(_CHILD.created_at.desc())
        .limit(1)
        .correlate(ExecutionStep)
        .scalar_subquery()
    )
    return sa.case((ExecutionStep.action == RUN_PLAN_ACTION, newest))


def _read_subplan() -> sa.Case[Any]:
    """Return the plan that a step names, whether or not it has begun one."""
    origin = sa.func.coalesce(ExecutionStep.item_of, ExecutionStep.position)
    named = (
        sa.select(PlanStep.subplan)
        .join(_PARENT, _PARENT.plan_id == PlanStep.plan_id)
        .where(_PARENT.id == ExecutionStep.execution_id, PlanStep.position == origin)
        .correlate(ExecutionStep)
        .scalar_subquery()
    )
    return sa.case((ExecutionStep.action == RUN_PLAN_ACTION, named))


STEP_COLUMNS = (
    ExecutionStep.position,
    ExecutionStep.name,
    ExecutionStep.action,
    ExecutionStep.queue,
    ExecutionStep.status,
    ExecutionStep.reason,
    ExecutionStep.attempt,
    ExecutionStep.failures,
    ExecutionStep.losses,
    ExecutionStep.progress,
    ExecutionStep.progress_message,
    ExecutionStep.worker_id,
    ExecutionStep.claimed_at,
    ExecutionStep.ended_at,
    ExecutionStep.error,
    ExecutionStep.wake_at,
    _read_child().label("child_id"),
    _read_subplan().label("subplan"),
    ExecutionStep.iterations,
    ExecutionStep.cached_from,
    ExecutionStep.waits_for,
)


def write_holds(schema: str, execution: str) -> str:
    """Return the SQL of what holds an execution: NULL, at no cost, without any hold."""
    return (
        f"CASE WHEN EXISTS (SELECT FROM {schema}.holds) THEN"  # noqa: S608  # names of our own
        f" (SELECT jsonb_agg(to_jsonb(h)) FROM {schema}.holds_of(ARRAY[{execution}.id])"
        " AS h) END AS execution_holds"
    )


def select_executions(schema: str) -> sa.Select[*tuple[Any, ...]]:
    """Return a query for executions, as `read_execution` reads them."""
    holds: sa.ColumnClause[Any] = sa.literal_column(write_holds(schema, "executions"))
    return sa.select(Execution, PlanRow.name, PlanRow.version, holds).join(PlanRow)


def select_running(execution_id: str) -> sa.Select[*tuple[Any, ...]]:
    """Return a query for what of an execution runs: one row, whatever there is."""
    step = ExecutionStep
    by_position = sa.func.array_agg(aggregate_order_by(step.name, step.position))
    told = sa.func.array_agg(
        aggregate_order_by(step.progress_message, step.position.desc())
    ).filter(step.progress_message.is_not(None), step.progress_message != "")
    return sa.select(
        sa.func.count().label("count"),
        sa.func.coalesce(sa.func.sum(step.progress), 0.0).label("progress_sum"),
        sa.type_coerce(by_position, sa.ARRAY(sa.Text))[1:_MOST_NAMED_STEPS].label(
            "names"
        ),
        sa.type_coerce(told, sa.ARRAY(sa.Text))[1].label("message"),
        sa.func.clock_timestamp().label("seen_at"),
    ).where(step.execution_id == execution_id, step.status == StepStatus.RUNNING)


def select_latest_metrics(execution_id: str) -> sa.Select[*tuple[Any, ...]]:
    """Return a query for the latest report of each step and name: one row, a list."""
    report = ExecutionMetric
    newest = (
        sa.select(report.id, report.position, report.name, report.value, report.at)
        .where(report.execution_id == execution_id)
        .order_by(report.id.desc())
        .limit(_MOST_REPORTS)
        .subquery("newest")
    )
    latest = (
        sa.select(newest)
        .ext(distinct_on(newest.c.position, newest.c.name))
        .order_by(newest.c.position, newest.c.name, newest.c.id.desc())
        .limit(_MOST_METRICS)
        .subquery("latest")
    )
    step = ExecutionStep
    fields = sa.func.jsonb_build_array(
        step.name, latest.c.name, latest.c.value, latest.c.at
    )
    in_order = aggregate_order_by(fields, latest.c.position, latest.c.name)
    return sa.select(sa.func.jsonb_agg(in_order).label("metrics")).join_from(
        latest,
        step,
        (step.execution_id == execution_id) & (step.position == latest.c.position),
    )


def read_execution(row: Any) -> ExecutionSummary:
    """Return an execution, from the columns of `select_executions`."""
    execution, plan, version, holds = row
    return ExecutionSummary(
        id=execution.id,
        plan=plan,
        version=version,
        status=ExecutionStatus(execution.status),
        reason=execution.reason,
        epoch=execution.epoch,
        last_seq=execution.next_seq - 1,
        open_steps=execution.open_steps,
        total_steps=execution.total_steps,
        tags=tuple(execution.tags),
        parameters=execution.parameters,
        variables=execution.variables,
        result=execution.result,
        error=ErrorRecord.from_json(execution.error) if execution.error else None,
        parent_id=execution.parent_id,
        created_at=execution.created_at,
        started_at=execution.started_at,
        ended_at=execution.ended_at,
        # stored behind the name of the plan, for which it holds
        concurrency_key=execution.concurrency_key
        and execution.concurrency_key.partition(":")[2],
        admitted_at=execution.admitted_at,
        starts_at=execution.starts_at,
        is_delayed=execution.is_delayed,
        schedule=execution.schedule,
        scheduled_at=execution.scheduled_at,
        holds=tuple(read_hold(hold) for hold in holds or ()),
    )


def read_hold(data: Mapping[str, Any]) -> Hold:
    """Return a hold, from its JSON."""
    return Hold(
        HoldKind(data["kind"]),
        data["name"],
        data["by"],
        data["reason"],
        datetime.fromisoformat(data["created_at"]),
    )


def read_execution_row(row: Mapping[str, Any]) -> ExecutionSummary:
    """Return an execution, from its columns with `plan_name` and `plan_version`."""
    return read_execution(
        (
            SimpleNamespace(**row),
            row["plan_name"],
            row["plan_version"],
            row["execution_holds"],
        )
    )


def read_step(row: Sequence[Any]) -> StepSummary:
    """Return a step, from its `STEP_COLUMNS`."""
    position, name, action, queue, status, reason, *others = row
    attempt, failures, losses, progress, message, *others = others
    worker_id, claimed_at, ended_at, error, wake_at, *others = others
    child_id, plan, iterations, cached_from, waits_for = others
    return StepSummary(
        position=position,
        name=name,
        action=action,
        queue=queue,
        status=StepStatus(status),
        reason=reason,
        attempt=attempt,
        failures=failures,
        losses=losses,
        progress=progress,
        progress_message=message,
        worker_id=worker_id,
        claimed_at=claimed_at,
        ended_at=ended_at,
        error=ErrorRecord.from_json(error) if error else None,
        wake_at=wake_at,
        plan=plan,
        child_id=child_id,
        iterations=iterations,
        cached_from=cached_from,
        waits_for=waits_for,
    )


def read_running(row: Sequence[Any]) -> RunningSteps:
    """Return what runs, from the columns of `select_running`."""
    count, progress_sum, names, message, seen_at = row
    return RunningSteps(count, progress_sum, tuple(names or ()), message, seen_at)


def read_latest_metrics(rows: Sequence[Any] | None) -> tuple[LatestMetric, ...]:
    """Return metrics, from what `select_latest_metrics` finds."""
    return tuple(
        LatestMetric(step, name, float(value), datetime.fromisoformat(at))
        for step, name, value, at in rows or ()
    )


def read_signature(data: Mapping[str, Any] | None) -> ActionSignature | None:
    """Return what is known of an action's inputs and result, if anything is."""
    return ActionSignature.from_json(data) if data else None


def read_action(row: Action, living: Sequence[Any]) -> ActionSummary:
    """Return an action; `living` are workers: hostname and names of their actions."""
    return ActionSummary(
        name=row.name,
        doc=row.doc,
        signature=read_signature(row.signature),
        timeout_seconds=row.timeout_seconds,
        published_by=row.published_by,
        published_at=row.published_at,
        uses=tuple(row.uses),
        workers=tuple(host for host, actions in living if row.name in actions),
    )


def read_worker(row: Worker, now: datetime) -> WorkerSummary:
    """Return a worker as it stands at `now`, by the database's clock."""
    rounds = row.rounds or {}
    beat_age_seconds = (now - row.beat_at).total_seconds()

    def read_age(name: str) -> float | None:
        age = rounds.get(name)
        return None if age is None else age + beat_age_seconds

    return WorkerSummary(
        id=row.id,
        hostname=row.hostname,
        pid=row.pid,
        pool=row.pool,
        slots=row.slots,
        in_hand=row.in_hand,
        queues=tuple(row.queues),
        started_at=row.started_at,
        beat_age_seconds=beat_age_seconds,
        round_age_seconds=read_age("age"),
        round_seconds=rounds.get("seconds"),
        deeds=rounds.get("totals", {}),
        last_deeds=rounds.get("last", {}),
        last_deeds_age_seconds=read_age("last_age"),
    )
