"""Says in a file how a worker does, at each turn of its loop.

    at a turn of its loop ──► no more than once a second ──► the file
    told to stop, or about to block ──► at once ─────────────────┘

Promises: only the thread of the worker's loop says that it turns, so one that hangs is
silent; where Celery blocks the loop on purpose, it is said for how long. A disk that is
full stops no worker. Neither servers nor their errors are named: who asks for health
may be anybody.

It must not know how the loop is watched, nor what a step is.
"""

import atexit
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from celery.utils.nodenames import node_format

from ..database import DatabaseUnavailableError
from ..errors import DatabaseError, SettingsError, SetupError
from ..health import (
    HealthState,
    WorkerHealth,
    excuse_for,
    identify_process,
    is_alive,
    read_health,
    write_health,
)
from ..settings import Settings

logger = logging.getLogger(__name__)

_REST_SECONDS = 1.0
"""How long the file is left alone, unless something has happened."""
_MOST_SECONDS_TO_END = 15.0
"""How long a worker may take to end when its steps have ended, or were cut."""
_MOST_SECONDS_OF_WORK = 86_400.0
"""How long a loop may be held by what it runs itself."""
_MOST_BEATS = 3
"""How many heartbeats may be late before PostgreSQL counts as away."""

_AWAY = "PostgreSQL does not answer"
_REFUSED = "PostgreSQL refuses what the worker asks; its log says why"
_UNFIT = "the database is not fit for this release: plans db check"


class Vitals:
    """What a worker knows of its health: told by its threads, written by its loop.

    Says nothing before it is opened, or where the settings name no file.
    """

    def __init__(self, settings: Settings) -> None:
        """Prepare to write as `settings` say."""
        self._settings = settings
        self._path: Path | None = None
        self._hostname = ""
        self._pid = os.getpid()
        self._process: str | None = None
        self._answered_at = self._checked_at = time.monotonic()
        self._complaint: str | None = "not signed on in PostgreSQL yet"
        self._check: Callable[[], object] = lambda: None
        self._is_unfit = False
        self._has_begun = self._is_connected = False
        self._works = 0
        self._stops_until: datetime | None = None
        self._turned_at = datetime.now(UTC)
        self._written_at = float("-inf")
        self._is_due = self._is_writing = self._has_failed = False

    def open(self, hostname: str) -> None:
        """Begin to say how the worker `hostname` does; `%n` in the path is its name.

        Raises SettingsError when the file cannot be written, or is that of another
        worker that lives.
        """
        if self._settings.health_file is None:
            return
        self._path = Path(node_format(str(self._settings.health_file), hostname))
        self._hostname = hostname
        self._pid = os.getpid()
        self._process = identify_process(self._pid)
        self._turned_at = datetime.now(UTC)
        self._take_over(self._path)
        # for who ends before its plans have begun
        atexit.register(self.end)

    # told by the threads

    @contextmanager
    def hear_beat(self) -> Iterator[None]:
        """Hear how a heartbeat goes, which is the block; look at the schema, too."""
        try:
            yield
            complaint = self._check_now_and_then()
        except DatabaseError as error:
            is_away = isinstance(error, DatabaseUnavailableError)
            self._complain(_AWAY if is_away else _REFUSED)
            raise
        self._answered_at = time.monotonic()
        self._complain(complaint)

    def _complain(self, complaint: str | None) -> None:
        is_news = complaint != self._complaint
        self._complaint = complaint
        if is_news:
            # the loop may be held by what it runs; that it turns is not said by this
            self._write_now()

    def _check_now_and_then(self) -> str | None:
        """Return what is wrong with the schema, which is looked at once a lease."""
        now = time.monotonic()
        if self._path is not None and (
            now >= self._checked_at + self._settings.lease_seconds
        ):
            self._checked_at = now
            self._check_schema()
        # kept apart: an outage in between has another complaint, and does not mend it
        return _UNFIT if self._is_unfit else None

    def _check_schema(self) -> None:
        was_unfit, self._is_unfit = self._is_unfit, False
        try:
            self._check()
        except SetupError as error:
            self._is_unfit = True
            if not was_unfit:
                logger.warning("database is not fit", extra={"cause": str(error)})

    # told by the loop

    def turn(self, is_connected: bool | None = None) -> None:
        """Say that the loop turns, and whether it has its broker, if that is known."""
        if is_connected is not None and is_connected is not self._is_connected:
            self._is_connected = is_connected
            self._written_at = float("-inf")
        self._turned_at = datetime.now(UTC)
        if time.monotonic() >= self._written_at + _REST_SECONDS:
            self._write_now()

    def begin(self, check: Callable[[], object]) -> None:
        """Say that the worker takes messages; `check()` raises if the schema is bad."""
        self._check = check
        self._has_begun = self._is_connected = True
        self._turned_at = datetime.now(UTC)
        self._write_now()

    def work(self) -> None:
        """Say that the loop runs a task itself, and does not turn until that ends."""
        # counted: a step that runs one of Celery's tasks tells of both
        self._works += 1
        self._turned_at = datetime.now(UTC)
        self._write_now()

    def rest(self) -> None:
        """Say that the task has ended: nothing excuses the loop from turning now."""
        self._works = max(self._works - 1, 0)
        if self._works == 0:
            self._turned_at = datetime.now(UTC)
            self._write_now()

    def begin_to_stop(self) -> None:
        """Say that the worker ends; safe in a handler of signals."""
        patience = self._settings.drain_seconds + _MOST_SECONDS_TO_END
        self._turned_at = datetime.now(UTC)
        self._stops_until = excuse_for(self._turned_at, patience)
        self._write_now()

    def end(self) -> None:
        """Remove the file, if it is this worker's."""
        path, self._path = self._path, None
        if path is not None and os.getpid() == self._pid and self._is_ours(path):
            path.unlink(missing_ok=True)

    # the file

    def _take_over(self, path: Path) -> None:
        """Take the file, unless somebody else needs it."""
        try:
            other = read_health(path)
        except (OSError, ValueError):
            other = None
        if other is not None and self._is_taken(other):
            raise SettingsError(
                f"PLANS_HEALTH_FILE={path} is that of the worker {other.worker},"
                f" process {other.pid}; each needs its own: %n in it is a worker's name"
            )
        try:
            write_health(path, self._describe())
        except OSError as error:
            raise SettingsError(
                f"PLANS_HEALTH_FILE={path} cannot be written: {error.strerror}"
            ) from error

    def _is_taken(self, other: WorkerHealth) -> bool:
        # who is about to end gives way to who comes instead
        return (
            other.process is not None
            and other.pid != self._pid
            and other.state is not HealthState.DRAINING
            and is_alive(other)
        )

    def _is_ours(self, path: Path) -> bool:
        try:
            found = read_health(path)
        except (OSError, ValueError):
            return False
        return (found.pid, found.process) == (self._pid, self._process)

    def _write_now(self) -> None:
        if self._path is None or os.getpid() != self._pid:
            # none is asked for, or a child has inherited this
            return
        self._is_due = True
        if self._is_writing:
            # a signal came while the file was being written: it is written once more
            return
        self._is_writing = True
        try:
            while self._is_due:
                self._is_due = False
                self._write(self._path)
        finally:
            self._is_writing = False

    def _write(self, path: Path) -> None:
        self._written_at = time.monotonic()
        if self._stops_until is not None and not self._is_ours(path):
            # it is of who comes instead
            return
        try:
            write_health(path, self._describe())
        except OSError as error:
            if not self._has_failed:
                logger.warning("health not written", extra={"cause": str(error)})
            self._has_failed = True
        else:
            self._has_failed = False

    def _describe(self) -> WorkerHealth:
        state, reasons = self._judge()
        quiet_until = self._stops_until
        if quiet_until is None and self._works:
            quiet_until = excuse_for(self._turned_at, _MOST_SECONDS_OF_WORK)
        return WorkerHealth(
            state=state,
            at=self._turned_at,
            pid=self._pid,
            process=self._process,
            worker=self._hostname,
            reasons=reasons,
            quiet_until=quiet_until,
        )

    def _judge(self) -> tuple[HealthState, tuple[str, ...]]:
        if self._stops_until is not None:
            return HealthState.DRAINING, ("it was told to stop",)
        complaints = (
            None if self._is_connected else "the broker is not connected",
            self._find_complaint(),
        )
        reasons = tuple(filter(None, complaints))
        if not self._has_begun:
            return HealthState.STARTING, reasons
        return (HealthState.WAITING if reasons else HealthState.READY), reasons

    def _find_complaint(self) -> str | None:
        # a call that hangs raises nothing
        silent_seconds = time.monotonic() - self._answered_at
        is_late = silent_seconds > _MOST_BEATS * self._settings.beat_seconds
        return self._complaint or (_AWAY if is_late else None)
