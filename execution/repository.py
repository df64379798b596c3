"""Executions as their owners change them: submit, move, finish, delete.

Every write is a compare-and-set that says whether it landed; the moves are the
functions in `sql/`. The reads that users look for here too come from `queries`.

For producers and tools. Workers write through `records` and `liveness`, and never
import this.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from .batch_repository import BatchRepository
from .errors import (
    ConcurrencyConflictError,
    ExpressionError,
    PlanVersionConflictError,
    SubmissionConflictError,
)
from .hold_records import HoldRecords
from .identity import draw_execution_id
from .payloads import PayloadStore
from .plan import Plan
from .pool import MOST_CONNECTIONS
from .receipts import (
    Move,
    Submitted,
    SubmittedChunk,
    read_move,
    read_submitted,
)
from .results import ErrorRecord
from .settings import Settings
from .states import (
    ExecutionStatus,
    Section,
)
from .stored_steps import describe_concurrency, describe_step
from .transactions import Transaction
from .windows import Link, Window, open_window

_MOST_NAMED_HOLDERS = 5


class ExecutionRepository(HoldRecords, BatchRepository):
    """Executions in PostgreSQL: what others read of them, and the writes."""

    def __init__(
        self,
        url: str,
        schema: str,
        payloads: PayloadStore | None = None,
        *,
        most_connections: int = MOST_CONNECTIONS,
    ) -> None:
        """Connect to `url` when needed; rows lie in `schema`, others in `payloads`."""
        super().__init__(url, schema, most_connections=most_connections)
        self._payloads = payloads or PayloadStore.from_settings(Settings(schema=schema))
        self._plan_ids: dict[str, str] = {}

    def submit(
        self,
        plan: Plan,
        parameters: Mapping[str, Any],
        *,
        queue: str,
        execution_id: str | None = None,
        key: str | None = None,
        tags: Sequence[str] = (),
        priority: int = 0,
        at: datetime | None = None,
        transaction: Transaction | None = None,
    ) -> Submitted:
        """Store an execution of `plan` with bound `parameters`, to begin `at` a moment.

        `key` is the idempotency key: the same one (or id) with the same body answers
        what it began before. In a caller's `transaction` it is there once that commits;
        reconcilers send. Raises SubmissionConflictError for a key with another body,
        ConcurrencyConflictError when the plan rejects it, ExpressionError without key.
        """
        execution_id = execution_id or draw_execution_id()
        arguments = (
            json.dumps(parameters, ensure_ascii=False),
            key,
            priority,
            list(tags),
            queue,
            transaction is None,
            at,
        )

        def ask(plan_id: str) -> Mapping[str, Any]:
            given = ("submit_execution", execution_id, plan_id, *arguments)
            if transaction is None:
                return self._call(*given)
            return self._call_within(transaction, *given)

        row = self._ask_of_plan(plan, ask)
        _refuse_rejected(row, plan, key)
        return read_submitted(row, _open_windows(row, plan, queue, priority))

    def submit_chunk(
        self,
        plan: Plan,
        parameters: Sequence[Mapping[str, Any]],
        *,
        execution_ids: Sequence[str],
        keys: Sequence[str] | None,
        queue: str,
        tags: Sequence[str] = (),
        priority: int = 0,
        at: datetime | None = None,
    ) -> SubmittedChunk:
        """Store an execution of `plan` for each of `parameters`, all or none.

        `parameters` are bound; `execution_ids`, and `keys` if any, go with them. A key
        that began an execution with the same body answers that. Raises
        SubmissionConflictError, naming the key, for one with another body.
        """
        arguments = (
            json.dumps(parameters, ensure_ascii=False),
            None if keys is None else list(keys),
            priority,
            list(tags),
            queue,
            at,
        )
        row = self._ask_of_plan(
            plan,
            lambda plan_id: self._call(
                "submit_executions", list(execution_ids), plan_id, *arguments
            ),
        )
        _refuse_used(row, keys)
        runs = _open_windows(row, plan, queue, priority)
        new = [i for i, d in zip(row["ids"], execution_ids, strict=True) if i == d]
        return SubmittedChunk(
            tuple(row["ids"]),
            tuple(Window(i, 1, run) for i in new for run in runs),
            tuple(row["held_keys"] or ()),
        )

    def publish_plan(self, plan: Plan, *, queue: str) -> datetime:
        """Make `plan` the one that its name stands for; return when.

        `queue` serves the steps that have none, where it is submitted by SQL. Raises
        PlanVersionConflictError when this version is published with another body.
        """
        # seldom enough to be stored anew: a restored backup may lack it
        self._plan_ids.pop(plan.digest, None)
        row = self._call("publish_plan", self._register_plan(plan), queue)
        if row["taken_by"] is not None:
            raise PlanVersionConflictError(
                f"version {plan.version} of plan {plan.name} is published with another"
                f" body, of digest {row['taken_by'][:12]}, and this one has"
                f" {plan.digest[:12]}; give what changed a version of its own"
            )
        published_at: datetime = row["moment"]
        return published_at

    def _ask_of_plan(
        self, plan: Plan, ask: Callable[[str], Mapping[str, Any]]
    ) -> Mapping[str, Any]:
        """Ask something of a stored plan; once more if a restored backup lacks it."""
        # before the caller's transaction holds anything: in one that stays open, a new
        # plan would make everybody else's submits of it wait
        row = ask(self._register_plan(plan))
        if row["outcome"] != "unplanned":
            return row
        del self._plan_ids[plan.digest]
        return ask(self._register_plan(plan))

    def _register_plan(self, plan: Plan) -> str:
        known = self._plan_ids.get(plan.digest)
        if known is None:
            row = self._call(
                "register_plan",
                draw_execution_id(),
                plan.name,
                plan.version,
                plan.digest,
                json.dumps(plan.definition, ensure_ascii=False),
                plan.deadline_seconds,
                None if plan.result is None else json.dumps(plan.result),
                list(plan.result_reads),
                [reason.value for reason in plan.rollback],
                plan.cancels_running,
                [s.position for s in plan.steps if s.section is Section.END],
                *describe_concurrency(plan),
                json.dumps([describe_step(step) for step in plan.steps]),
            )
            known = self._plan_ids[plan.digest] = str(row["register_plan"])
        return known

    def update_state(
        self,
        execution_id: str,
        target: ExecutionStatus,
        *,
        by: str | None = None,
        reason: str | None = None,
        result: Any = None,
        error: ErrorRecord | None = None,
        grace_seconds: float | None = None,
    ) -> Move:
        """Move an execution to `target` if its present state allows that.

        `paused`, `running` (from paused) and `ending` (a cancel, after which what runs
        has `grace_seconds`) are what people ask for; a terminal `target` lands only
        when nothing of the execution runs any more. Raises ValueError for `pending`,
        which is where executions begin.
        """
        match target:
            case ExecutionStatus.PAUSED:
                row = self._call("pause_execution", execution_id, by, reason)
            case ExecutionStatus.RUNNING:
                row = self._call("resume_execution", execution_id, by, reason)
            case ExecutionStatus.ENDING:
                row = self._call(
                    "cancel_execution", execution_id, by, reason, grace_seconds
                )
            case (
                ExecutionStatus.COMPLETED
                | ExecutionStatus.FAILED
                | ExecutionStatus.CANCELLED
                | ExecutionStatus.TIMED_OUT
            ):
                return self.update_result(
                    execution_id, target, result=result, error=error
                )
            case ExecutionStatus.PENDING:
                raise ValueError("executions begin as pending; none goes back to it")
        return read_move(execution_id, row)

    def update_result(
        self,
        execution_id: str,
        status: ExecutionStatus,
        *,
        result: Any = None,
        error: ErrorRecord | None = None,
    ) -> Move:
        """Give an ending execution its result and its terminal state, once.

        With a login that may do what workers do.
        """
        row = self._call(
            "finish_execution",
            execution_id,
            status.value,
            None if result is None else json.dumps(result),
            json.dumps(error.to_json()) if error else None,
        )
        return read_move(execution_id, row)

    def update_progress(
        self,
        execution_id: str,
        position: int,
        token: str,
        percent: float,
        *,
        message: str | None = None,
        chunks: int | None = None,
        records: int | None = None,
    ) -> bool:
        """Store the progress of a running step; False when `token` is not its lease."""
        row = self._call(
            "report_progress",
            execution_id,
            position,
            token,
            percent,
            message,
            chunks,
            records,
        )
        return bool(row["landed"])

    def create_state_history(
        self,
        execution_id: str,
        *,
        by: str | None,
        reason: str,
    ) -> bool:
        """Add a remark to the history of states without changing the state.

        Says whether there is such an execution. Changes of state write theirs by
        themselves, in their own transaction.
        """
        return bool(self._call("remark_execution", execution_id, by, reason)["landed"])

    def delete_execution(self, execution_id: str) -> bool:
        """Delete an ended execution and all that belongs to it; False if it runs.

        What is within another goes with that, and must have ended as well. Its large
        values go last; where they stay, the log says so, and the same call again
        removes them.
        """
        deleted = self._call("delete_execution", execution_id)["delete_execution"]
        if not deleted and self.get_execution_status(execution_id) is None:
            self._payloads.discard(execution_id)
        for one in deleted:
            self._payloads.discard(one)
        return bool(deleted)


def _open_windows(
    row: Mapping[str, Any], plan: Plan, queue: str, priority: int
) -> list[tuple[Link, ...]]:
    queues = row["queues"] or {}
    return [
        open_window(plan.steps, root, queue=queue, queues=queues, priority=priority)
        for root in row["sent"]
    ]


def _refuse_unkeyed(row: Mapping[str, Any]) -> None:
    if row["outcome"] == "faulty":
        at = "" if row.get("refused") is None else f"parameters[{row['refused']}]: "
        raise ExpressionError(f"{at}{row['detail']}")


def _refuse_rejected(row: Mapping[str, Any], plan: Plan, key: str | None) -> None:
    _refuse_unkeyed(row)
    if row["outcome"] == "refused":
        raise _rejected(plan, row["holders"])
    if row["outcome"] == "conflict":
        used = f"the idempotency key {key!r}" if key else "the id"
        raise _conflict(used, str(row["execution_id"]))


def _refuse_used(row: Mapping[str, Any], keys: Sequence[str] | None) -> None:
    _refuse_unkeyed(row)
    if row["outcome"] == "conflict":
        assert keys is not None  # noqa: S101  # what else would conflict
        used = f"the idempotency key {keys[row['refused']]!r}"
        raise _conflict(used, row["owner"])


def _rejected(plan: Plan, ids: Sequence[str]) -> ConcurrencyConflictError:
    return ConcurrencyConflictError(
        f"plan {plan.name} has `on_conflict: reject`, and its key belongs to execution"
        f" {', '.join(ids[:_MOST_NAMED_HOLDERS])}; wait until that has ended, or cancel"
        " it",
        tuple(ids),
    )


def _conflict(used: str, execution_id: str) -> SubmissionConflictError:
    return SubmissionConflictError(
        f"{used} belongs to execution {execution_id}, which has another plan,"
        " parameters, tags, priority or moment"
    )
