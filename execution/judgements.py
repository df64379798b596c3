"""How a claimed step ends before its action is called: by its condition, or as a loop.

Promises: decided from the claim alone, by `evaluation`; what cannot be evaluated is an
end as well. Must not know who records it.
"""

from .answers import Claim, LoopState
from .attempts import Outcome, end_by
from .errors import ExecutionError
from .evaluation import goes_on, is_wanted
from .results import encode_json
from .states import StepStatus


def judge_condition(claim: Claim) -> Outcome | None:
    """Return how a step ends by its condition; None when it is to run."""
    try:
        return None if is_wanted(claim) else Outcome(StepStatus.SKIPPED)
    except ExecutionError as error:
        return end_by(error, claim)


def judge_loop(claim: Claim, loop: LoopState) -> Outcome | None:
    """Return how a loop ends, as its last iteration did; None when it goes on."""
    if loop.status not in (None, StepStatus.COMPLETED):
        return Outcome(loop.status, error=encode_json(loop.error, place="error"))
    try:
        if goes_on(claim, loop):
            return None
    except ExecutionError as error:
        return end_by(error, claim)
    place = f"the result of step {claim.step}"
    return Outcome(StepStatus.COMPLETED, result=encode_json(loop.result, place=place))
