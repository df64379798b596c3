"""Gives a step back whose code has ended itself at a checkpoint.

Promises: the step is let go of when its code has ended, `finally` and all; it counts
neither as an attempt that failed nor as a loss. Must not know why it was asked to.
"""

from dataclasses import dataclass

from .answers import Claim
from .attempts import Outcome, StepParkedError, describe_error
from .context import Context
from .drains import YieldCause, Yielded
from .errors import ExecutionCancelledError, StaleLeaseError
from .recorder import StepRecorder
from .states import StepStatus


@dataclass(frozen=True)
class StepYields:
    """What follows an attempt that yields."""

    recorder: StepRecorder

    def give_back(
        self, claim: Claim, context: Context, recorded_input: str, cause: YieldCause
    ) -> Outcome:
        """Give a claimed step back; or say how it ends, where none may follow.

        Raises StepParkedError once it is given back, StaleLeaseError when it belongs to
        somebody else by now.
        """
        # what the code told on the way is told before it is somebody else's
        context.end_attempt()
        answer = self.recorder.ask(
            lambda: self.recorder.records.yield_step(
                claim.held,
                attempt=context.attempt,
                cause=cause,
                recorded_input=recorded_input,
            )
        )
        match answer.outcome:
            case Yielded.YIELDED:
                self.recorder.tell(
                    claim.held.execution_id, answer.last_seq, answer.windows
                )
                raise StepParkedError
            case Yielded.REFUSED:
                return _cancel(claim, recorded_input)
            case Yielded.STALE:
                raise StaleLeaseError(
                    f"step {claim.step} of execution {claim.held.execution_id} was"
                    " taken from this attempt when it yielded"
                )


def _cancel(claim: Claim, recorded_input: str) -> Outcome:
    error = ExecutionCancelledError(
        f"step {claim.step} yielded, and execution {claim.held.execution_id} is ending"
    )
    record = describe_error(error, claim)
    return Outcome(StepStatus.CANCELLED, recorded_input, error=record)
