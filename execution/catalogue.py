"""The catalogue: the actions that workers have published, and what plans make of them.

Promises: pure; all faults of a plan are found at once, each at the place in the
document where it is to be put right; an action of which only the names of its
parameters are known is checked for those. Must not know where the catalogue is kept.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from .fitting import find_misfits, foresee
from .language.compilation import CompiledStep, is_recovery
from .language.findings import Findings
from .language.rules import Rule
from .places import Path, shown
from .recovery import STRATEGY_PREFIX

_MOST_DEFAULT_CHARACTERS = 60


@dataclass(frozen=True)
class ActionParameter:
    """An input of an action; what is not known of it is None.

    `default` is what it is when it is not given, unless it has none or one that JSON
    cannot hold: `has_default` says so.
    """

    name: str
    is_required: bool
    hint: str | None
    has_default: bool
    default: Any
    schema: Mapping[str, Any] | None

    def __str__(self) -> str:
        text = f"{self.name}: {self.hint}" if self.hint else self.name
        return text if self.is_required else f"{text} = {self._write_default()}"

    def _write_default(self) -> str:
        text = json.dumps(self.default, ensure_ascii=False) if self.has_default else "…"
        return text if len(text) <= _MOST_DEFAULT_CHARACTERS else "…"


@dataclass(frozen=True)
class ActionSignature:
    """What an action takes and returns, the types as JSON Schema.

    `others` is what inputs by other names must be; None: there may be none.
    """

    parameters: tuple[ActionParameter, ...]
    others: Mapping[str, Any] | None
    result: Mapping[str, Any] | None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return a signature as `signatures` describes it."""
        parameters = (
            ActionParameter(
                name=p["name"],
                is_required=p.get("required", False),
                hint=p.get("hint"),
                has_default="default" in p,
                default=p.get("default"),
                schema=p.get("schema"),
            )
            for p in data["parameters"]
        )
        return cls(tuple(parameters), data.get("more"), data.get("result"))

    def __str__(self) -> str:
        others = () if self.others is None else ("…",)
        return f"({', '.join([*map(str, self.parameters), *others])})"


@dataclass(frozen=True)
class ActionSummary:
    """An action as it was published last; `workers` are those that have it now.

    Without a signature nothing is known of its inputs.
    """

    name: str
    doc: str | None
    signature: ActionSignature | None
    timeout_seconds: float | None
    published_by: str | None
    published_at: datetime
    uses: tuple[str, ...]
    workers: tuple[str, ...]


def check_names(
    steps: Sequence[CompiledStep], known: Collection[str], findings: Findings
) -> None:
    """Note every step whose action is not among the names in the catalogue."""
    strategies = [name for name in known if name.startswith(STRATEGY_PREFIX)]
    actions = set(known) - set(strategies)
    for step in steps:
        if step.is_built_in or step.action in known:
            continue
        if is_recovery(step):
            _note_strategy(step, strategies, findings)
            continue
        near = findings.suggestion(step.action, actions)
        message = f"no worker has published {shown(step.action)}{near}"
        place = (*_find_place(step), "action")
        findings.add(place, Rule.UNKNOWN_ACTION, message)


def _note_strategy(
    step: CompiledStep, known: Sequence[str], findings: Findings
) -> None:
    name = step.action.removeprefix(STRATEGY_PREFIX)
    names = [strategy.removeprefix(STRATEGY_PREFIX) for strategy in known]
    near = findings.suggestion(name, names)
    message = f"no worker has published the strategy {shown(name)}{near}"
    findings.add((*_find_place(step), "strategy"), Rule.UNKNOWN_STRATEGY, message)


def check_inputs(
    steps: Iterable[CompiledStep],
    signatures: Mapping[str, ActionSignature | None],
    findings: Findings,
) -> None:
    """Note all that does not fit in the inputs of steps whose action is known."""
    for step in steps:
        signature = signatures.get(step.action)
        if signature is not None and isinstance(step.inputs, Mapping):
            place = (*_find_place(step), "with")
            _check_step(step.action, signature, step.inputs, place, findings)


def check_subplans(
    steps: Iterable[CompiledStep],
    published: Mapping[str, Mapping[str, Any]],
    names: Collection[str],
    findings: Findings,
) -> None:
    """Note every step whose plan is not published, or declares other parameters.

    `published` has the declarations of the plans that are, by how the steps name them;
    `names` are those that an unknown one may have meant.
    """
    for step in steps:
        if step.subplan is None:
            continue
        place = _find_place(step)
        if step.subplan not in published:
            near = findings.suggestion(step.subplan, names)
            message = (
                f"no plan is published as {shown(step.subplan)}"
                f"{near or '; publish it first: plans publish FILE'}"
            )
            findings.add((*place, "plan"), Rule.UNKNOWN_PLAN, message)
        elif isinstance(step.inputs, Mapping):
            declared = published[step.subplan]
            _check_parameters(step.subplan, declared, step.inputs, place, findings)


def _check_parameters(
    plan: str,
    declared: Mapping[str, Any],
    inputs: Mapping[str, Any],
    place: Path,
    findings: Findings,
) -> None:
    for name, declaration in declared.items():
        if declaration.get("required") and name not in inputs:
            message = f"is missing: plan {plan} requires it"
            findings.add((*place, "with", name), Rule.MISSING_INPUT, message)
    for name in inputs.keys() - declared.keys():
        near = findings.suggestion(name, declared)
        message = f"is no parameter of plan {plan}{near}"
        findings.add((*place, "with", name), Rule.UNKNOWN_INPUT, message)


def _find_place(step: CompiledStep) -> Path:
    """Return where the document names the action of a step."""
    if step.undoes is not None:
        return ("steps", step.undoes, "undo")
    if is_recovery(step):
        return ("steps", step.stands_in_for or 0, "on_failure")
    if step.repeat is not None:
        return ("steps", step.position, "repeat")
    return ("steps", step.position)


def _check_step(
    action: str,
    signature: ActionSignature,
    inputs: Mapping[str, Any],
    place: Path,
    findings: Findings,
) -> None:
    known = {parameter.name: parameter for parameter in signature.parameters}
    for name, parameter in known.items():
        if parameter.is_required and name not in inputs:
            message = f"is missing: the action is {action}{signature}"
            findings.add((*place, name), Rule.MISSING_INPUT, message)
    for name, template in inputs.items():
        if name not in known and signature.others is None:
            near = findings.suggestion(name, known)
            message = (
                f"is no input of {action}{near or f', which is {action}{signature}'}"
            )
            findings.add((*place, name), Rule.UNKNOWN_INPUT, message)
            continue
        schema = known[name].schema if name in known else signature.others
        for misfit in find_misfits(schema, foresee(template), findings.suggestion):
            inner = (*place, name, *misfit.path)
            findings.add(inner, Rule.UNFIT_INPUT, misfit.message)
