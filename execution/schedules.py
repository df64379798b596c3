"""Schedules: begin executions of a published plan by the clock.

Stored here, fired by the reconcilers of whichever workers live: nothing else has to run
for a time to come. Promises: what could not begin as it stands is refused when it is
stored; every change is kept with who made it, and why. It must not know how a time
comes to be an execution.
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Any, TypedDict, Unpack

from .admission import refuse_naive
from .durations import DurationError, parse_duration_seconds
from .errors import DatabaseError, ScheduleError, ScheduleNotFoundError
from .patience import ASK_TWICE
from .publication import PublishedPlans
from .schedule_records import (
    ScheduleChange,
    ScheduleRecords,
    ScheduleRun,
    ScheduleSummary,
)
from .scheduled_runs import ScheduledRuns
from .timing import CatchUp, Overlap, Timing, TimingError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MOST_PRIORITY = 9
_MOST_TRIES = 5
_MOST_TIMES = 1_000
_DURATIONS = {"every": "every_seconds", "catch_up_window": "catch_up_seconds"}
_DEFAULTS: Mapping[str, Any] = {
    "priority": 0,
    "cron": None,
    "every_seconds": None,
    "time_zone": "UTC",
    "catch_up": CatchUp.LAST,
    "catch_up_seconds": None,
    "overlap": Overlap.SKIP,
    "end_at": None,
}
_WORDS: Mapping[str, type[StrEnum]] = {"catch_up": CatchUp, "overlap": Overlap}


class ScheduleTimes(TypedDict, total=False):
    """When a schedule is due: by `cron` or `every`, in `time_zone`, and from when on.

    Intervals are counted from `start_at`, which is by default when it is stored.
    """

    cron: str | None
    every: str | timedelta | None
    time_zone: str
    start_at: datetime | None
    end_at: datetime | None


class ScheduleOptions(ScheduleTimes, total=False):
    """What else a schedule has: see `docs/howto/schedule.md`."""

    tags: Sequence[str]
    priority: int
    catch_up: CatchUp | str
    catch_up_window: str | timedelta | None
    overlap: Overlap | str


class ScheduleFields(ScheduleOptions, total=False):
    """What of a schedule can be changed."""

    plan: str
    parameters: Mapping[str, Any]


class ScheduledPlans(PublishedPlans):
    """What `ExecutionEngine` can do with schedules."""

    _schedules: ScheduleRecords
    _scheduled_runs: ScheduledRuns

    def create_schedule(
        self,
        name: str,
        plan: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        by: str | None = None,
        reason: str | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> ScheduleSummary:
        """Begin an execution of a published plan at each time of a rule, from now on.

        `plan` is NAME, which is the version that is the current one by then, or
        NAME@VERSION. Raises ScheduleError for what cannot be meant and for a name that
        is taken, PlanNotFoundError, and ParameterError when `parameters` do not fit.
        """
        if not _NAME.fullmatch(name):
            raise ScheduleError(
                f"a schedule cannot be called {name!r}; its name is made of letters,"
                " digits, dots, hyphens and underscores, 128 at most"
            )
        now = self._repository.read_clock()
        given = {"plan": plan, "parameters": parameters or {}, "tags": (), **options}
        columns = {**_DEFAULTS, "name": name, "start_at": now}
        columns |= _read_fields(given, now)
        columns["next_at"] = _find_next(columns, now)
        self._check_plan(columns)
        if not ASK_TWICE(self._schedules.create, columns, by, reason):
            raise ScheduleError(
                f"there is a schedule {name} already; change it by update_schedule, or"
                " delete it"
            )
        return self.get_schedule(name)

    def update_schedule(
        self,
        name: str,
        *,
        by: str | None = None,
        reason: str | None = None,
        **fields: Unpack[ScheduleFields],
    ) -> ScheduleSummary:
        """Change what is given; times that have come already stay as they are.

        Raises ScheduleNotFoundError, and what `create_schedule` does.
        """
        for _ in range(_MOST_TRIES):
            present = self.get_schedule(name)
            now = self._repository.read_clock()
            changes = _read_fields(dict(fields), now)
            columns = _columns_of(present) | changes
            if columns == _columns_of(present):
                return present
            if changes.keys() & {"cron", "every_seconds", "time_zone", "start_at"} or (
                "end_at" in changes
            ):
                columns["next_at"] = _find_next(columns, now)
            self._check_plan(columns)
            if ASK_TWICE(
                self._schedules.update, name, present.revision, columns, by, reason
            ):
                return self.get_schedule(name)
        raise ScheduleError(f"schedule {name} is being changed all the time; try again")

    def pause_schedule(
        self, name: str, *, by: str | None = None, reason: str | None = None
    ) -> ScheduleSummary:
        """Let no time of a schedule come until it is resumed; what runs goes on.

        Raises ScheduleNotFoundError.
        """
        return self._pause(name, True, by, reason)

    def resume_schedule(
        self, name: str, *, by: str | None = None, reason: str | None = None
    ) -> ScheduleSummary:
        """Let the times of a schedule come again; `catch_up` says what of the pause.

        Raises ScheduleNotFoundError.
        """
        return self._pause(name, False, by, reason)

    def _pause(
        self, name: str, pauses: bool, by: str | None, reason: str | None
    ) -> ScheduleSummary:
        ASK_TWICE(self._schedules.pause, name, pauses=pauses, by=by, reason=reason)
        return self.get_schedule(name)

    def delete_schedule(
        self, name: str, *, by: str | None = None, reason: str | None = None
    ) -> None:
        """Forget a schedule; what it has begun goes on.

        Raises ScheduleNotFoundError.
        """
        self.get_schedule(name)
        ASK_TWICE(self._schedules.delete, name, by, reason)

    def run_schedule_now(
        self, name: str, *, by: str | None = None, reason: str | None = None
    ) -> ScheduleRun:
        """Begin an execution now, besides its times; a pause does not hinder it.

        `overlap` holds for it as well: the answer says what became of it, and for one
        that is queued, `list_schedule_runs` will. Raises ScheduleNotFoundError.
        """
        run_id = str(uuid.uuid4())
        if not ASK_TWICE(self._schedules.ask_run, name, run_id, by, reason):
            raise _not_found(name)
        with suppress(DatabaseError):
            # it is stored: should this fail, a reconciler sees to it
            ASK_TWICE(self._scheduled_runs.settle, name)
        run = ASK_TWICE(self._schedules.get_run, run_id)
        if run is None:
            raise _not_found(name)
        return run

    def get_schedule(self, name: str) -> ScheduleSummary:
        """Return a schedule; raises ScheduleNotFoundError."""
        found = ASK_TWICE(self._schedules.list_schedules, name)
        if not found:
            raise _not_found(name)
        return found[0]

    def list_schedules(self) -> tuple[ScheduleSummary, ...]:
        """Return the schedules, by name."""
        return ASK_TWICE(self._schedules.list_schedules)

    def list_schedule_runs(
        self, name: str, *, limit: int = 20
    ) -> tuple[ScheduleRun, ...]:
        """Return what became of the times of a schedule, the newest first.

        The last thousand are kept. Raises ScheduleNotFoundError.
        """
        self.get_schedule(name)
        return ASK_TWICE(self._schedules.list_runs, name, limit)

    def list_schedule_changes(
        self, name: str, *, limit: int = 20
    ) -> tuple[ScheduleChange, ...]:
        """Return who did what to schedules of a name, also of deleted ones."""
        return ASK_TWICE(self._schedules.list_changes, name, limit)

    def list_next_times(self, name: str, *, count: int = 5) -> tuple[datetime, ...]:
        """Return the next times of a schedule, also while it is paused.

        The first may have passed: then nobody has seen to it yet. Raises
        ScheduleNotFoundError.
        """
        schedule = self.get_schedule(name)
        if schedule.next_at is None:
            return ()
        return _take(schedule.timing, schedule.next_at, count)

    def preview_times(
        self, *, count: int = 5, **times: Unpack[ScheduleTimes]
    ) -> tuple[datetime, ...]:
        """Return the next times of a schedule that is not stored.

        Raises ScheduleError as `create_schedule` does.
        """
        now = self._repository.read_clock()
        start: dict[str, Any] = {
            "cron": None,
            "every_seconds": None,
            "time_zone": "UTC",
            "start_at": now,
            "end_at": None,
        }
        columns = start | _read_fields(dict(times), now)
        return _take(_timing_of(columns), _find_next(columns, now), count)

    def _check_plan(self, columns: Mapping[str, Any]) -> None:
        self.get_plan(columns["plan"]).bind(columns["parameters"])


def _read_fields(fields: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return given fields as columns."""
    columns = dict(fields)
    for name, column in _DURATIONS.items():
        if name in columns:
            columns[column] = _read_seconds(name, columns.pop(name))
    for name, words in _WORDS.items():
        if name in columns:
            columns[name] = _read_word(words, name, columns[name])
    if "tags" in columns:
        columns["tags"] = list(columns["tags"])
    if not 0 <= columns.get("priority", 0) <= _MOST_PRIORITY:
        raise ScheduleError(f"priority: is {columns['priority']}, not 0 to 9")
    return _complete_times(columns, now)


def _complete_times(columns: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Return columns of which one rule takes the place of the other."""
    for given, other in (("cron", "every_seconds"), ("every_seconds", "cron")):
        if columns.get(given) is not None:
            columns.setdefault(other, None)
    for name in ("start_at", "end_at"):
        refuse_naive(name, columns.get(name))
    if "start_at" in columns:
        columns["start_at"] = columns["start_at"] or now
    return columns


def _read_seconds(name: str, given: str | timedelta | None) -> float | None:
    if given is None or isinstance(given, timedelta):
        return None if given is None else given.total_seconds()
    try:
        return parse_duration_seconds(given)
    except DurationError as error:
        raise ScheduleError(f"{name}: {given} {error}") from error


def _read_word(words: type[StrEnum], name: str, given: str) -> StrEnum:
    try:
        return words(given)
    except ValueError as error:
        known = ", ".join(words)
        raise ScheduleError(f"{name}: is {given!r}, not one of {known}") from error


def _timing_of(columns: Mapping[str, Any]) -> Timing:
    return Timing(
        columns["cron"],
        columns["every_seconds"],
        columns["time_zone"],
        columns["start_at"],
        columns["end_at"],
    )


def _find_next(columns: Mapping[str, Any], now: datetime) -> datetime:
    """Return the next time; raises ScheduleError when there is none, or no rule."""
    timing = _timing_of(columns)
    try:
        timing.check()
        found = timing.next_after(now)
    except TimingError as error:
        raise ScheduleError(str(error)) from error
    if found is None:
        raise ScheduleError("end_at: no time is to come before it")
    return found


def _take(timing: Timing, first: datetime, count: int) -> tuple[datetime, ...]:
    return tuple(islice(timing.times_from(first), max(0, min(count, _MOST_TIMES))))


def _columns_of(schedule: ScheduleSummary) -> dict[str, Any]:
    left_out = {"last_run", "paused_at", "created_at", "revision"}
    columns = {n: v for n, v in vars(schedule).items() if n not in left_out}
    return {**columns, "tags": list(schedule.tags)}


def _not_found(name: str) -> ScheduleNotFoundError:
    return ScheduleNotFoundError(
        f"there is no schedule {name!r}; see which there are: plans schedule list"
    )
