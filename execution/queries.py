"""Executions as they stand: looked up, listed, with their steps, events and history.

Reads only. Rows stay in here: what leaves is frozen.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from .catalogue import ActionSignature, ActionSummary
from .filters import ExecutionFilter, PageCursor
from .log_queries import LogQueries
from .models import (
    Action,
    Execution,
    ExecutionEvent,
    ExecutionState,
    ExecutionStep,
    Installation,
    Worker,
)
from .models import (
    Plan as PlanRow,
)
from .plan import Plan
from .results import (
    Event,
    ExecutionPage,
    ExecutionSummary,
    Headway,
    PlanVersion,
    RunningStep,
    RunningSteps,
    StateChange,
    StepSummary,
    WorkerSummary,
)
from .selection import build_conditions, build_continuation
from .standstills import StandstillQueries
from .states import ExecutionStatus, Section, StepStatus
from .summaries import (
    STEP_COLUMNS,
    read_action,
    read_execution,
    read_execution_row,
    read_latest_metrics,
    read_running,
    read_signature,
    read_step,
    read_worker,
    select_executions,
    select_latest_metrics,
    select_running,
    write_holds,
)
from .updates import Standing

_MOST_PAGE_SIZE = 500

_EXECUTION = f"""
SELECT e.*, p.name AS plan_name, p.version AS plan_version,
       {write_holds("{schema}", "e")}
  FROM {{schema}}.executions e JOIN {{schema}}.plans p ON p.id = e.plan_id
 WHERE e.id = %s
"""  # noqa: S608  # names of our own


class ExecutionQueries(LogQueries, StandstillQueries):
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

    def read_headway(self, ids: Collection[str]) -> Mapping[str, Headway]:
        """Return how far those of the executions have come that there are."""
        rows = self._database.query(
            "SELECT id::text, status, next_seq - 1 AS last_seq"
            " FROM {schema}.executions WHERE id = ANY (%s::uuid[])",
            (list(ids),),
        )
        return {
            row["id"]: Headway(ExecutionStatus(row["status"]), row["last_seq"])
            for row in rows
        }

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
        found = self.get_standing(execution_id)
        return None if found is None else (found.execution, found.running)

    def get_standing(self, execution_id: str) -> Standing | None:
        """Return an execution, what of it runs and its latest metrics; or None.

        All of one moment. It costs what runs, not what the execution consists of.
        """
        running = select_running(execution_id).lateral("running")
        metrics = select_latest_metrics(execution_id).lateral("metrics")
        with self._reading() as session:
            row = session.execute(
                select_executions(self._functions)
                .add_columns(*running.c, *metrics.c)
                .join(running, sa.true())
                .join(metrics, sa.true())
                .where(Execution.id == execution_id)
            ).one_or_none()
        if row is None:
            return None
        return Standing(
            read_execution(row[:4]),
            read_running(row[4:-1]),
            read_latest_metrics(row[-1]),
        )

    def list_executions(
        self,
        wanted: ExecutionFilter | None = None,
        *,
        after: str | None = None,
        page_size: int = 50,
    ) -> ExecutionPage:
        """Return one page of executions, newest first, that begins after a cursor.

        Raises CursorError when `after` is none, and ValueError when `page_size` is not
        in 1..500.
        """
        if not 1 <= page_size <= _MOST_PAGE_SIZE:
            raise ValueError(f"page_size counts from 1 to {_MOST_PAGE_SIZE}")
        conditions = build_conditions(wanted or ExecutionFilter())
        if after is not None:
            conditions += build_continuation(PageCursor.read(after))
        with self._reading() as session:
            rows = session.execute(
                select_executions(self._functions)
                .where(*conditions)
                .order_by(Execution.created_at.desc(), Execution.id.desc())
                # one more says whether there is a next page
                .limit(page_size + 1)
            ).all()
        items = tuple(read_execution(row) for row in rows[:page_size])
        has_next = len(rows) > page_size
        return ExecutionPage(items, _place(items[-1]) if has_next else None)

    def count_executions(self, wanted: ExecutionFilter | None = None) -> int:
        """Return how many executions a filter finds; it reads all of them."""
        conditions = build_conditions(wanted or ExecutionFilter())
        query = sa.select(sa.func.count()).select_from(Execution).join(PlanRow)
        with self._reading() as session:
            return session.scalar(query.where(*conditions)) or 0

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

    def list_running_steps(self, execution_id: str) -> tuple[RunningStep, ...]:
        """Return what runs of an execution, and of those within it."""
        family = (
            sa.select(Execution.id)
            .where(Execution.id == execution_id)
            .cte(recursive=True)
        )
        family = family.union_all(
            sa.select(Execution.id).join(family, Execution.parent_id == family.c.id)
        )
        is_told = (Execution.status == ExecutionStatus.ENDING) & (
            ExecutionStep.section == Section.STEPS
        )
        grace_seconds = sa.func.coalesce(Execution.grace_seconds, Worker.grace_seconds)
        cut_at = Execution.told_at + sa.func.make_interval(
            0, 0, 0, 0, 0, 0, grace_seconds
        )
        statement = (
            sa.select(
                ExecutionStep.execution_id,
                ExecutionStep.name,
                Worker.pool,
                sa.case((is_told, cut_at)),
            )
            .join(family, family.c.id == ExecutionStep.execution_id)
            .join(Execution, Execution.id == ExecutionStep.execution_id)
            .outerjoin(Worker, Worker.id == ExecutionStep.worker_id)
            .where(ExecutionStep.status == StepStatus.RUNNING)
            .order_by(ExecutionStep.execution_id, ExecutionStep.position)
        )
        with self._reading() as session:
            return tuple(RunningStep(*row) for row in session.execute(statement))

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
        wanted = {step.action for step in plan.steps if not step.is_built_in}
        return tuple(sorted(wanted - self.find_signatures(wanted).keys()))

    def find_queues(self, names: Collection[str]) -> dict[str, str]:
        """Return the queues of those actions that have one of their own."""
        rows = self._database.query(
            "SELECT name, queue FROM {schema}.actions"
            " WHERE name = ANY (%s) AND queue IS NOT NULL",
            (list(names),),
        )
        return {row["name"]: row["queue"] for row in rows}

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


def _place(last: ExecutionSummary) -> str:
    return str(PageCursor(last.created_at, last.id))
