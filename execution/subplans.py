"""Runs the steps that name a plan: binds its parameters and begins an execution of it.

The step waits in the database for the end of that execution, and holds nothing.
Promises: what is wrong with the parameters is told as at a submit, and ends the step.
Knows nothing of Celery.
"""

import json

from execution.answers import Claim
from execution.attempts import Outcome, StepParkedError, describe_error
from execution.children import Begun, ChildRecords, Subplan
from execution.dispatcher import ExecutionDispatcher
from execution.errors import ExecutionError, ParameterError, SubplanError
from execution.evaluation import evaluate_inputs
from execution.events import ExecutionEventEmitter
from execution.identity import draw_execution_id
from execution.large_values import load_all
from execution.patience import Patience
from execution.states import StepStatus


class SubplanStarter:
    """Begins executions for steps that name a plan."""

    def __init__(
        self,
        children: ChildRecords,
        emitter: ExecutionEventEmitter,
        dispatcher: ExecutionDispatcher,
        patience: Patience,
    ) -> None:
        """Begin through `children`; wait for PostgreSQL with `patience`."""
        self._children = children
        self._emitter = emitter
        self._dispatcher = dispatcher
        self._patience = patience

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
            said = describe_error(error, claim)
            return Outcome(StepStatus.FAILED, recorded, error=said)

    def _find(self, claim: Claim, name: str) -> Subplan:
        found = self._patience.until_answered(lambda: self._children.find_subplan(name))
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
        answer = self._patience.until_answered(
            lambda: self._children.begin(
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
                self._emitter.emit(claim.held.execution_id, answer.last_seq)
                self._emitter.emit(child_id, answer.child_last_seq)
                self._dispatcher.publish(answer.windows)
                raise StepParkedError


def _bind(claim: Claim, subplan: Subplan, inputs: object) -> dict[str, object]:
    # the schema of documents costs a worker 20 MB: only those pay that run such steps
    from execution.language.parameters import (
        bind_parameters,
        read_declarations,
    )

    try:
        return bind_parameters(read_declarations(subplan.declarations), inputs)
    except ParameterError as error:
        raise SubplanError(
            f"step {claim.step}: plan {claim.subplan} does not take this: {error}"
        ) from error
