"""How commands end: exit codes, and text that is fit to be printed.

Promises: the code depends on the kind of the error alone, so that scripts can rely on
it. Pure.
"""

from enum import IntEnum

from ..errors import (
    ActionNotFoundError,
    BatchNotFoundError,
    BatchRequestError,
    CursorError,
    ExecutionNotFoundError,
    FilterError,
    LocalStackError,
    ParameterError,
    PlanNotFoundError,
    PlansError,
    ScheduleError,
    ScheduleNotFoundError,
    ServerError,
    SetupError,
    SignalNotAwaitedError,
    StepNotFoundError,
)


class ExitCode(IntEnum):
    """What the shell is told; the help of `plans` explains each."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNAVAILABLE = 4
    WARNED = 5
    INTERRUPTED = 130


class UsageError(PlansError):
    """The command was called with something that it cannot work with."""


_CODES = (
    (UsageError, ExitCode.USAGE),
    (FilterError, ExitCode.USAGE),
    (BatchRequestError, ExitCode.USAGE),
    (CursorError, ExitCode.USAGE),
    (ExecutionNotFoundError, ExitCode.NOT_FOUND),
    (StepNotFoundError, ExitCode.NOT_FOUND),
    (SignalNotAwaitedError, ExitCode.NOT_FOUND),
    (PlanNotFoundError, ExitCode.NOT_FOUND),
    (BatchNotFoundError, ExitCode.NOT_FOUND),
    (ScheduleNotFoundError, ExitCode.NOT_FOUND),
    (ScheduleError, ExitCode.USAGE),
    (ActionNotFoundError, ExitCode.NOT_FOUND),
    (ServerError, ExitCode.UNAVAILABLE),
    # its parent asks for another installation, but this one may just be full or slow
    (LocalStackError, ExitCode.UNAVAILABLE),
    (SetupError, ExitCode.USAGE),
    (ParameterError, ExitCode.USAGE),
)


def exit_code(error: PlansError) -> ExitCode:
    """Return the code for an error: that of the first kind it is of, else FAILED."""
    return next(
        (code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILED
    )


def write_count(number: int, noun: str) -> str:
    """Return so many of something: `1 step`, `1,000 steps`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def printable(text: object) -> str:
    """Return the text on one line and without anything that a terminal would obey."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for letter in " ".join(str(text).split("\n"))
    )
