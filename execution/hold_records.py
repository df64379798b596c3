"""Holds as they are written and read: what is paused beside single executions.

Each write is one call of a function in `sql/`. Its id is drawn by the caller, so that
the same call again, after an unknown commit, answers what happened.
"""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from .holds import Hold, HoldKind
from .models import Hold as HoldRow
from .models import Plan as PlanRow
from .movements import MovementQueries
from .receipts import HoldAnswer
from .results import RunningStep
from .summaries import read_hold


class HoldRecords(MovementQueries):
    """Sets, ends and reads holds."""

    def set_hold(
        self,
        kind: HoldKind,
        name: str,
        *,
        hold_id: str,
        by: str | None = None,
        reason: str | None = None,
    ) -> HoldAnswer:
        """Hold all of what is named; where it is held, answer that hold."""
        row = self._call("set_hold", hold_id, kind.value, name, by, reason)
        return _read_answer(row)

    def end_hold(
        self,
        kind: HoldKind,
        name: str,
        *,
        resume_id: str,
        by: str | None = None,
        reason: str | None = None,
    ) -> HoldAnswer:
        """End a hold, and answer which it was; None where there is none."""
        row = self._call("end_hold", resume_id, kind.value, name, by, reason)
        return _read_answer(row)

    def list_holds(self) -> tuple[Hold, ...]:
        """Return every hold that there is, the oldest first."""
        query = sa.select(HoldRow).order_by(
            HoldRow.created_at, HoldRow.kind, HoldRow.name
        )
        with self._reading() as session:
            return tuple(
                Hold(HoldKind(row.kind), row.name, row.by, row.reason, row.created_at)
                for row in session.scalars(query)
            )

    def list_running_under(
        self, kind: HoldKind, name: str, *, most: int
    ) -> tuple[RunningStep, ...]:
        """Return up to `most` steps that run of what is named, the oldest first."""
        rows = self._database.call_all("running_under", kind.value, name, most)
        return tuple(RunningStep(str(row["execution_id"]), row["step"]) for row in rows)

    def has_plan(self, name: str) -> bool:
        """Say whether a plan of this name was ever submitted or published."""
        query = sa.select(sa.exists().where(PlanRow.name == name))
        with self._reading() as session:
            return bool(session.scalar(query))

    def list_known_plans(self) -> tuple[str, ...]:
        """Return the names of all plans that were ever submitted or published."""
        query = sa.select(PlanRow.name).distinct().order_by(PlanRow.name)
        with self._reading() as session:
            return tuple(session.scalars(query))


def _read_answer(row: Mapping[str, Any]) -> HoldAnswer:
    return HoldAnswer(row["landed"], read_hold(row["hold"]) if row["hold"] else None)
