"""What the code of a step is told by its worker while it runs, and how it ends by that.

Two things can be: that nobody wants the work any more, when it may take its time to
end; and that the attempt is to end now. Must not know how the worker says so.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from .errors import ExecutionCancelledError, StepTimeoutError


@dataclass(frozen=True)
class Summons:
    """That an attempt is to end, and the error by which it does; another is more."""

    error: ExecutionCancelledError | StepTimeoutError


@runtime_checkable
class Summoned(Protocol):
    """Who knows whether the attempt of this thread is to end: its context."""

    def find_summons(self) -> Summons | None:
        """Return what the attempt is told, None while it may go on; asked often."""


class StepCalls(Protocol):
    """What the worker calls out to whoever runs one claimed step; cheap to ask."""

    def is_told(self) -> bool:
        """Say whether nobody wants the step's work any more."""

    def heed(self, attempt: int) -> bool:
        """Say whether that attempt is to end now; who asks this will end it then."""


class Hearing:
    """Hears, for one step, what its worker calls out; without calls, nothing."""

    def __init__(self, step: str, calls: StepCalls | None) -> None:
        """Hear `calls` for the step of that name."""
        self._step = step
        self._calls = calls
        self._found: dict[tuple[int, bool], Summons] = {}

    @property
    def is_called(self) -> bool:
        """Whether there is anybody who calls."""
        return self._calls is not None

    @property
    def is_told(self) -> bool:
        """Whether nobody wants the step's work any more."""
        return self._calls is not None and self._calls.is_told()

    def find(self, attempt: int) -> Summons | None:
        """Return what an attempt is told; the same answer while it is the same."""
        if self._calls is None:
            return None
        is_asked = self._calls.heed(attempt)
        is_told = self._calls.is_told()
        if not is_asked and not is_told:
            return None
        key = (attempt, is_asked)
        if key not in self._found:
            error = build_ending(self._step, attempt, is_told=is_told)
            self._found[key] = Summons(error)
        return self._found[key]


def build_ending(
    step: str, attempt: int, *, is_told: bool
) -> ExecutionCancelledError | StepTimeoutError:
    """Return the error by which an attempt ends that is asked to."""
    if is_told:
        return ExecutionCancelledError(
            f"attempt {attempt} of step {step} was ended: its execution is ending"
        )
    return StepTimeoutError(f"attempt {attempt} of step {step} outlived its timeout")
