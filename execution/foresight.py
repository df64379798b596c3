"""What parameters alone decide of a step, worked out before anything runs.

Promises: values are those that a worker would come to, by the same evaluator; what
names anything else than parameters stays open. Must not know what follows from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import ExpressionError
from .expressions import (
    Expression,
    evaluate_condition,
    evaluate_list,
    evaluate_template,
    parse_bare,
)
from .language.breaches import Complaint
from .language.rules import Rule
from .plan import CompiledStep
from .reads import list_paths, list_template_expressions


@dataclass
class Foresight:
    """What is known of a step: whether its condition holds, how many items, inputs.

    What is open is None, or stays as it is written. `faults` say what would fail.
    """

    holds: bool | None = None
    items: int | None = None
    inputs: dict[str, object] = field(default_factory=dict)
    faults: list[Complaint] = field(default_factory=list)


def foresee_step(
    step: CompiledStep, parameters: Mapping[str, object] | None
) -> Foresight:
    """Return what `parameters`, all of them bound, decide; None are not known."""
    written = step.inputs if isinstance(step.inputs, Mapping) else {}
    found = Foresight(inputs=dict(written))
    if parameters is None:
        return found
    scope = {"parameters": parameters}
    place = f"steps.{step.name}"
    try:
        if step.condition is not None and _is_known(parse_bare(step.condition)):
            where = f"{place}.when"
            found.holds = evaluate_condition(step.condition, scope, place=where)
        if found.holds is False:
            return found
        if step.for_each is not None and _is_known(parse_bare(step.for_each)):
            where = f"{place}.for_each"
            found.items = len(evaluate_list(step.for_each, scope, place=where))
    except ExpressionError as error:
        found.faults.append(_describe_fault(error))
    _fill_in(place, written, scope, found)
    return found


def _fill_in(
    place: str,
    written: Mapping[str, object],
    scope: Mapping[str, object],
    found: Foresight,
) -> None:
    for name, template in written.items():
        if not _is_known(*list_template_expressions(template)):
            continue
        try:
            found.inputs[name] = evaluate_template(
                template, scope, place=f"{place}.with.{name}"
            )
        except ExpressionError as error:
            found.faults.append(_describe_fault(error))


def _is_known(*expressions: Expression) -> bool:
    return all(path.parts[0] == "parameters" for path in list_paths(expressions))


def _describe_fault(error: ExpressionError) -> Complaint:
    return Complaint(Rule.FAILING_STEP, f"{error}, so the step would fail")
