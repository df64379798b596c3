"""Counts a failed attempt, and says how the next one begins: here, later, or never.

Promises: an attempt is counted in PostgreSQL before the next begins. What cannot be
evaluated because a store is away is an attempt that failed, and no end of the step.
Must not know what an attempt does.
"""

from collections.abc import Callable
from dataclasses import dataclass

from .answers import Claim, Retried, RetryAnswer
from .attempts import (
    NoMoreAttemptsError,
    Outcome,
    StepParkedError,
    describe_error,
)
from .context import Context
from .errors import PayloadError
from .recorder import StepRecorder
from .states import StepStatus

MOST_SECONDS_IN_PLACE = 2.0
"""The longest wait between two attempts that a slot is held for."""


@dataclass(frozen=True)
class StepRetrials:
    """What follows an attempt that failed."""

    recorder: StepRecorder

    def build(
        self, claim: Claim, context: Context, recorded: str
    ) -> Callable[[str, float, tuple[str, ...]], None]:
        """Return how `StepAttempts` begins another attempt after an error."""

        def begin_retry(
            error: str, wait_seconds: float, blamed: tuple[str, ...]
        ) -> None:
            # a process that stops does not sit a wait out, however short
            is_stopping = self.recorder.patience.is_stopping()
            parks = wait_seconds > MOST_SECONDS_IN_PLACE or is_stopping
            answer = self._count(
                claim,
                context.attempt,
                recorded,
                error,
                wait_seconds,
                parks=parks,
                blamed=blamed,
            )
            context.begin_attempt(answer.attempt)

        return begin_retry

    def put_off(self, claim: Claim, error: PayloadError) -> Outcome:
        """Try a step later whose expressions look into what is away; or say its end.

        Its inputs are not recorded: they are evaluated again. Raises StepParkedError
        when the step waits.
        """
        failures = claim.failures + 1
        policy = claim.retry
        record = describe_error(
            error, claim, is_used_up=failures >= policy.max_attempts
        )
        if not policy.allows(error, failures=failures):
            return Outcome(StepStatus.FAILED, error=record)
        wait_seconds = policy.compute_wait_seconds(failures, error)
        try:
            self._count(claim, claim.attempt, None, record, wait_seconds, parks=True)
        except NoMoreAttemptsError:
            return Outcome(StepStatus.FAILED, error=record)
        # the answer to a step that parks is never that it is tried here
        raise StepParkedError

    def _count(
        self,
        claim: Claim,
        attempt: int,
        recorded: str | None,
        error: str,
        wait_seconds: float,
        *,
        parks: bool,
        blamed: tuple[str, ...] = (),
    ) -> RetryAnswer:
        """Count a failed attempt; the answer is that the next begins in place."""
        answer = self.recorder.ask(
            lambda: self.recorder.records.retry(
                claim.held,
                attempt=attempt,
                recorded_input=recorded,
                error=error,
                wait_seconds=wait_seconds,
                parks=parks,
                blamed=blamed,
            )
        )
        if answer.outcome is Retried.REFUSED:
            raise NoMoreAttemptsError
        execution_id = claim.held.execution_id
        self.recorder.tell(execution_id, answer.last_seq, answer.windows)
        if answer.outcome is Retried.WAITING:
            raise StepParkedError
        return answer
