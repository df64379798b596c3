"""`--at` and `--in`: when an execution is to begin.

Promises: a moment needs its offset from UTC, for nobody knows the time zone of a shell;
a length of time counts from the clock of the database, which decides when it is over.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from ..durations import DurationError, parse_duration_seconds
from ..moments import MomentError, parse_moment
from .exits import UsageError

if TYPE_CHECKING:
    from ..engine import ExecutionEngine

At = Annotated[
    str | None,
    typer.Option(
        metavar="MOMENT",
        help="Begin then, such as 2026-12-01T08:00:00+01:00, and not at once.",
    ),
]
In = Annotated[
    str | None,
    typer.Option("--in", metavar="DURATION", help="Begin after so long, such as 2h."),
]


def check_delay(at: str | None, delay: str | None) -> None:
    """Raise UsageError if these say no moment, before any server is asked."""
    if at is not None and delay is not None:
        raise UsageError("give --at or --in, and not both")
    read_moment_option("--at", at)
    if delay is not None:
        read_duration_option("--in", delay)


def find_moment(
    engine: "ExecutionEngine", at: str | None, delay: str | None
) -> datetime | None:
    """Return the moment that is meant, if one is."""
    if delay is None:
        return read_moment_option("--at", at)
    return engine.read_clock() + timedelta(seconds=read_duration_option("--in", delay))


def read_moment_option(option: str, text: str | None) -> datetime | None:
    """Return the moment that an option names; raises UsageError."""
    if text is None:
        return None
    try:
        return parse_moment(text)
    except MomentError as error:
        raise UsageError(f"{option} {error}") from error


def read_duration_option(option: str, text: str) -> float:
    """Return the seconds that an option names; raises UsageError."""
    try:
        return parse_duration_seconds(text)
    except DurationError as error:
        raise UsageError(f"{option} {text}: {error}") from error
