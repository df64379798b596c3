"""Uses a result that is there already, and lets others use one that has just been made.

Promises: what is found is not older than the step allows, and the timeline says whose
it was; what is kept is all that came of a step. Knows neither how results are recorded
nor what they are known by.
"""

from dataclasses import dataclass, replace

from .answers import Claim, Reused
from .attempts import Outcome
from .caching import CachePlace
from .errors import StaleLeaseError
from .large_values import is_reference
from .recorder import StepRecorder
from .states import StepStatus


@dataclass(frozen=True)
class ResultCache:
    """The results of all executions, as one worker process asks for them."""

    recorder: StepRecorder

    def find(self, claim: Claim, place: CachePlace) -> str | None:
        """Return the result that a step may use, as JSON text; None without one.

        Raises StaleLeaseError when the step belongs to somebody else by now.
        """
        answer = self.recorder.ask(
            lambda: self.recorder.records.reuse(claim.held, place)
        )
        match answer.outcome:
            case Reused.MISSED:
                return None
            case Reused.STALE:
                raise StaleLeaseError(f"step {claim.step} belongs to somebody else")
            case Reused.REUSED:
                self.recorder.tell(claim.held.execution_id, answer.last_seq)
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
