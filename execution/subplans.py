"""Runs the steps that name a plan: binds its parameters and begins an execution of it.

The step waits in the database for the end of that execution, and holds nothing.
Promises: what is wrong with the parameters is told as at a submit, and ends the step.
Knows nothing of Celery.
"""

import json
from dataclasses import dataclass

from .answers import Claim
from .attempts import Outcome, StepParkedError, end_by
from .children import Begun, Subplan
from .errors import ExecutionError, ParameterError, SubplanError
from .evaluation import evaluate_inputs
from .identity import draw_execution_id
from .large_values import load_all
from .recorder import StepRecorder
from .states import StepStatus


@dataclass(frozen=True)
class SubplanStarter:
    """Begins executions for steps that name a plan."""

    recorder: StepRecorder

    def begin(self, claim: Claim) -> Outcome | None:
        """Begin what the step names; None when it names no plan.

        An outcome is one that ends the step at once. Raises StepParkedError when it
        waits for its child, or belongs to somebody else.
        """
        if claim.subplan is None:
            return None
        recorded = None
        try:
            inputs, recorded = evaluate_inputs(claim)
            subplan = self._find(claim, claim.subplan)
            # parameters are never large: what is, is told of as at a submit
            bound = _bind(claim, subplan, load_all(inputs))
            return self._begin(claim, subplan, json.dumps(bound), recorded)
        except ExecutionError as error:
            return end_by(error, claim, recorded)

    def _find(self, claim: Claim, name: str) -> Subplan:
        find = self.recorder.records.children.find_subplan
        found = self.recorder.ask(lambda: find(name))
        if found is None:
            raise SubplanError(
                f"step {claim.step}: no plan is published as {name!r};"
                " publish it: plans publish FILE"
            )
        return found

    def _begin(
        self, claim: Claim, subplan: Subplan, parameters: str, recorded: str
    ) -> Outcome:
        child_id = draw_execution_id()
        answer = self.recorder.ask(
            lambda: self.recorder.records.children.begin(
                claim.held,
                subplan,
                child_id=child_id,
                parameters=parameters,
                recorded_input=recorded,
            )
        )
        match answer.outcome:
            case Begun.REFUSED:
                return Outcome(StepStatus.CANCELLED, recorded)
            case Begun.REFUSED_KEY:
                raise SubplanError(f"step {claim.step}: {answer.detail}")
            case Begun.TOO_DEEP:
                raise SubplanError(
                    f"step {claim.step}: plans lie too deep within each other; does"
                    f" {claim.subplan} name itself?"
                )
            case Begun.BEGUN | Begun.REPEATED | Begun.POSTPONED | Begun.STALE:
                execution_id = claim.held.execution_id
                self.recorder.tell(child_id, answer.child_last_seq)
                self.recorder.tell(execution_id, answer.last_seq, answer.windows)
                raise StepParkedError


def _bind(claim: Claim, subplan: Subplan, inputs: object) -> dict[str, object]:
    # the schema of documents costs a worker 20 MB: only those pay that run such steps
    from .language.parameters import (
        bind_parameters,
        read_declarations,
    )

    try:
        return bind_parameters(read_declarations(subplan.declarations), inputs)
    except ParameterError as error:
        raise SubplanError(
            f"step {claim.step}: plan {claim.subplan} does not take this: {error}"
        ) from error
