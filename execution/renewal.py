"""New inputs of steps that begin anew: made and judged before anything changes.

Promises: what is not given anew is as it was recorded or, where the step had not come
so far, as its plan says; all of it together fits the action, as far as that is known.
Must not know how the steps begin.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .acts import PARTS
from .answers import Claim
from .built_in import SLEEP_ACTION, WAIT_ACTION
from .catalogue import check_inputs, check_subplans
from .errors import (
    Fault,
    InvalidExecutionStateError,
    ParameterError,
    StepNotFoundError,
)
from .expressions import evaluate_template
from .language.findings import Findings
from .language.rules import Rule
from .large_values import load_all
from .operations import OperationRecords, StoppedStep
from .payloads import PayloadStore
from .plan import Plan
from .repository import ExecutionRepository
from .results import decode_json, encode_json


@dataclass(frozen=True)
class RenewedInput:
    """The whole input of a step, and the names of what is new in it."""

    input: Any
    changed: tuple[str, ...]


@dataclass(frozen=True)
class InputRenewal:
    """Makes new inputs for steps of ended executions."""

    repository: ExecutionRepository
    records: OperationRecords
    payloads: PayloadStore

    def renew(
        self, execution_id: str, inputs: Mapping[str, Mapping[str, Any]]
    ) -> dict[int, RenewedInput]:
        """Return the input that each named step gets, by the positions of the steps.

        Raises ParameterError for what does not fit, StepNotFoundError,
        InvalidExecutionStateError for a step that would not begin anew, and what the
        evaluation of its other inputs raises.
        """
        definition = self.repository.get_plan_of(execution_id)
        if not inputs or definition is None:
            return {}
        plan = Plan.from_mapping(definition)
        found = {}
        for name, given in inputs.items():
            stopped = self._find(execution_id, name)
            whole = self._complete(stopped.claim, name, given)
            self._check(plan, stopped, name, whole)
            text = encode_json(whole, place=f"inputs.{name}")
            found[stopped.position] = RenewedInput(decode_json(text), tuple(given))
        return found

    def _find(self, execution_id: str, name: str) -> StoppedStep:
        stopped = self.records.find_stopped(execution_id, name, self.payloads.read)
        place = f"step {name} of execution {execution_id}"
        if stopped is None:
            raise StepNotFoundError(
                f"execution {execution_id} has no step {name!r};"
                f" see `plans show {execution_id}`"
            )
        if stopped.has_items:
            raise InvalidExecutionStateError(
                f"{place} runs for each item of a list; name the item, as {name}[0]"
            )
        is_timed = stopped.claim.action in {SLEEP_ACTION, WAIT_ACTION}
        if stopped.role not in PARTS or is_timed:
            raise InvalidExecutionStateError(
                f"{place} does not begin anew by a retry, and takes no other inputs"
            )
        if stopped.open_needs is not None:
            raise InvalidExecutionStateError(
                f"{place} has not begun: its inputs are made when what it needs is"
                f" settled: {stopped.open_needs}"
            )
        return stopped

    def _complete(self, claim: Claim, name: str, given: object) -> dict[str, Any]:
        if not isinstance(given, Mapping) or not all(isinstance(k, str) for k in given):
            raise _misfit(
                f"inputs.{name}", "must be a mapping of inputs by their names"
            )
        if claim.recorded_input is not None:
            return {**claim.recorded_input, **given}
        template = {k: v for k, v in claim.inputs.items() if k not in given}
        place = f"steps.{claim.step}.with"
        made: Any = evaluate_template(template, claim.scope, place=place)
        return {**made, **given}

    def _check(
        self, plan: Plan, stopped: StoppedStep, name: str, whole: Mapping[str, Any]
    ) -> None:
        step = replace(plan.steps[stopped.of_step], inputs=load_all(dict(whole)))
        findings = Findings()
        check_inputs([step], self.repository.find_signatures([step.action]), findings)
        if step.subplan is not None:
            declared = self.repository.find_subplans([step.subplan])
            check_subplans([step], declared, (), findings)
        faults = tuple(
            replace(fault, place=f"inputs.{name}.{fault.place.rpartition('.')[2]}")
            for fault in plan.locate(findings)
        )
        if faults:
            raise ParameterError(faults)


def _misfit(place: str, message: str) -> ParameterError:
    return ParameterError((Fault(place, message, rule=Rule.WRONG_SUBMIT),))
