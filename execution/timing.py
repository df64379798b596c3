"""When a schedule is due: its times, by cron or by interval, and which of them count.

Promises: pure, and told what the time is; every answer is in UTC; the same rule has
the same times from wherever it is looked at. Times of a cron text are those of Debian's
cron in the schedule's time zone, as cronsim works them out: one that a clock set
forward leaves out comes right after the gap, one that a clock set back repeats comes
once, and what runs every hour or minute does so by the time that passes.

cronsim is loaded with the first cron text: most workers never see one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice, takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .durations import write_duration
from .places import shown

LEAST_SECONDS = 1.0
GRACE_SECONDS = 60.0
"""How late a time may be that is not made up for: no outage, but a worker's restart."""
MOST_AT_ONCE = 100
"""How many times of a schedule come due in one transaction; the rest follows."""

_FIELDS = 5
_SPANS = tuple(timedelta(days=days) for days in (1 / 24, 1, 32, 400))
_MICROSECOND = timedelta(microseconds=1)


class CatchUp(StrEnum):
    """What becomes of times that came while no worker was there, or during a pause."""

    NONE = "none"
    LAST = "last"
    ALL = "all"


class Overlap(StrEnum):
    """What becomes of a time when an execution of the schedule still runs."""

    SKIP = "skip"
    QUEUE = "queue"
    CANCEL_OLDER = "cancel_older"
    ALLOW = "allow"


class RunOutcome(StrEnum):
    """What became of a time of a schedule."""

    QUEUED = "queued"
    STARTED = "started"
    SKIPPED = "skipped"
    MISSED = "missed"
    FAILED = "failed"


class RunTrigger(StrEnum):
    """Who wanted a run."""

    TIMER = "timer"
    PERSON = "person"


class TimingError(ValueError):
    """There are no such times; `name` is the argument that is wrong."""

    def __init__(self, name: str, message: str) -> None:
        self.name, self.message = name, message
        super().__init__(f"{name}: {message}")


@dataclass(frozen=True)
class Timing:
    """When a schedule is due: by a cron text, or every so many seconds from `start_at`.

    Nothing is due before `start_at` or after `end_at`.
    """

    cron: str | None
    every_seconds: float | None
    time_zone: str
    start_at: datetime
    end_at: datetime | None = None

    def check(self) -> None:
        """Raise TimingError if this means nothing, or no time at all."""
        if (self.cron is None) == (self.every_seconds is None):
            raise TimingError("cron", "give either cron or every, and not both")
        find_zone(self.time_zone)
        if self.every_seconds is not None and self.every_seconds < LEAST_SECONDS:
            given, least = map(write_duration, (self.every_seconds, LEAST_SECONDS))
            raise TimingError("every", f"must be at least {least}, and is {given}")
        if self.end_at is not None and self.end_at < self.start_at:
            raise TimingError("end_at", "is before start_at")
        if self.cron is not None and self.next_from(self.start_at) is None:
            if self.end_at is None:
                message = f"{shown(self.cron)} never comes"
            else:
                message = f"{shown(self.cron)} does not come before end_at"
            raise TimingError("cron", message)

    def times_from(self, moment: datetime) -> Iterator[datetime]:
        """Yield every time from `moment` on, that one included, in order."""
        first = max(moment, self.start_at).astimezone(UTC)
        if self.every_seconds is not None:
            times = _times_of_interval(self.start_at, self.every_seconds, first)
        else:
            times = _times_of_cron(self.cron or "", self.time_zone, first)
        end = self.end_at
        return times if end is None else takewhile(lambda time: time <= end, times)

    def next_from(self, moment: datetime) -> datetime | None:
        """Return the first time from `moment` on, if there is one."""
        return next(self.times_from(moment), None)

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first time after `moment`, if there is one."""
        return self.next_from(moment + _MICROSECOND)


@dataclass(frozen=True)
class Firing:
    """What a schedule does that is due.

    `due` are the times to begin executions for, oldest first; `missed` says which are
    given up, if any; `next_at` is the next time to look at, which may be past as well.
    """

    due: tuple[datetime, ...]
    missed: str | None
    next_at: datetime | None


def decide_firing(
    timing: Timing,
    catch_up: CatchUp,
    window_seconds: float | None,
    *,
    due_at: datetime,
    now: datetime,
) -> Firing:
    """Return what a schedule does whose first time that nobody saw to is `due_at`.

    That is past, and counts as one of its times also if the rules of its time zone
    have changed since. Of `CatchUp.ALL`, nothing counts that is more than
    `window_seconds` ago, if there is such a window.
    """
    if catch_up is CatchUp.ALL:
        return _catch_all(timing, window_seconds, due_at, now)
    last = _find_last(timing, due_at, now)
    next_at = timing.next_after(now)
    if catch_up is CatchUp.NONE and now - last > timedelta(seconds=GRACE_SECONDS):
        return Firing((), "this time, and every one until the next", next_at)
    missed = f"every time before {last.isoformat()}" if last > due_at else None
    return Firing((last,), missed, next_at)


def find_zone(name: str) -> ZoneInfo:
    """Return a time zone by its name in the IANA database; raises TimingError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError) as error:
        raise TimingError(
            "time_zone",
            f"there is no time zone {shown(name)}; write UTC, or a name such as"
            " Europe/Berlin",
        ) from error


def _catch_all(
    timing: Timing, window_seconds: float | None, due_at: datetime, now: datetime
) -> Firing:
    first = due_at
    if window_seconds is not None:
        first = max(due_at, now - timedelta(seconds=window_seconds))
    missed = f"every time before {first.isoformat()}" if first > due_at else None
    times = takewhile(lambda time: time <= now, _times_since(timing, due_at, first))
    due = tuple(islice(times, MOST_AT_ONCE))
    return Firing(due, missed, timing.next_after(due[-1] if due else now))


def _find_last(timing: Timing, due_at: datetime, now: datetime) -> datetime:
    """Return the last time until now, without counting through all of a long outage."""
    for span in _SPANS:
        first = max(due_at, now - span)
        last = None
        for time in takewhile(lambda t: t <= now, _times_since(timing, due_at, first)):
            last = time
        if last is not None:
            return last
    times = takewhile(lambda time: time <= now, _times_since(timing, due_at, due_at))
    return max(times)


def _times_since(
    timing: Timing, due_at: datetime, first: datetime
) -> Iterator[datetime]:
    if first == due_at:
        yield due_at
        first += _MICROSECOND
    yield from timing.times_from(first)


def _times_of_interval(
    start_at: datetime, every_seconds: float, first: datetime
) -> Iterator[datetime]:
    every = timedelta(seconds=every_seconds)
    # of whole microseconds, so that no time drifts however far it is from the start
    number = -((start_at - first) // every)
    while True:
        try:
            moment = start_at + number * every
        except OverflowError:
            # no calendar has it: the year 10,000 is beyond what dates can say
            return
        yield moment.astimezone(UTC)
        number += 1


def _times_of_cron(text: str, zone: str, first: datetime) -> Iterator[datetime]:
    from cronsim import CronSim, CronSimError

    if len(text.split()) != _FIELDS:
        raise TimingError(
            "cron",
            f"{shown(text)} must have five fields: minute, hour, day of the month,"
            " month, day of the week, such as 0 3 * * MON-FRI",
        )
    # it begins with what comes after, and knows of no fractions of a second
    local = (first - timedelta(seconds=1)).astimezone(find_zone(zone))
    try:
        times = CronSim(text, local)
    except CronSimError as error:
        raise TimingError("cron", f"{shown(text)} is no cron text: {error}") from error
    for time in times:
        moment = time.astimezone(UTC)
        # from within an hour that is repeated, it begins with the first of the two
        if moment >= first:
            yield moment
