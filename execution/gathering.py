"""What a reader of all executions has told of each, and what it has to tell.

An execution that has ended is told once, in the order of ends; one that has not is
compared with the mark of what was told last. So nothing is kept of executions that
ended before the `place` that was reached in that order, however many there are, and it
is of no matter when a reader looks. An execution that ended before that place and
moves again, because somebody has taken it back, is told from that end on.

Ends become visible in another order than that of their times: a transaction takes its
time first and commits later. A place is passed only when every transaction that may
have ended something before it is over; see `_find_safe`.

Pure: knows neither the database nor who is told.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from .cursors import Horizon, Mark, count_ticks, pack_marks, write_horizon

_SLACK = timedelta(seconds=5)
"""A clock may go back so far, as at a failover, and no end is passed over."""
_LONGEST_WRITE = timedelta(seconds=120)
"""No write of ours takes half as long; where a stranger's transaction is open for
hours, what ended is kept for so long and no longer."""
_LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"
_MOST_CHANGES = 100
"""Changed marks are packed apart from the others, which cost more, up to so many."""


@dataclass(frozen=True)
class Moved:
    """An execution that may have moved; `is_wanted` if it is in the state asked for."""

    execution_id: str
    last_seq: int
    ended_at: datetime | None
    is_wanted: bool

    @property
    def place(self) -> tuple[int, str] | None:
        """Where it is in the order of ends, if it has ended."""
        if self.ended_at is None:
            return None
        return count_ticks(self.ended_at), self.execution_id


@dataclass(frozen=True)
class Moment:
    """A moment of the database, read before what is looked at.

    Every transaction numbered below `oldest` was over, none from `next_one` on had
    begun. `incarnation` is another after a restart or a restore, and perhaps at times
    when there was none.
    """

    now: datetime
    oldest: int
    next_one: int
    incarnation: str


def begin_after(installation: str, now: datetime) -> Horizon:
    """Return a horizon before which every end is sure to be visible at `now`."""
    return Horizon(installation, count_ticks(now - _LONGEST_WRITE), _LAST_ID)


@dataclass
class Gathering:
    """Where a reader stands."""

    horizon: Horizon
    _marks: dict[str, Mark] = field(init=False)
    _pending: Moment | None = field(default=None, init=False)
    _base: str | None = field(default=None, init=False)
    _changed: dict[str, Mark] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Begin with what the horizon knows."""
        self._marks = dict(self.horizon.marks)

    @property
    def marks(self) -> Mapping[str, Mark]:
        """What was told of executions that have not ended before the place."""
        return self._marks

    @property
    def cursor(self) -> str:
        """Text to continue after."""
        if self._base is None or len(self._changed) > _MOST_CHANGES:
            self._base, self._changed = pack_marks(self._marks), {}
        return write_horizon(self.horizon, self._base, pack_marks(self._changed))

    def list_strangers(self, rows: Iterable[Moved]) -> list[str]:
        """Return the executions of which nothing is known."""
        return [r.execution_id for r in rows if r.execution_id not in self._marks]

    def leave_passed(self, rows: Iterable[Moved]) -> list[Moved]:
        """Return the rows without those that were told before the place was passed."""
        return [
            row
            for row in rows
            if row.execution_id in self._marks
            or row.place is None
            or row.place > self.horizon.place
        ]

    def choose(self, rows: Iterable[Moved]) -> list[Moved]:
        """Return those that are to be told."""
        return [
            row
            for row in rows
            # below its mark in a database that was restored
            if row.is_wanted and row.last_seq != self._marks[row.execution_id].seq
        ]

    def mark(self, execution_id: str, mark: Mark) -> None:
        """Note what was told of an execution."""
        self._marks[execution_id] = self._changed[execution_id] = mark

    def forget(self, execution_id: str) -> None:
        """Know nothing more of an execution, which was deleted."""
        if self._marks.pop(execution_id, None) is not None:
            self._base = None

    def pass_on(
        self, moment: Moment, rows: Sequence[Moved], last: Moved | None
    ) -> None:
        """Pass the ends that were told, and keep nothing of these executions.

        `moment` was read before `rows`, which are all that have not ended before the
        place, or of those that have the first ones, up to `last`.
        """
        place = (count_ticks(self._find_safe(moment)), _LAST_ID)
        if last is not None and last.place is not None:
            place = min(place, last.place)
        place = max(place, self.horizon.place)
        kept = {
            row.execution_id for row in rows if row.place is None or row.place > place
        }
        self._marks = {e: mark for e, mark in self._marks.items() if e in kept}
        self.horizon = replace(self.horizon, ended=place[0], last_id=place[1])
        self._base = None

    def _find_safe(self, moment: Moment) -> datetime:
        """Return a time before which every end there will ever be is visible.

        A write takes its number, by the lock of its execution, before its time. So once
        all transactions are over that had begun at an earlier moment, everything with a
        time from before that moment can be seen.
        """
        safe = moment.now - _LONGEST_WRITE
        pending = self._pending
        if pending is not None and moment.oldest >= pending.next_one:
            safe = max(safe, pending.now - _SLACK)
        elif pending is not None and moment.next_one >= pending.next_one:
            return safe
        # the first moment, or one of a database whose numbers went back
        self._pending = moment
        return safe
