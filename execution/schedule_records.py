"""Schedules in PostgreSQL: what they are, what became of their times, who changed them.

Each act is one call of a function in `sql/27_schedules.sql`, and says whether it
landed. What leaves are frozen values. Knows neither Celery nor Redis nor SQLAlchemy,
and never computes when a schedule is due.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from .database import Database
from .timing import CatchUp, Firing, Overlap, RunOutcome, RunTrigger, Timing


@dataclass(frozen=True)
class ScheduleSummary:
    """A schedule: when it begins an execution of a plan, and what if one still runs.

    `plan` is NAME or NAME@VERSION. `next_at` is its next time, None if there is none
    any more; `revision` rises with each change. `last_run` is what became of its last
    time, if it has had one.
    """

    name: str
    plan: str
    parameters: Mapping[str, Any]
    tags: tuple[str, ...]
    priority: int
    cron: str | None
    every_seconds: float | None
    time_zone: str
    catch_up: CatchUp
    catch_up_seconds: float | None
    overlap: Overlap
    start_at: datetime
    end_at: datetime | None
    next_at: datetime | None
    paused_at: datetime | None
    created_at: datetime
    revision: int
    last_run: "ScheduleRun | None" = None

    @property
    def timing(self) -> Timing:
        """Return when it is due."""
        return Timing(
            self.cron, self.every_seconds, self.time_zone, self.start_at, self.end_at
        )


@dataclass(frozen=True)
class ScheduleRun:
    """A time of a schedule, or a run that a person asked for, and what became of it.

    `detail` says why it did not begin; `by` and `reason` are a person's. `at` is when
    that was decided, or since when it waits.
    """

    id: str
    schedule: str
    scheduled_at: datetime
    trigger: RunTrigger
    outcome: RunOutcome
    detail: str | None
    execution_id: str | None
    by: str | None
    reason: str | None
    at: datetime


@dataclass(frozen=True)
class ScheduleChange:
    """Who did what to a schedule, and why."""

    schedule: str
    act: str
    by: str | None
    reason: str | None
    at: datetime


@dataclass(frozen=True)
class DueSchedule:
    """A schedule whose time, `due_at`, has come, as it stood at `seen_at`."""

    name: str
    revision: int
    due_at: datetime
    timing: Timing
    catch_up: CatchUp
    catch_up_seconds: float | None
    seen_at: datetime


@dataclass(frozen=True)
class NextRun:
    """A queued run, and what its plan declares; without `plan_id` there is none."""

    run_id: str
    plan: str
    plan_id: str | None
    declarations: Mapping[str, Any]
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class BegunRun:
    """What became of a queued run; `outcome` is None where it is not queued any more.

    One that goes on waiting is `queued`, and may have `older` executions to be ended.
    """

    outcome: RunOutcome | None
    detail: str | None
    execution_id: str | None
    held_key: str | None
    older: tuple[str, ...]


_COLUMNS = ", ".join(
    f's."{field.name}"' for field in fields(ScheduleSummary) if field.name != "last_run"
)
_LAST_RUN = """
  LEFT JOIN LATERAL (
      SELECT to_jsonb(r) AS last_run FROM {schema}.schedule_runs r
       WHERE r.schedule = s.name AND r.outcome <> 'queued'
       ORDER BY r.scheduled_at DESC, r.id DESC LIMIT 1) AS last ON true"""


class ScheduleRecords:
    """Reads and writes schedules."""

    def __init__(self, database: Database) -> None:
        """Work through `database`."""
        self._database = database

    # what reconcilers write

    def fire(self, due: DueSchedule, firing: Firing) -> bool:
        """Enter the times that have come; False when the schedule stands otherwise."""
        row = self._database.call(
            "fire_schedule",
            due.name,
            due.revision,
            due.due_at,
            list(firing.due),
            firing.missed,
            firing.next_at,
        )
        return bool(row["landed"])

    def find_queued(self, most: int) -> tuple[str, ...]:
        """Return schedules with queued runs that somebody can see to."""
        rows = self._database.call_all("queued_schedules", most)
        return tuple(row["queued_schedules"] for row in rows)

    def next_run(self, name: str) -> NextRun | None:
        """Return the queued run that is to be seen to next, if there is one."""
        row = self._database.call("next_run", name)
        if not row:
            return None
        return NextRun(
            run_id=str(row["run_id"]),
            plan=row["plan"],
            plan_id=row["plan_id"] and str(row["plan_id"]),
            declarations=row["declarations"] or {},
            parameters=row["parameters"],
        )

    def begin_run(
        self, run: NextRun, parameters: str | None, fault: str | None
    ) -> BegunRun:
        """Begin a queued run with bound `parameters`; or it waits, or is given up."""
        row = self._database.call(
            "begin_run", run.run_id, run.plan_id, parameters, fault
        )
        outcomes = {"waits": RunOutcome.QUEUED, "over": None}
        outcome = row["outcome"]
        return BegunRun(
            outcome=outcomes[outcome] if outcome in outcomes else RunOutcome(outcome),
            detail=row["detail"],
            execution_id=row["execution_id"] and str(row["execution_id"]),
            held_key=row["held_key"],
            older=tuple(row["older"]),
        )

    def supersede(self, execution_id: str) -> tuple[int, int] | None:
        """End an execution that a later run replaces; None when it is not so.

        Else the number of its last event, and how many of its steps are open.
        """
        row = self._database.call("supersede_run", execution_id)
        return (row["last_seq"], row["open_steps"]) if row["landed"] else None

    # what people do

    def create(
        self, columns: Mapping[str, Any], by: str | None, reason: str | None
    ) -> bool:
        """Store a schedule; False when there is another of its name."""
        row = self._database.call("create_schedule", _dump(columns), by, reason)
        return bool(row["landed"])

    def update(
        self,
        name: str,
        revision: int,
        columns: Mapping[str, Any],
        by: str | None,
        reason: str | None,
    ) -> bool:
        """Change a schedule that stands at `revision`; say whether it did."""
        row = self._database.call(
            "update_schedule", name, revision, _dump(columns), by, reason
        )
        return bool(row["landed"])

    def pause(
        self, name: str, *, pauses: bool, by: str | None, reason: str | None
    ) -> bool | None:
        """Pause a schedule or let it go on; None when there is none."""
        row = self._database.call("pause_schedule", name, pauses, by, reason)
        landed: bool | None = row["landed"]
        return landed

    def ask_run(
        self, name: str, run_id: str, by: str | None, reason: str | None
    ) -> bool:
        """Enter a run that a person asks for; False when there is no such schedule."""
        return bool(self._database.call("ask_run", name, run_id, by, reason)["landed"])

    def delete(self, name: str, by: str | None, reason: str | None) -> bool:
        """Forget a schedule; False when there is none."""
        row = self._database.call("delete_schedule", name, by, reason)
        return bool(row["landed"])

    # reads

    def list_schedules(self, name: str | None = None) -> tuple[ScheduleSummary, ...]:
        """Return schedules by name, or that of one name."""
        rows = self._database.query(
            f"SELECT {_COLUMNS}, last.last_run FROM {{schema}}.schedules s"  # noqa: S608  # names of our own
            f"{_LAST_RUN} WHERE %s::text IS NULL OR s.name = %s ORDER BY s.name",
            (name, name),
        )
        return tuple(_read_schedule(row) for row in rows)

    def list_runs(self, name: str, limit: int) -> tuple[ScheduleRun, ...]:
        """Return the runs of a schedule, the newest first."""
        rows = self._database.query(
            "SELECT to_jsonb(r) AS run FROM {schema}.schedule_runs r"
            " WHERE schedule = %s ORDER BY scheduled_at DESC, id DESC LIMIT %s",
            (name, limit),
        )
        return tuple(_read_run(row["run"]) for row in rows)

    def get_run(self, run_id: str) -> ScheduleRun | None:
        """Return a run by its id, if it is there."""
        rows = self._database.query(
            "SELECT to_jsonb(r) AS run FROM {schema}.schedule_runs r WHERE id = %s",
            (run_id,),
        )
        return _read_run(rows[0]["run"]) if rows else None

    def list_changes(self, name: str, limit: int) -> tuple[ScheduleChange, ...]:
        """Return what was done to schedules of a name, the newest first."""
        rows = self._database.query(
            "SELECT schedule, act, by, reason, at FROM {schema}.schedule_changes"
            " WHERE schedule = %s ORDER BY id DESC LIMIT %s",
            (name, limit),
        )
        return tuple(ScheduleChange(**row) for row in rows)


def read_due(row: Mapping[str, Any]) -> DueSchedule:
    """Return a schedule whose time has come, from what a sweep found."""
    return DueSchedule(
        name=row["name"],
        revision=row["revision"],
        due_at=_moment(row["next_at"]),
        timing=Timing(
            row["cron"],
            row["every_seconds"],
            row["time_zone"],
            _moment(row["start_at"]),
            row["end_at"] and _moment(row["end_at"]),
        ),
        catch_up=CatchUp(row["catch_up"]),
        catch_up_seconds=row["catch_up_seconds"],
        seen_at=_moment(row["seen_at"]),
    )


def _read_schedule(row: Mapping[str, Any]) -> ScheduleSummary:
    last = row["last_run"]
    return ScheduleSummary(
        **{
            **row,
            "tags": tuple(row["tags"]),
            "catch_up": CatchUp(row["catch_up"]),
            "overlap": Overlap(row["overlap"]),
            "last_run": _read_run(last) if last else None,
        }
    )


def _read_run(row: Mapping[str, Any]) -> ScheduleRun:
    return ScheduleRun(
        **{
            **row,
            "trigger": RunTrigger(row["trigger"]),
            "outcome": RunOutcome(row["outcome"]),
            "scheduled_at": _moment(row["scheduled_at"]),
            "at": _moment(row["at"]),
        }
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _dump(columns: Mapping[str, Any]) -> str:
    return json.dumps(
        {
            name: value.isoformat() if isinstance(value, datetime) else _plain(value)
            for name, value in columns.items()
        },
        ensure_ascii=False,
    )


def _plain(value: object) -> object:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(value)
    return value
