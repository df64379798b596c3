"""Lets a claimed step sleep in the database, and ends it once it has slept.

Promises: a step that sleeps holds no slot and no message, and wakes by the database's
clock: never early, and also when every process was started anew meanwhile. Must not
know who wakes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .answers import Claim, Slept
from .attempts import Outcome, StepParkedError, end_by
from .built_in import SLEEP_ACTION
from .durations import DurationError, parse_duration_seconds
from .errors import ExecutionError, ExpressionError
from .evaluation import evaluate_inputs
from .moments import MomentError, parse_moment
from .recorder import StepRecorder
from .states import StepStatus


@dataclass(frozen=True)
class StepSleeps:
    """Begins and ends the sleep of steps."""

    recorder: StepRecorder

    def begin(self, claim: Claim) -> Outcome | None:
        """Let the step sleep; None when it does something else.

        An outcome is one that ends the step: it has slept, or need not. Raises
        StepParkedError when it sleeps, or belongs to somebody else.
        """
        if claim.action != SLEEP_ACTION:
            return None
        if claim.recorded_input is not None:
            # recorded with its sleep, which is over: else it would not be claimed
            return Outcome(StepStatus.COMPLETED)
        recorded = None
        try:
            inputs, recorded = evaluate_inputs(claim)
            seconds, until = _read(claim, inputs)
        except ExecutionError as error:
            return end_by(error, claim, recorded)
        answer = self.recorder.ask(
            lambda: self.recorder.records.sleep(
                claim.held, recorded_input=recorded, seconds=seconds, until=until
            )
        )
        match answer.outcome:
            case Slept.OVER:
                return Outcome(StepStatus.COMPLETED, recorded)
            case Slept.REFUSED:
                return Outcome(StepStatus.CANCELLED, recorded)
            case Slept.ASLEEP | Slept.STALE:
                execution_id = claim.held.execution_id
                self.recorder.tell(execution_id, answer.last_seq, answer.windows)
                raise StepParkedError


def _read(
    claim: Claim, inputs: Mapping[str, Any]
) -> tuple[float | None, datetime | None]:
    """Return for how many seconds a step is to sleep, or until when."""
    try:
        if "until" in inputs:
            return None, parse_moment(inputs["until"])
        return parse_duration_seconds(str(inputs["for"])), None
    except (MomentError, DurationError) as error:
        field = "sleep_until" if "until" in inputs else "sleep"
        raise ExpressionError(f"steps.{claim.step}.{field}: {error}") from error
