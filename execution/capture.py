"""Hears what an action logs and prints, and takes it to the lines of its attempt.

Which attempt that is, a context variable says: so it is the right one with many threads
and tasks in a process, and none for what is told elsewhere. Whoever heard it before
still does: records reach the handlers of their loggers, and streams what is printed. A
stream that makes a record of each write, as Celery's in a worker, gets whole lines.

Not heard are processes that an action starts, threads that it starts without their
context, code that writes to file descriptors, and this package, Celery and its
transports. Knows neither steps nor how lines are written.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from threading import RLock
from typing import Any, NamedTuple, TypeVar

from .lines import MOST_LINE_CHARACTERS, LineCollector
from .observations import NO_CAPTURE, CaptureChoice, LineLevel

_T = TypeVar("_T")

_INTERNAL = frozenset(
    {str(__package__).partition(".")[0], "celery", "kombu", "amqp", "billiard"}
)
_CONTEXT_LOGGER = "plans.step"
"""Whose records come from `ctx.log`, which takes them to the lines itself; a package
of the user's may be called `plans` as well."""
_STREAMS = {"stdout": LineLevel.INFO, "stderr": LineLevel.WARNING}
_MOST_FRAMES = 16
"""As far away the handler of a logger can be that prints."""
_HANDLING = logging.Handler.handle.__code__


class _BegunLines:
    """What an attempt has printed of lines that are not at their end, by stream.

    For streams that take lines alone. Any thread may print, and so may a handler of
    signals that interrupts one.
    """

    def __init__(self) -> None:
        # a signal's handler may print while its own thread is in here
        self._lock = RLock()
        self._begun: dict[str, tuple[Any, str]] = {}
        self._has_ended = False

    def write(self, stream: Any, source: str, text: str) -> None:
        """Write all lines that are at their end, or too long to wait for it."""
        with self._lock:
            _, begun = self._begun.pop(source, (stream, ""))
            text = begun + text
            end = text.rfind("\n") + 1
            if self._has_ended or len(text) - end > MOST_LINE_CHARACTERS:
                end = len(text)
            elif text[end:]:
                self._begun[source] = stream, text[end:]
        if end:
            stream.write(text[:end])

    def flush(self, source: str) -> None:
        """Write what was begun of a line of one stream."""
        with self._lock:
            stream, begun = self._begun.pop(source, (None, ""))
        if begun:
            stream.write(begun)

    def end(self) -> None:
        """Write what was begun; from now on nothing waits."""
        with self._lock:
            # whoever writes meanwhile has put a piece here, or sees that none is kept
            self._has_ended = True
        for source in tuple(self._begun):
            self.flush(source)


class _Hearing(NamedTuple):
    """Where to take what is heard, and which of it."""

    lines: LineCollector
    least_level: int | None
    output: bool
    begun: _BegunLines


_hearing: ContextVar[_Hearing | None] = ContextVar("plans_hearing", default=None)
# a forked process is not its parent's attempt
os.register_at_fork(after_in_child=lambda: _hearing.set(None))


class Capture:
    """Lets code be heard as `choice` says."""

    def __init__(self, choice: CaptureChoice = NO_CAPTURE) -> None:
        """Hear what is chosen, once this process listens: see `listen`."""
        self._least_level = choice.logging.number if choice.logging else None
        self._output = choice.output
        self._is_on = choice != NO_CAPTURE

    def listen(self) -> None:
        """Begin to hear loggers and streams of this process, as they are now."""
        if self._least_level is not None:
            _RecordFactory.install()
        if self._output:
            _Tee.install()

    def call(
        self, lines: LineCollector, function: Callable[..., _T], *given: Any
    ) -> _T:
        """Return what `function` does, and take to `lines` what it tells meanwhile."""
        if not self._is_on:
            return function(*given)
        begun = _BegunLines()
        hearing = _Hearing(lines, self._least_level, self._output, begun)
        token = _hearing.set(hearing)
        try:
            return function(*given)
        finally:
            try:
                _unheard(hearing, begun.end)
            finally:
                _hearing.reset(token)


class _RecordFactory:
    """Makes the records of loggers as before, and takes them along.

    A handler would not see what loggers keep from the root, as those of Celery's tasks
    do, is lost when a project configures logging anew, and keeps `basicConfig` from it.
    """

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self.make = make

    @classmethod
    def install(cls) -> None:
        make = logging.getLogRecordFactory()
        if not isinstance(make, cls):
            logging.setLogRecordFactory(cls(make))

    def __call__(
        self, name: str, level: int, *others: Any, **named: Any
    ) -> logging.LogRecord:
        hearing = _hearing.get()
        record = _unheard(hearing, self.make, name, level, *others, **named)
        # without a name, it is made of one that was told elsewhere
        if hearing is not None and name and _is_heard(hearing, name, level):
            hearing.lines.tell_record(record, name)
        return record


def _is_heard(hearing: _Hearing, name: str, level: int) -> bool:
    least = hearing.least_level
    return (
        least is not None
        and level >= least
        and name != _CONTEXT_LOGGER
        and name.partition(".")[0] not in _INTERNAL
    )


class _Tee:
    """A stream that is written to as before, and heard."""

    def __init__(self, stream: Any, source: str) -> None:
        self._stream = stream
        self._source = source

    @classmethod
    def install(cls) -> None:
        for source in _STREAMS:
            stream = getattr(sys, source)
            # there is none in a process without a terminal, as under pythonw
            if stream is not None and not isinstance(stream, cls):
                setattr(sys, source, cls(stream, source))

    def write(self, text: Any) -> Any:
        hearing = _hearing.get()
        if hearing is not None and isinstance(text, str) and self._takes_lines:
            _unheard(hearing, hearing.begun.write, self._stream, self._source, text)
            written: Any = len(text)
        else:
            written = _unheard(hearing, self._stream.write, text)
        _hear(self._source, text)
        return written

    def flush(self) -> None:
        hearing = _hearing.get()
        if hearing is not None and self._takes_lines:
            _unheard(hearing, hearing.begun.flush, self._source)
        self._stream.flush()

    @property
    def _takes_lines(self) -> bool:
        # as Celery's, which makes a record of a logger of whatever is written at once:
        # of `print("a", "b")` three
        return isinstance(getattr(self._stream, "logger", None), logging.Logger)

    def writelines(self, lines: Iterable[Any]) -> None:
        for line in lines:
            self.write(line)

    @property
    def buffer(self) -> "_Tee":
        # a stream that has none, as Celery's, says so by itself
        return _Tee(self._stream.buffer, self._source)

    def __getattr__(self, name: str) -> Any:
        if name == "_stream":
            # of one that is being copied, and has nothing yet
            raise AttributeError(name)
        return getattr(self._stream, name)

    def __enter__(self) -> "_Tee":
        self._stream.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._stream.__exit__(*error)

    def __iter__(self) -> Any:
        return iter(self._stream)


def _unheard(
    hearing: _Hearing | None, function: Callable[..., _T], *given: Any, **named: Any
) -> _T:
    """Call what may lead to one that hears, as well, with a project's in between."""
    if hearing is None:
        return function(*given, **named)
    token = _hearing.set(None)
    try:
        return function(*given, **named)
    finally:
        _hearing.reset(token)


def _hear(source: str, text: object) -> None:
    hearing = _hearing.get()
    if hearing is None or not hearing.output:
        return
    if hearing.least_level is not None and _is_logged():
        return
    if isinstance(text, bytes | bytearray | memoryview):
        text = bytes(text).decode("utf-8", "replace")
    if isinstance(text, str):
        hearing.lines.write(_STREAMS[source], source, text)


def _is_logged() -> bool:
    """Say whether a handler of a logger prints: it was heard as a record."""
    frame = sys._getframe(2)  # noqa: SLF001  # the way to look at one's callers
    for _ in range(_MOST_FRAMES):
        if frame.f_code is _HANDLING:
            return True
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return False
