"""Writes what an attempt tells: as it runs, and the rest when it ends.

A line waits half a second at most: then one thread of the process writes what all its
attempts have told, a call for each that has told something. Nothing runs where nothing
is told. Every write carries the token of its attempt, and lines their numbers, so that
after an unknown commit the same lines can be written again and stand there once.

Knows neither what the lines are nor where they come from.
"""

import json
import logging
import os
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import RLock, Thread
from typing import Any, Protocol, TypeVar

from .answers import HeldStep
from .database import DatabaseUnavailableError
from .errors import DatabaseError
from .lines import OWN_SOURCE, LineCollector
from .observations import LineLevel
from .records import StepRecords
from .secrets import StepSecrets

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_PAUSE_SECONDS = 0.5
_LINGER_SECONDS = 5.0
"""How long the thread keeps its connection for more to write, before it ends."""
_MOST_LINES_AT_ONCE = 500
"""So that no call takes long: it holds the lock of its execution."""
_MOST_METRICS_AT_ONCE = 500
"""For the same reason."""
MOST_METRICS = 10_000
"""As many metrics of an attempt wait to be written."""
_DROPPED = f"more than {MOST_METRICS:,} metrics wait to be written; others are not kept"


class LineWriter:
    """The thread of a process that writes the lines of attempts that run."""

    def __init__(
        self,
        pause_seconds: float = _PAUSE_SECONDS,
        linger_seconds: float = _LINGER_SECONDS,
    ) -> None:
        """Write after a pause; end when nothing was told for as long as it lingers."""
        self._pause_seconds = pause_seconds
        self._linger_seconds = linger_seconds
        self._expected: SimpleQueue[Callable[[], None]] = SimpleQueue()
        # told by code that a signal interrupts, whose handler may tell as well
        self._lock = RLock()
        self._thread: Thread | None = None
        self._pid = os.getpid()

    def expect(self, write: Callable[[], None]) -> None:
        """Call `write` a pause later, in the thread."""
        if os.getpid() != self._pid:
            # a process that an action has forked: what it tells is not its parent's
            return
        with self._lock:
            self._expected.put(write)
            if self._thread is None or not self._thread.is_alive():
                self._thread = Thread(
                    target=self._write_expected, name="plans-lines", daemon=True
                )
                try:
                    self._thread.start()
                except RuntimeError:
                    # there are too many: the end of the attempt writes all
                    self._thread = None

    def _write_expected(self) -> None:
        while True:
            try:
                write = self._expected.get(timeout=self._linger_seconds)
            except Empty:
                with self._lock:
                    if self._expected.empty():
                        self._thread = None
                        return
                continue
            time.sleep(self._pause_seconds)
            # those that come meanwhile wait for the next pause
            for _ in range(self._expected.qsize()):
                _call(write)
                write = self._expected.get()
            _call(write)


def _call(write: Callable[[], None]) -> None:
    try:
        write()
    except DatabaseError as error:
        logger.warning("lines of a step are not stored", extra={"cause": str(error)})


class Asking(Protocol):
    """Makes a call until it is answered."""

    def __call__(self, call: Callable[[], _T]) -> _T:
        """Return what `call` answers."""
        ...


class Telling:
    """What one attempt tells that is no state of its step: lines and metrics."""

    def __init__(
        self,
        held: HeldStep,
        records: StepRecords,
        secrets: StepSecrets,
        ask: Asking,
        writer: LineWriter | None = None,
    ) -> None:
        """Write for `held`; what has to be written is `ask`ed until it is answered.

        Without a `writer`, lines are written when the attempt ends.
        """
        self._held = held
        self._records = records
        self._ask = ask
        self._writer = writer
        self._writing = RLock()
        self._is_writing = False
        self._metrics: list[dict[str, Any]] = []
        self._has_dropped = False
        self.lines = LineCollector(secrets, self._expect_write)

    def add_metric(self, name: str, value: float) -> None:
        """Keep a number, up to a bound; it is written when the attempt ends."""
        if len(self._metrics) < MOST_METRICS:
            self._metrics.append({"name": name, "value": value})
        elif not self._has_dropped:
            self._has_dropped = True
            self.lines.tell(LineLevel.WARNING, OWN_SOURCE, _DROPPED)

    def write(self) -> None:
        """Write all that waits, however long PostgreSQL is away."""
        if not (self.lines.has_any or self._metrics):
            return
        # what the thread writes at this moment comes first
        with self._writing:
            if self._is_writing:
                # a handler of signals asks, who interrupts this very loop
                return
            self._is_writing = True
            try:
                while self.lines.has_any or self._metrics:
                    self._ask(self._write_batch)
            finally:
                self._is_writing = False

    def _expect_write(self) -> None:
        if self._writer is not None:
            self._writer.expect(self._try_to_write)

    def _try_to_write(self) -> None:
        with self._writing:
            if not self.lines.has_any:
                return
            try:
                self._write_batch(with_metrics=False)
            except DatabaseUnavailableError:
                self._expect_write()
                return
        if self.lines.has_any:
            self._expect_write()

    def _write_batch(self, *, with_metrics: bool = True) -> None:
        lines = self.lines.look(_MOST_LINES_AT_ONCE)
        metrics = self._metrics[:_MOST_METRICS_AT_ONCE] if with_metrics else []
        now = time.monotonic()
        has_landed = self._records.append_observations(
            self._held,
            json.dumps([line.to_json(now) for line in lines]),
            json.dumps(metrics),
        )
        if has_landed:
            self.lines.settle(len(lines))
        else:
            self.lines.give_up()
        # and no others: another thread may have added one meanwhile
        del self._metrics[: len(metrics)]
