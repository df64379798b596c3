"""Uses a result that is there already, and lets others use one that has just been made.

Promises: what is found is not older than the step allows, and the timeline says whose
it was; what is kept is all that came of a step. Knows neither how results are recorded
nor what they are known by.
"""

from dataclasses import replace

from execution.answers import Claim, Reused
from execution.attempts import Outcome
from execution.caching import CachePlace
from execution.errors import StaleLeaseError
from execution.events import ExecutionEventEmitter
from execution.large_values import is_reference
from execution.patience import Patience
from execution.records import StepRecords
from execution.states import StepStatus


class ResultCache:
    """The results of all executions, as one worker process asks for them."""

    def __init__(
        self, records: StepRecords, emitter: ExecutionEventEmitter, patience: Patience
    ) -> None:
        """Ask `records`, with `patience`, and tell what was found by `emitter`."""
        self._records = records
        self._emitter = emitter
        self._patience = patience

    def find(self, claim: Claim, place: CachePlace) -> str | None:
        """Return the result that a step may use, as JSON text; None without one.

        Raises StaleLeaseError when the step belongs to somebody else by now.
        """
        answer = self._patience.until_answered(
            lambda: self._records.reuse(claim.held, place)
        )
        match answer.outcome:
            case Reused.MISSED:
                return None
            case Reused.STALE:
                raise StaleLeaseError(f"step {claim.step} belongs to somebody else")
            case Reused.REUSED:
                self._emitter.emit(claim.held.execution_id, answer.last_seq)
                return answer.result

    def keep(self, outcome: Outcome, place: CachePlace) -> Outcome:
        """Return an outcome whose result is to be stored, if it is all that there is.

        What has set variables has done more than return something, and a large result
        goes with its execution.
        """
        is_pure = outcome.status is StepStatus.COMPLETED and outcome.variables == "{}"
        if not is_pure or is_reference(outcome.result):
            return outcome
        return replace(outcome, place=place)
