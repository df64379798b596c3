"""Where the worker of a rehearsal is to vanish, as by `kill -9`, and how often.

Pure: whoever plays the worker asks at each point that it reaches.
"""

from dataclasses import dataclass, field

from ..errors import RehearsalError
from ..faults import FaultPoint


@dataclass
class Kill:
    """A kill that is to come `times` times; `done` says how often it has come."""

    step: str | None
    point: FaultPoint
    times: int
    done: int = 0

    @property
    def is_due(self) -> bool:
        """Say whether it is to come once more."""
        return self.done < self.times


@dataclass
class Kills:
    """The kills of one rehearsal."""

    armed: list[Kill] = field(default_factory=list)

    def arm(self, step: str | None, point: str, times: int) -> Kill:
        """Let a kill come at a point of a step.

        Raises RehearsalError for what can never come.
        """
        kill = Kill(step, _read_point(point), times)
        if (kill.point is FaultPoint.SUBMITTED) != (step is None):
            raise RehearsalError(
                "at `submitted` the program that submits is killed, so it takes no"
                " step; every other point is one of a step, which has to be named"
            )
        if times < 1:
            raise RehearsalError(f"times={times} would kill nobody; it counts from 1")
        self.armed.append(kill)
        return kill

    def waits_at(self, point: FaultPoint) -> bool:
        """Say whether any kill is still to come at `point`."""
        return any(kill.is_due and kill.point is point for kill in self.armed)

    def strike(self, point: FaultPoint, step: str | None) -> bool:
        """Say whether a kill comes here, and count it."""
        for kill in self.armed:
            if kill.is_due and (kill.point, kill.step) == (point, step):
                kill.done += 1
                return True
        return False


def _read_point(point: str) -> FaultPoint:
    try:
        return FaultPoint(point)
    except ValueError:
        points = ", ".join(FaultPoint)
        raise RehearsalError(f"{point!r} is no point to kill at: {points}") from None
