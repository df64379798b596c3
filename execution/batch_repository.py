"""Batches as their owners begin, move and read them.

What is chosen is chosen once, by one statement, in the transaction that stores the
batch; what matches its filter later is not touched. For producers and tools: workers
use `batch_records`.
"""

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from .batches import (
    OPERATOR_ACTS,
    Batch,
    BatchAct,
    BatchCost,
    BatchItemPage,
    BatchOrder,
    BatchPage,
    BatchPreview,
    BatchStatus,
    ItemStatus,
    StepCost,
    list_open_to,
    read_batch,
    read_item,
)
from .filters import ExecutionFilter, PageCursor
from .models import BatchItem, Execution, ExecutionStep
from .models import Plan as PlanRow
from .selection import build_conditions
from .sessions import Sessions
from .states import ExecutionStatus, StepStatus

_MOST_NAMED = 20
_MOST_PREVIEWED = 500
"""Of so many what would run again is looked up, one by one."""
_SETTLED_STEPS = (StepStatus.RUNNING, StepStatus.COMPLETED, StepStatus.SKIPPED)

_BATCHES = """
SELECT id::text, act, status, total, filter, arguments, by, reason, rate_per_second,
       most_failures, created_at, ended_at, history,
       coalesce(counts, {schema}.count_items(id)) AS counts
  FROM {schema}.batches
"""
_ITEMS = """
SELECT "position", execution_id::text, status, detail, at
  FROM {schema}.batch_items
 WHERE batch_id = %s AND "position" >= %s AND status = coalesce(%s, status)
 ORDER BY "position" LIMIT %s
"""


class BatchRepository(Sessions):
    """Batches in PostgreSQL."""

    def preview_act(
        self, act: BatchAct, step: str | None, wanted: ExecutionFilter
    ) -> BatchPreview:
        """Count whom an act would find, by their states, and name the first of them."""
        conditions = build_conditions(wanted)
        can_be = _can_be(act, step)
        counting = (
            sa.select(Execution.status, can_be, sa.func.count())
            .join(PlanRow)
            .where(*conditions)
            .group_by(Execution.status, can_be)
        )
        naming = (
            sa.select(Execution.id)
            .join(PlanRow)
            .where(*conditions, can_be)
            .order_by(Execution.created_at, Execution.id)
        )
        looked_at = self._call("plans_now")["plans_now"]
        with self._reading() as session:
            counts = session.execute(counting).all()
            named = tuple(session.scalars(naming.limit(_MOST_PREVIEWED)))
        return BatchPreview(
            act,
            {ExecutionStatus(status): n for status, can, n in counts if can},
            {ExecutionStatus(status): n for status, can, n in counts if not can},
            named[:_MOST_NAMED],
            self._preview_cost(act, step, named) if act in OPERATOR_ACTS else None,
            looked_at,
        )

    def _preview_cost(
        self, act: BatchAct, step: str | None, execution_ids: Sequence[str]
    ) -> BatchCost:
        (row,) = self._database.query(
            "SELECT * FROM {schema}.preview_acts(%s::uuid[], %s, %s)",
            (list(execution_ids), act.value, step),
        )
        steps = tuple(StepCost(*each) for each in row["steps"])
        return BatchCost(len(execution_ids), row["refused"], steps)

    def create_batch(
        self, batch_id: str, order: BatchOrder, wanted: ExecutionFilter
    ) -> None:
        """Choose who is acted on, and let reconcilers begin.

        The same id again, after an unknown commit, changes nothing.
        """
        limits = order.limits
        conditions = [*build_conditions(wanted), _can_be(order.act, order.step)]
        chosen = _number_items(batch_id).join(PlanRow).where(*conditions)
        columns = [BatchItem.batch_id, BatchItem.position, BatchItem.execution_id]
        with self._writing() as session:
            begun = self._call_within(
                session,
                "begin_batch",
                batch_id,
                order.act.value,
                json.dumps(order.arguments),
                json.dumps(order.filter),
                order.by,
                order.reason,
                limits.rate_per_second,
            )
            if not begun["is_new"]:
                return
            stored: Any = session.execute(
                sa.insert(BatchItem).from_select(columns, chosen)
            )
            self._call_within(
                session,
                "open_batch",
                batch_id,
                stored.rowcount,
                limits.most_failures,
                limits.failure_share,
            )

    def move_batch(
        self, batch_id: str, status: BatchStatus, *, by: str | None, reason: str | None
    ) -> tuple[bool, BatchStatus | None]:
        """Bring a batch to `paused`, `running` or `cancelled`, if that may be.

        Returns whether it landed, and where the batch stands; None: there is none.
        """
        row = self._call("move_batch", batch_id, status.value, by, reason)
        return row["landed"], row["status"] and BatchStatus(row["status"])

    def get_batch(self, batch_id: str) -> Batch | None:
        """Return a batch, or None when there is no such one."""
        rows = self._database.query(f"{_BATCHES} WHERE id = %s", (batch_id,))
        return read_batch(rows[0]) if rows else None

    def list_batches(self, *, after: str | None, page_size: int) -> BatchPage:
        """Return one page of all batches, newest first."""
        place = None if after is None else PageCursor.read(after)
        rows = self._database.query(
            f"{_BATCHES} WHERE (%s::timestamptz IS NULL OR created_at <= %s)"
            "   AND (%s::timestamptz IS NULL OR (created_at, id) < (%s, %s::uuid))"
            " ORDER BY created_at DESC, id DESC LIMIT %s",
            (
                *([place and place.created_at] * 4),
                place and place.execution_id,
                page_size + 1,
            ),
        )
        items = tuple(map(read_batch, rows[:page_size]))
        return BatchPage(items, _place(items[-1]) if len(rows) > page_size else None)

    def list_batch_items(
        self, batch_id: str, *, status: ItemStatus | None, start: int, page_size: int
    ) -> BatchItemPage:
        """Return one page of a batch's items in their order, from position `start`."""
        rows = self._database.query(_ITEMS, (batch_id, start, status, page_size + 1))
        items = tuple(map(read_item, rows[:page_size]))
        has_next = len(rows) > page_size
        return BatchItemPage(items, rows[-1]["position"] if has_next else None)


def _can_be(act: BatchAct, step: str | None) -> sa.ColumnElement[bool]:
    """Return what applies to executions that stand so that an act can be done."""
    conditions: list[sa.ColumnElement[bool]] = [Execution.status.in_(list_open_to(act))]
    if act in OPERATOR_ACTS:
        # one within another goes on with that alone
        conditions.append(Execution.parent_id.is_(None) | Execution.ended_at.is_(None))
    if step is not None:
        has_it = sa.select(ExecutionStep.execution_id).where(
            ExecutionStep.execution_id == Execution.id,
            ExecutionStep.name == step,
            ExecutionStep.status.not_in(_SETTLED_STEPS),
        )
        conditions.append(has_it.correlate(Execution).exists())
    return sa.and_(*conditions)


def _place(last: Batch) -> str:
    return str(PageCursor(last.created_at, last.id))


def _number_items(batch_id: str) -> sa.Select[Any]:
    row_number = sa.func.row_number().over(
        order_by=(Execution.created_at, Execution.id)
    )
    return sa.select(
        sa.cast(sa.literal(batch_id), Execution.id.type), row_number - 1, Execution.id
    )
