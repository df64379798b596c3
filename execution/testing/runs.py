"""An execution of a rehearsal, as tests ask about it: how it ended, and how it came so.

Every answer is read from PostgreSQL when it is asked for. Assertions with a name are
there where their message says more than a comparison does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

from ..engine import ExecutionEngine
from ..results import ErrorRecord, ExecutionSummary
from ..states import ExecutionStatus, StepStatus
from .timeline import Timeline

_MOST_EVENTS = 100_000
_ENDS = ("completed", "failed", "skipped", "cancelled", "timed_out")


@dataclass(frozen=True)
class StepRun:
    """A step: how it stands, what it was given and what it came to."""

    name: str
    action: str
    status: StepStatus
    attempts: int
    """How many attempts have begun."""
    inputs: Any
    """What its inputs were, once they were evaluated."""
    result: Any
    error: ErrorRecord | None
    reason: str | None
    """Why it was skipped or cancelled."""
    child_id: str | None
    """The execution that it runs, if it runs a plan."""


class Performer(Protocol):
    """Who lets executions go on, and knows what its reads do not tell."""

    @property
    def engine(self) -> ExecutionEngine:
        """The engine of the rehearsal."""

    def go_on(self, execution_id: str, *, fast_forward: bool | None) -> str | None:
        """Let an execution go on; return what stands in its way, if anything does."""

    def read_values(self, execution_id: str) -> Mapping[str, tuple[Any, Any]]:
        """Return the inputs and the result of each step."""


class PlanRun:
    """An execution of a plan, in a test."""

    def __init__(self, execution_id: str, performer: Performer) -> None:
        """Tell of an execution; `go_on` lets it run."""
        self.id = execution_id
        self.obstacle: str | None = None
        """Why it has not ended when the last `go_on` came back; None if it has."""
        self._performer = performer

    def go_on(self, *, fast_forward: bool | None = None) -> "PlanRun":
        """Let it run until it has ended, or nothing can go on; then see `obstacle`.

        With `fast_forward` the clock moves to the next retry, wait or deadline when
        nothing else is left to do: by default unless the clock stands still.
        """
        self.obstacle = self._performer.go_on(self.id, fast_forward=fast_forward)
        return self

    @property
    def summary(self) -> ExecutionSummary:
        """The execution, as the engine tells of it."""
        return self._performer.engine.get_status(self.id)

    @property
    def status(self) -> ExecutionStatus:
        """Its state, which compares with its name: `completed`, `failed` ….."""
        return self.summary.status

    @property
    def result(self) -> Any:
        """Its result; None unless it has completed."""
        summary = self.summary
        if not summary.has_ended:
            return None
        return self._performer.engine.get_result(self.id).value

    @property
    def error(self) -> ErrorRecord | None:
        """The error that it ended with, if it did."""
        return self.summary.error

    @property
    def variables(self) -> Mapping[str, Any]:
        """What its steps have set."""
        return self.summary.variables

    @property
    def steps(self) -> dict[str, StepRun]:
        """Its steps by their names, in their order."""
        values = self._performer.read_values(self.id)
        return {
            step.name: StepRun(
                step.name,
                step.action,
                step.status,
                step.attempt,
                *values[step.name],
                step.error,
                step.reason,
                step.child_id,
            )
            for step in self._performer.engine.list_steps(self.id)
        }

    @property
    def timeline(self) -> Timeline:
        """Everything that has happened to it."""
        events = self._performer.engine.list_events(self.id, limit=_MOST_EVENTS)
        return Timeline.from_events(events)

    # assertions

    def assert_completed(self) -> "PlanRun":
        """Fail with the timeline, unless it has completed; return the run itself."""
        self._require(self.status is ExecutionStatus.COMPLETED, "it has not completed")
        return self

    def assert_order(self, *steps: str) -> None:
        """Fail unless each step has ended before the next one first started."""
        for earlier, later in pairwise(steps):
            ended = self._find(earlier, _ENDS, is_last=True)
            started = self._find(later, ("started",), is_last=False)
            self._require(
                ended is not None and started is not None and ended < started,
                f"{earlier} has not ended before {later} started",
            )

    def assert_attempts(self, step: str, attempts: int) -> None:
        """Fail unless so many attempts of a step have begun."""
        found = self._find_step(step).attempts
        self._require(
            found == attempts, f"{found} attempts of {step} have begun, not {attempts}"
        )

    def assert_not_started(self, *steps: str) -> None:
        """Fail if any of the steps has started."""
        for step in steps:
            self._find_step(step)
            self._require(
                "started" not in self.timeline.of(step), f"{step} has started"
            )

    def __str__(self) -> str:
        """Show how it stands, what stands in its way, and its timeline."""
        summary = self.summary
        lines = [f"execution {self.id} of plan {summary.plan} is {summary.status}"]
        if summary.error is not None:
            lines.append(f"error: {summary.error.code} {summary.error.message}")
        if self.obstacle is not None:
            lines.append(f"it cannot go on: {self.obstacle}")
        return "\n".join([*lines, str(self.timeline)])

    def __repr__(self) -> str:
        """Show it shortly: reports of tests show the rest."""
        return f"<PlanRun {self.id}>"

    def _find_step(self, name: str) -> StepRun:
        steps = self.steps
        self._require(
            name in steps, f"there is no step {name}; there are {', '.join(steps)}"
        )
        return steps[name]

    def _find(self, step: str, what: tuple[str, ...], *, is_last: bool) -> int | None:
        self._find_step(step)
        found = [
            index
            for index, moment in enumerate(self.timeline)
            if moment.step == step and moment.what in what
        ]
        return found[-1 if is_last else 0] if found else None

    def _require(self, is_so: bool, complaint: str) -> None:
        __tracebackhide__ = True
        if not is_so:
            raise AssertionError(f"{complaint}\n{self}")
