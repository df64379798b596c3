"""The lines of one attempt, from when they are told until they are written.

Promises: no value of a secret is in them; an attempt keeps no more than a bound of
them, in number and in size, and its last line says how many more there were; telling
never raises, unless a timeout comes meanwhile. Any thread may tell, and so may a
handler of signals that interrupts one. What a forked process tells is not its parent's,
and is not kept.

Knows neither who tells nor who writes.
"""

import logging
import os
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from threading import RLock
from typing import Any, TypeAlias

from .errors import ExecutionCancelledError, StepTimeoutError
from .observations import LineLevel
from .results import as_storable
from .secrets import StepSecrets

MOST_LINES = 10_000
"""As many lines of an attempt are kept."""
MOST_CHARACTERS = 2_000_000
"""So much of all lines of an attempt together."""
MOST_LINE_CHARACTERS = 4_000
_MOST_TRACE_CHARACTERS = 2_000
_MOST_FRAMES = 8
_MOST_SOURCE_CHARACTERS = 200
OWN_SOURCE = "plans"


@dataclass(frozen=True)
class Line:
    """A line that waits to be written; `told_at` is a time of the monotonic clock."""

    number: int
    level: LineLevel
    source: str
    message: str
    told_at: float

    def to_json(self, now: float) -> dict[str, Any]:
        """Return what is written; PostgreSQL takes the age from its own time."""
        return {
            "number": self.number,
            "level": self.level,
            "source": self.source,
            "message": self.message,
            "age": max(0.0, now - self.told_at),
        }


_forks = 0
"""How many forks lie between this process and the one that was started."""


def _count_fork() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_count_fork)


_Told: TypeAlias = tuple[LineLevel, str, str, float]
"""A line without its number."""


class LineCollector:
    """Keeps the lines of one attempt until they are written, up to a bound.

    Each step has one, and most tell nothing: it is made cheap.
    """

    _written = _characters = _dropped = 0
    _is_full = _has_ended = False

    def __init__(
        self, secrets: StepSecrets, expect: Callable[[], None] = lambda: None
    ) -> None:
        """Conceal `secrets`; call `expect` when there is something to be written."""
        self._secrets = secrets
        self._expect = expect
        self._forks = _forks
        # a signal's handler may tell while its own thread is in here
        self._lock = RLock()
        # numbered by their place: who interrupts the one who appends takes none away
        self._waiting: list[_Told] = []
        self._begun_lines: dict[str, tuple[LineLevel, str]] = {}

    def begin(self) -> None:
        """Begin with the lines of another attempt."""
        with self._lock:
            self._written = self._characters = self._dropped = 0
            self._is_full = self._has_ended = False
            self._begun_lines = {}

    def end(self) -> None:
        """Take no more: what was begun is a line now, and the last one counts."""
        if self._is_inherited:
            return
        with self._lock:
            for source, (level, text) in self._begun_lines.items():
                self._tell_printed(level, source, text)
            self._begun_lines = {}
            if self._dropped and not self._has_ended:
                self._append(LineLevel.WARNING, OWN_SOURCE, self._say_dropped())
            self._has_ended = True

    def give_up(self) -> None:
        """Take no more, and forget what was not written: the step is another's."""
        with self._lock:
            self._has_ended = True
            self._waiting.clear()

    def tell(self, level: LineLevel, source: str, text: str) -> None:
        """Keep a line."""
        if self._is_inherited:
            return
        with self._lock:
            self._keep(level, source, "" if self._is_full else self._fit(text))

    def tell_record(self, record: logging.LogRecord, source: str) -> None:
        """Keep a line for a record of a logger, with the end of its traceback."""
        if self._is_inherited:
            return
        message = self._fit(write_message(record))
        trace = self._secrets.conceal(_write_trace(record))[-_MOST_TRACE_CHARACTERS:]
        text = f"{message}\n{as_storable(trace)}" if trace else message
        named = self._fit(source)[:_MOST_SOURCE_CHARACTERS]
        with self._lock:
            self._keep(LineLevel.of(record.levelno), named, text)

    def write(self, level: LineLevel, source: str, text: str) -> None:
        """Keep what is printed to a stream, line by line; blank ones are not kept."""
        if self._is_inherited:
            return
        with self._lock:
            if self._has_ended:
                return
            _, begun = self._begun_lines.pop(source, (level, ""))
            text = begun + text
            start = 0
            while (end := text.find("\n", start)) >= 0 and not self._is_full:
                self._tell_printed(level, source, text[start:end])
                start = end + 1
            if self._is_full:
                self._dropped += text.count("\n", start)
                return
            # of what is written over the same line again and again, the last counts
            start = max(start, text.rfind("\r", start, len(text) - 1) + 1)
            rest = text[start : start + self._most_read + 1]
            if rest:
                self._begun_lines[source] = level, rest

    def look(self, most: int) -> list[Line]:
        """Return the first lines that wait, `most` at most; they go on waiting."""
        with self._lock:
            told = enumerate(self._waiting[:most], start=self._written + 1)
            return [Line(number, *one) for number, one in told]

    def settle(self, written: int) -> None:
        """Forget the first lines that wait, `written` in number."""
        with self._lock:
            del self._waiting[:written]
            self._written += written

    @property
    def has_any(self) -> bool:
        """Say whether a line waits."""
        return bool(self._waiting) and not self._is_inherited

    @property
    def _is_inherited(self) -> bool:
        # a thread that held the lock at the fork will never give it back
        return self._forks != _forks

    @property
    def _most_read(self) -> int:
        # a secret that begins within the bound is looked at whole
        return MOST_LINE_CHARACTERS + self._secrets.most_characters

    def _tell_printed(self, level: LineLevel, source: str, text: str) -> None:
        text = text.rstrip("\r").rpartition("\r")[2]
        if text and not text.isspace():
            self.tell(level, source, text)

    def _fit(self, text: str) -> str:
        """Return a text that can be stored, without secrets, within the bound."""
        is_cut = len(text) > self._most_read
        message = self._secrets.conceal(text[: self._most_read])
        if is_cut and (unsure := self._secrets.most_characters):
            # a secret may be cut there, and is not recognised then
            message = message[:-unsure]
        return as_storable(message[:MOST_LINE_CHARACTERS])

    def _keep(self, level: LineLevel, source: str, message: str) -> None:
        if self._has_ended:
            return
        self._characters += len(message)
        if (
            self._written + len(self._waiting) >= MOST_LINES
            or self._characters > MOST_CHARACTERS
        ):
            # for good: a shorter line that still fits would seem to follow the last
            self._is_full = True
            self._dropped += 1
        else:
            self._append(level, source, message)

    def _append(self, level: LineLevel, source: str, message: str) -> None:
        is_first = not self._waiting
        self._waiting.append((level, source, message, time.monotonic()))
        if is_first:
            self._expect()

    def _say_dropped(self) -> str:
        return (
            f"{self._dropped:,} more lines are not kept: of an attempt,"
            f" {MOST_LINES:,} lines and {MOST_CHARACTERS:,} characters are"
        )


def write_message(record: logging.LogRecord) -> str:
    """Return the message of a record, whatever its arguments do.

    The end of the attempt, which may come from outside while they are shown, is raised.
    """
    try:
        return record.getMessage()
    except (StepTimeoutError, ExecutionCancelledError):
        raise
    except Exception:  # noqa: BLE001  # arguments that do not fit, or raise when shown
        said = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        return f"{said} (and arguments that do not fit)"


def _write_trace(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    try:
        lines = traceback.format_exception(*record.exc_info, limit=-_MOST_FRAMES)
    except (StepTimeoutError, ExecutionCancelledError):
        raise
    except Exception:  # noqa: BLE001  # users' classes: notes, say, that raise when read
        return "<the traceback could not be written>"
    return "".join(lines).rstrip()
