"""What steps tell: levels of lines, what is captured, and how it is read back.

Promises: a level is one of five, whatever number a logger gives it. Pure: knows neither
who tells nor where it is kept.
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self


class LineLevel(StrEnum):
    """How much a line matters; the later ones matter more."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @classmethod
    def of(cls, number: int) -> "LineLevel":
        """Return the highest level that `number`, one of logging's, reaches."""
        reached = [level for level in cls if level.number <= number]
        return reached[-1] if reached else cls.DEBUG

    @property
    def number(self) -> int:
        """Return the number that logging has for the level."""
        return _NUMBERS[self]

    def and_above(self) -> tuple["LineLevel", ...]:
        """Return this level and those that matter more."""
        return tuple(level for level in LineLevel if level.number >= self.number)


_NUMBERS = {
    LineLevel.DEBUG: logging.DEBUG,
    LineLevel.INFO: logging.INFO,
    LineLevel.WARNING: logging.WARNING,
    LineLevel.ERROR: logging.ERROR,
    LineLevel.CRITICAL: logging.CRITICAL,
}


@dataclass(frozen=True)
class CaptureChoice:
    """What is stored of an action beside what it tells its context.

    `logging` is the level from which on the records of loggers are, None for none of
    them; `output` says whether what is printed is.
    """

    logging: LineLevel | None = LineLevel.INFO
    output: bool = True

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the choice that a text states: `logging:warning,output`, or `off`.

        Raises ValueError that says what can stand there.
        """
        words = [word.strip().lower() for word in text.split(",")]
        if words == ["off"]:
            return cls(None, output=False)
        level, output = None, False
        for word in words:
            kind, _, detail = word.partition(":")
            if kind == "logging" and detail in {"", *LineLevel}:
                level = LineLevel(detail or LineLevel.INFO)
            elif word == "output":
                output = True
            else:
                raise ValueError(
                    f"{word!r} is none of logging, logging:LEVEL, output, off;"
                    f" a LEVEL is one of {', '.join(LineLevel)}"
                )
        return cls(level, output)

    def __str__(self) -> str:
        """Return it as `read` reads it."""
        level = f"logging:{self.logging}" if self.logging else ""
        return ",".join(filter(None, (level, "output" * self.output))) or "off"


USUAL_CAPTURE = CaptureChoice()
NO_CAPTURE = CaptureChoice(None, output=False)


@dataclass(frozen=True)
class LogLine:
    """A line that a step told.

    `id` rises with each line of an execution, with gaps, and serves as a cursor;
    `number` counts the lines of the attempt from 1. `source` is `ctx.log`, the name of
    a logger, `stdout` or `stderr`; `plans` for what this package says of the others.
    """

    id: int
    execution_id: str
    step: str
    attempt: int
    number: int
    level: LineLevel
    source: str
    message: str
    at: datetime


@dataclass(frozen=True)
class Metric:
    """A number that a step reported."""

    execution_id: str
    step: str
    attempt: int
    name: str
    value: float
    at: datetime
