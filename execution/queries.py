"""Executions as they stand: looked up, listed, with their steps, events and history.

Reads only. Rows stay in here: what leaves is frozen.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from execution.catalogue import ActionSignature, ActionSummary
from execution.models import (
    Action,
    Execution,
    ExecutionEvent,
    ExecutionState,
    ExecutionStep,
    Installation,
    Worker,
)
from execution.models import (
    Plan as PlanRow,
)
from execution.plan import Plan
from execution.results import (
    Event,
    ExecutionPage,
    ExecutionSummary,
    PlanVersion,
    RunningSteps,
    StateChange,
    StepSummary,
    WorkerSummary,
)
from execution.sessions import Sessions
from execution.states import ExecutionStatus
from execution.summaries import (
    STEP_COLUMNS,
    read_action,
    read_execution,
    read_execution_row,
    read_running,
    read_signature,
    read_step,
    read_worker,
    select_executions,
    select_running,
)

_MOST_PAGE_SIZE = 500

_EXECUTION = """
SELECT e.*, p.name AS plan_name, p.version AS plan_version
  FROM {schema}.executions e JOIN {schema}.plans p ON p.id = e.plan_id
 WHERE e.id = %s
"""


@dataclass(frozen=True)
class ExecutionFilter:
    """Which executions a list shows; None means all."""

    status: ExecutionStatus | None = None
    plan: str | None = None
    tag: str | None = None
    since: datetime | None = None
    parent_id: str | None = None


class ExecutionQueries(Sessions):
    """Reads of executions; `ExecutionRepository` adds the writes."""

    def get_installation_id(self) -> str:
        """Return the id under which this installation's events travel."""
        with self._reading() as session:
            return session.scalars(sa.select(Installation.id)).one()

    def read_clock(self) -> datetime:
        """Return the database's time."""
        now: datetime = self._call("plans_now")["plans_now"]
        return now

    def get_by_id(self, execution_id: str) -> ExecutionSummary | None:
        """Return an execution, or None when there is no such one."""
        # the most frequent question of all; through SQLAlchemy it costs four times this
        rows = self._database.query(_EXECUTION, (execution_id,))
        return read_execution_row(rows[0]) if rows else None

    def get_execution_status(self, execution_id: str) -> ExecutionStatus | None:
        """Return the state of an execution, or None when there is no such one."""
        rows = self._database.query(
            "SELECT status FROM {schema}.executions WHERE id = %s", (execution_id,)
        )
        return ExecutionStatus(rows[0]["status"]) if rows else None

    def has_begun(self, keys: Collection[str]) -> bool:
        """Say whether an execution stands under every one of these idempotency keys."""
        rows = self._database.query(
            "SELECT count(*) AS n FROM {schema}.submissions WHERE key = ANY (%s)",
            (list(keys),),
        )
        return bool(rows[0]["n"] == len(set(keys)))

    def get_with_running(
        self, execution_id: str
    ) -> tuple[ExecutionSummary, RunningSteps] | None:
        """Return an execution and what of it runs, both of one moment; or None.

        It costs what runs, not what the execution consists of.
        """
        running = select_running(execution_id).lateral("running")
        with self._reading() as session:
            row = session.execute(
                select_executions()
                .add_columns(*running.c)
                .join(running, sa.true())
                .where(Execution.id == execution_id)
            ).one_or_none()
        if row is None:
            return None
        return read_execution(row[:3]), read_running(row[3:])

    def list_executions(
        self,
        wanted: ExecutionFilter | None = None,
        *,
        page: int = 1,
        page_size: int = 50,
    ) -> ExecutionPage:
        """Return one page of executions, newest first, and the total.

        Raises ValueError when `page` is below 1 or `page_size` not in 1..500.
        """
        if page < 1 or not 1 <= page_size <= _MOST_PAGE_SIZE:
            raise ValueError(
                f"page counts from 1, page_size from 1 to {_MOST_PAGE_SIZE}"
            )
        conditions = _build_conditions(wanted or ExecutionFilter())
        with self._reading() as session:
            rows = session.execute(
                select_executions()
                .where(*conditions)
                .order_by(Execution.created_at.desc(), Execution.id.desc())
                .limit(page_size)
                .offset((page - 1) * page_size)
            ).all()
            total = session.scalar(
                sa.select(sa.func.count())
                .select_from(Execution)
                .join(PlanRow)
                .where(*conditions)
            )
        return ExecutionPage(
            tuple(read_execution(row) for row in rows), total or 0, page, page_size
        )

    def list_steps(self, execution_id: str) -> tuple[StepSummary, ...]:
        """Return the steps of an execution in their order."""
        statement = (
            # columns, and not all: results are wide, and 10,000 entities slow to build
            sa.select(*STEP_COLUMNS)
            .where(ExecutionStep.execution_id == execution_id)
            .order_by(ExecutionStep.position)
        )
        with self._reading() as session:
            return tuple(read_step(tuple(row)) for row in session.execute(statement))

    def list_events(
        self, execution_id: str, *, after: int = 0, limit: int = 1000
    ) -> tuple[Event, ...]:
        """Return up to `limit` events of an execution with a number above `after`."""
        step = aliased(ExecutionStep)
        query = (
            sa.select(ExecutionEvent, step.name)
            .outerjoin(
                step,
                (step.execution_id == ExecutionEvent.execution_id)
                & (step.position == ExecutionEvent.position),
            )
            .where(
                ExecutionEvent.execution_id == execution_id, ExecutionEvent.seq > after
            )
            .order_by(ExecutionEvent.seq)
            .limit(limit)
        )
        with self._reading() as session:
            return tuple(
                Event(row.execution_id, row.seq, row.type, name, row.data, row.at)
                for row, name in session.execute(query)
            )

    def get_state_history(self, execution_id: str) -> tuple[StateChange, ...]:
        """Return every change of an execution's state, in order."""
        with self._reading() as session:
            rows = session.scalars(
                sa.select(ExecutionState)
                .where(ExecutionState.execution_id == execution_id)
                .order_by(ExecutionState.seq)
            )
            return tuple(
                StateChange(
                    ExecutionStatus(row.from_status) if row.from_status else None,
                    ExecutionStatus(row.to_status),
                    row.by,
                    row.reason,
                    row.at,
                )
                for row in rows
            )

    def list_unserved_actions(self, plan: Plan) -> tuple[str, ...]:
        """Return the actions of `plan` that no worker has ever published, sorted."""
        wanted = {step.action for step in plan.steps if step.subplan is None}
        return tuple(sorted(wanted - self.find_signatures(wanted).keys()))

    def find_signatures(
        self, names: Collection[str]
    ) -> dict[str, ActionSignature | None]:
        """Return the signatures, if they are known, of those actions that there are."""
        rows = self._database.query(
            "SELECT name, signature FROM {schema}.actions WHERE name = ANY (%s)",
            (list(names),),
        )
        return {row["name"]: read_signature(row["signature"]) for row in rows}

    def find_subplans(self, names: Collection[str]) -> dict[str, Mapping[str, Any]]:
        """Return the parameters that those plans declare that are published.

        `names` are NAME or NAME@VERSION.
        """
        found = ((name, self._call("find_subplan", name)) for name in names)
        return {name: row["declarations"] for name, row in found if row["plan_id"]}

    def list_plan_names(self) -> tuple[str, ...]:
        """Return what a step can name: NAME and NAME@VERSION of what is published."""
        rows = self._database.query(
            "SELECT DISTINCT name, version FROM {schema}.plans"
            " WHERE published_at IS NOT NULL",
            (),
        )
        names = {row["name"] for row in rows}
        versions = {f"{row['name']}@{row['version']}" for row in rows if row["version"]}
        return tuple(sorted(names | versions))

    def list_timed_actions(self, names: Collection[str]) -> tuple[str, ...]:
        """Return those of the named actions that have a timeout of their own."""
        rows = self._database.query(
            "SELECT name FROM {schema}.actions"
            " WHERE name = ANY (%s) AND timeout_seconds IS NOT NULL",
            (list(names),),
        )
        return tuple(row["name"] for row in rows)

    def list_action_names(self) -> tuple[str, ...]:
        """Return the names of all actions in the catalogue."""
        rows = self._database.query("SELECT name FROM {schema}.actions ORDER BY name")
        return tuple(row["name"] for row in rows)

    def list_actions(self) -> tuple[ActionSummary, ...]:
        """Return the catalogue, by name, with the workers that have each action."""
        with self._reading() as session:
            actions = session.scalars(sa.select(Action).order_by(Action.name)).all()
            living = session.execute(
                sa.select(Worker.hostname, Worker.actions)
                .where(Worker.ended_at.is_(None))
                .order_by(Worker.hostname)
            ).all()
            return tuple(read_action(action, living) for action in actions)

    def get_published_plan(
        self, name: str, version: str | None = None
    ) -> Mapping[str, Any] | None:
        """Return the document of a published plan; None without one.

        Without a version it is the one that `name` stands for.
        """
        query = _select_published(name, PlanRow.definition).limit(1)
        if version is not None:
            query = query.where(PlanRow.version == version)
        with self._reading() as session:
            return session.scalars(query).one_or_none()

    def list_versions(self, name: str) -> tuple[PlanVersion, ...]:
        """Return what was published under `name`; the first is the current one."""
        query = _select_published(
            name, PlanRow.version, PlanRow.digest, PlanRow.published_at
        )
        with self._reading() as session:
            return tuple(
                PlanVersion(name, version, digest, published_at, index == 0)
                for index, (version, digest, published_at) in enumerate(
                    session.execute(query)
                )
            )

    def get_plan_of(self, execution_id: str) -> Mapping[str, Any] | None:
        """Return the document that an execution runs; None if there is no such one."""
        with self._reading() as session:
            return session.scalars(
                sa.select(PlanRow.definition)
                .join(Execution)
                .where(Execution.id == execution_id)
            ).one_or_none()

    def list_workers(self) -> tuple[WorkerSummary, ...]:
        """Return the workers that were not declared dead and have not left."""
        with self._reading() as session:
            rows = session.scalars(
                sa.select(Worker)
                .where(Worker.ended_at.is_(None))
                .order_by(Worker.hostname, Worker.started_at)
            )
            now = session.scalar(sa.func.clock_timestamp().select())
            return tuple(read_worker(row, now) for row in rows)


def _select_published(
    name: str, *columns: sa.orm.InstrumentedAttribute[Any]
) -> sa.Select[Any]:
    """Return a query for the plans that were published under a name, last one first."""
    return (
        sa.select(*columns)
        .where(PlanRow.name == name, PlanRow.published_at.is_not(None))
        .order_by(PlanRow.published_at.desc(), PlanRow.id.desc())
    )


def _build_conditions(wanted: ExecutionFilter) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if wanted.status is not None:
        conditions.append(Execution.status == wanted.status)
    if wanted.plan is not None:
        conditions.append(PlanRow.name == wanted.plan)
    if wanted.tag is not None:
        conditions.append(sa.literal(wanted.tag) == sa.any_(Execution.tags))
    if wanted.since is not None:
        conditions.append(Execution.created_at >= wanted.since)
    if wanted.parent_id is not None:
        conditions.append(Execution.parent_id == wanted.parent_id)
    return conditions
