"""Lets a claimed step wait for steps of its own: an item each, or one iteration.

Promises: a step that waits is held no more, and whoever asks again after an unknown
commit is answered the same. What cannot be evaluated ends the step. Must not know how a
step is called, nor what becomes of those that it waits for.
"""

from collections.abc import Callable
from dataclasses import dataclass

from .answers import (
    Claim,
    ExpandAnswer,
    Expanded,
    RepeatAnswer,
    Repeated,
    Rider,
)
from .attempts import Outcome, StepParkedError, end_by
from .errors import ExecutionError
from .evaluation import evaluate_items
from .judgements import judge_loop
from .recorder import StepRecorder
from .ride import Ride
from .states import StepStatus


@dataclass(frozen=True)
class StepParts:
    """What steps consist of, added to their executions.

    `board_next(ride)` draws a token for the next step of a ride, if it may go on.
    """

    recorder: StepRecorder
    board_next: Callable[[Ride], Rider | None]

    def expand(self, claim: Claim) -> Outcome | None:
        """Let the step wait for its items; None when it is to be called itself.

        Raises StepParkedError when it waits.
        """
        if claim.for_each is None:
            return None
        try:
            items = evaluate_items(claim)
        except ExecutionError as error:
            return end_by(error, claim)
        write = self.recorder.records.expand
        answer = self.recorder.ask(
            lambda: write(claim.held, attempt=claim.attempt, items=items)
        )
        match answer.outcome:
            case Expanded.EMPTY:
                return Outcome(StepStatus.COMPLETED, None)
            case Expanded.REFUSED:
                return Outcome(StepStatus.CANCELLED, None)
            case Expanded.STALE | Expanded.EXPANDED | Expanded.REPEATED:
                self._tell(claim, answer)
                raise StepParkedError

    def repeat(self, ride: Ride) -> Outcome | None:
        """Let a loop wait for its next iteration; None when the step is no loop.

        Raises StepParkedError when it waits; the ride may have boarded the iteration.
        """
        claim, loop = ride.claim, ride.claim.loop
        if loop is None:
            return None
        if end := judge_loop(claim, loop):
            return end
        rider, epoch = self.board_next(ride), ride.delivery.epoch
        answer = self.recorder.ask(
            lambda: self.recorder.records.repeat(
                claim.held, index=loop.begun, epoch=epoch, rider=rider
            )
        )
        match answer.outcome:
            case Repeated.REFUSED:
                return Outcome(StepStatus.CANCELLED)
            case Repeated.STALE | Repeated.BEGUN | Repeated.REPEATED:
                if answer.next_claim is not None:
                    ride.board(answer.next_claim)
                self._tell(claim, answer)
                raise StepParkedError

    def _tell(self, claim: Claim, answer: ExpandAnswer | RepeatAnswer) -> None:
        execution_id = claim.held.execution_id
        self.recorder.tell(execution_id, answer.last_seq, answer.windows)
