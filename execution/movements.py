"""Which executions have moved: read for those who watch all of them.

Costs what is open and what has ended since, not what there is. Reads only.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from .cursors import Mark, count_ticks
from .filters import ExecutionFilter
from .gathering import Moment, Moved
from .models import Execution, ExecutionState
from .models import Plan as PlanRow
from .queries import ExecutionQueries
from .selection import build_conditions
from .states import TERMINAL_EXECUTION_STATUSES, ExecutionStatus

_OPEN = sorted(set(ExecutionStatus) - TERMINAL_EXECUTION_STATUSES)

# the time is taken when the statement arrives, which is before its snapshot is
_MOMENT = """
SELECT statement_timestamp() AS now,
       pg_snapshot_xmin(pg_current_snapshot())::text AS oldest,
       pg_snapshot_xmax(pg_current_snapshot())::text AS next_one,
       concat_ws(' ', pg_postmaster_start_time(), pg_relation_filenode(tableoid))
           AS incarnation
  FROM {schema}.installation
"""


class MovementQueries(ExecutionQueries):
    """Reads of what moves, whichever execution it is."""

    def read_moment(self) -> Moment:
        """Return where the database is in time, and in transactions."""
        row = self._database.query(_MOMENT)[0]
        return Moment(
            row["now"], int(row["oldest"]), int(row["next_one"]), row["incarnation"]
        )

    def list_moving(
        self, wanted: ExecutionFilter, place: tuple[int, str], *, limit: int | None
    ) -> tuple[tuple[Moved, ...], tuple[Moved, ...]]:
        """Return those that ended after `place`, in that order, and all that are open.

        Both of one moment; of the ends the first `limit`.
        """
        ended, last_id = place
        key = sa.tuple_(Execution.ended_at, Execution.id)
        ends = (
            _select_moved(wanted)
            .where(
                Execution.ended_at.is_not(None),
                key
                > sa.tuple_(_from_ticks(ended), sa.cast(last_id, Execution.id.type)),
            )
            .order_by(Execution.ended_at, Execution.id)
            .limit(limit)
        )
        those_open = _select_moved(wanted).where(Execution.status.in_(_OPEN))
        both = sa.union_all(ends.subquery().select(), those_open)
        rows = self._list_moved(both)
        in_order = sorted(
            (row for row in rows if row.ended_at is not None),
            key=lambda row: row.place or (0, ""),
        )
        return tuple(in_order), tuple(row for row in rows if row.ended_at is None)

    def list_named(
        self, wanted: ExecutionFilter, execution_ids: Collection[str]
    ) -> tuple[Moved, ...]:
        """Return those of the named executions that there are."""
        if not execution_ids:
            return ()
        named = Execution.id.in_(sorted(execution_ids))
        return tuple(self._list_moved(_select_moved(wanted).where(named)))

    def find_last_ends(
        self, execution_ids: Collection[str], before: int
    ) -> Mapping[str, Mark]:
        """Return with which event each ended last, if it did before `before`."""
        if not execution_ids:
            return {}
        state = ExecutionState
        query = (
            sa.select(state.execution_id, sa.func.max(state.seq))
            .where(
                state.execution_id.in_(sorted(execution_ids)),
                state.to_status.in_(sorted(TERMINAL_EXECUTION_STATUSES)),
                state.at < _from_ticks(before),
            )
            .group_by(state.execution_id)
        )
        with self._reading() as session:
            return {e: Mark(seq) for e, seq in session.execute(query)}

    def find_marks(self, numbers: Mapping[str, int]) -> Mapping[str, Mark]:
        """Return the marks of those events, by executions, that there are."""
        if not numbers:
            return {}
        rows = self._database.query(
            "SELECT execution_id::text AS id, seq, at FROM {schema}.execution_events"
            "  JOIN unnest(%s::uuid[], %s::bigint[]) AS n(id, number)"
            "       ON execution_id = n.id AND seq = n.number",
            (list(numbers), list(numbers.values())),
        )
        return {row["id"]: Mark(row["seq"], count_ticks(row["at"])) for row in rows}

    def _list_moved(self, query: sa.Executable) -> list[Moved]:
        with self._reading() as session:
            return [Moved(*row) for row in session.execute(query)]


def _select_moved(wanted: ExecutionFilter) -> sa.Select[*tuple[Any, ...]]:
    # what may apply to an execution now and not later is said of each, for it keeps its
    # place meanwhile
    passing = build_conditions(
        ExecutionFilter(status=wanted.status, where=wanted.where)
    )
    is_wanted = sa.func.coalesce(sa.and_(sa.true(), *passing), False)
    return (
        sa.select(
            Execution.id,
            (Execution.next_seq - 1).label("last_seq"),
            Execution.ended_at,
            is_wanted.label("is_wanted"),
        )
        .join(PlanRow)
        .where(*build_conditions(replace(wanted, status=None, where=None)))
    )


def _from_ticks(ticks: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ticks)
