"""The clock of the tests, which shows PostgreSQL's time and what it was moved by.

It knows nothing of what time brings; whoever lets time pass does.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from ..durations import DurationError, parse_duration_seconds
from ..errors import RehearsalError


class Clock:
    """The time of one rehearsal.

    `stands_still` says that runs do not move it by themselves to the next retry, wait
    or deadline.
    """

    def __init__(
        self, read: Callable[[], datetime], pass_seconds: Callable[[float], None]
    ) -> None:
        """Show what `read()` does; time passes by `pass_seconds(seconds)`."""
        self._read = read
        self._pass_seconds = pass_seconds
        self.stands_still = False

    @property
    def now(self) -> datetime:
        """The time of the tests, in UTC."""
        return self._read()

    def move(self, duration: str | float | timedelta) -> None:
        """Let a duration pass at once: `2h`, seconds, or a timedelta.

        Within an action, its attempt may outlive its timeout, and StepTimeoutError is
        raised. Raises RehearsalError for what is no duration, or leads back.
        """
        self._pass_seconds(read_seconds(duration))


def read_seconds(duration: str | float | timedelta) -> float:
    """Return a duration in seconds; raises RehearsalError for what is none."""
    match duration:
        case str():
            try:
                return parse_duration_seconds(duration)
            except DurationError as error:
                raise RehearsalError(f"the duration {duration!r} {error}") from error
        case timedelta():
            seconds = duration.total_seconds()
        case _:
            seconds = float(duration)
    if not seconds >= 0:
        raise RehearsalError(f"the clock goes forward only, not by {seconds:g} s")
    return seconds
