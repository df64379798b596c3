"""Parameters of a plan: what is declared, and whether given values fit.

Promises: a value is taken as it is or refused with its place, and never turned
into another type; only text from a command line is read as what was declared.
Every fault is found in one go. Knows nothing of steps.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from ..errors import ParameterError
from ..places import Path
from .document import ParameterFields
from .findings import Findings
from .json_reader import read_json
from .mapping_reader import read_objects
from .parameter_rules import (
    Demand,
    declaration_faults,
    demand_of,
    value_faults,
)
from .parameter_types import ParameterType
from .rules import Rule
from .tree import UnreadableError, size_fault

_WRITTEN_AS_TEXT = frozenset(
    (ParameterType.STRING, ParameterType.DURATION, ParameterType.DATETIME)
)
_UNKNOWN = {
    "parameters": "the plan has no such parameter",
    "payload": "nobody asks for this",
}
_WRITTEN_AS_JSON = frozenset((ParameterType.OBJECT, ParameterType.ARRAY))


@dataclass(frozen=True)
class Parameter:
    """A declared parameter; no default is None, which no declaration can state."""

    demand: Demand
    required: bool
    default: object


def check_declarations(
    declarations: object, findings: Findings, place: Path = ("parameters",)
) -> None:
    """Note every fault in the meaning of `parameters`, be its form whole or not."""
    if not isinstance(declarations, dict):
        return
    for name, declaration in declarations.items():
        try:
            fields = ParameterFields.model_validate(declaration)
        except ValidationError:
            continue  # the schema of the document reports what is wrong here
        for path, found in declaration_faults(fields, (*place, name)):
            findings.add(path, found.rule, found.message)


def declared_parameters(
    declarations: Mapping[str, ParameterFields],
) -> dict[str, Parameter]:
    """Return what values are checked against, from declarations without faults."""
    return {
        name: Parameter(demand_of(fields), fields.required or False, fields.default)
        for name, fields in declarations.items()
    }


def read_declarations(declarations: Mapping[str, object]) -> dict[str, Parameter]:
    """Return what values are checked against, from the definition of a plan.

    `declarations` are its `parameters`; they have no faults.
    """
    return declared_parameters(
        {
            name: ParameterFields.model_validate(declaration)
            for name, declaration in declarations.items()
        }
    )


def bind_parameters(
    declared: Mapping[str, Parameter], values: object
) -> dict[str, object]:
    """Return a value for every declared parameter, by name, as JSON.

    `values` maps names to values. What is not given has its default, or is None.
    Raises ParameterError with every fault: unknown names, missing required ones,
    values of the wrong type, outside their bounds or over 256 kB.
    """
    return _bind(declared, values, Findings())


def bind_payload(
    declared: Mapping[str, Parameter], payload: object
) -> dict[str, object]:
    """Return what a signal carries, as the step that takes it has declared it.

    Nothing is an empty payload. Raises ParameterError as `bind_parameters` does.
    """
    return _bind(declared, {} if payload is None else payload, Findings(), "payload")


def bind_text_parameters(
    declared: Mapping[str, Parameter],
    texts: Mapping[str, str],
    others: Mapping[str, object],
) -> dict[str, object]:
    """Bind values that were typed on a command line.

    `texts` maps names to text: `true` and `12.5` are read as the declaration asks,
    objects and arrays as JSON, all others as they are. `others` are values for names
    without a text. Raises ParameterError.
    """
    findings = Findings()
    values = dict(others)
    for name, text in texts.items():
        parameter = declared.get(name)
        path: Path = ("parameters", name)
        if parameter is None:
            values[name] = text
        else:
            values[name] = _read_text(parameter.demand.kind, text, path, findings)
    return _bind(declared, values, findings)


def _bind(
    declared: Mapping[str, Parameter],
    values: object,
    findings: Findings,
    place: str = "parameters",
) -> dict[str, object]:
    try:
        read = read_objects({place: values}, findings).value
    except UnreadableError as error:
        raise _parameter_error(findings, place) from error
    given = read[place] if isinstance(read, dict) else None
    if not isinstance(given, dict):
        message = "must be a mapping of names to values"
        findings.add((place,), Rule.WRONG_TYPE, message)
        raise _parameter_error(findings, place)
    for name in given.keys() - declared.keys():
        near = findings.suggestion(name, declared)
        findings.add((place, name), Rule.UNKNOWN_PARAMETER, _UNKNOWN[place] + near)
    bound = {
        name: _bind_one((place, name), parameter, given, findings)
        for name, parameter in declared.items()
    }
    if findings:
        raise _parameter_error(findings, place)
    return bound


def _bind_one(
    path: tuple[str, str],
    parameter: Parameter,
    given: dict[str, object],
    findings: Findings,
) -> object:
    _, name = path
    value = given.get(name)
    if value is None and (name not in given or _may_be_null(parameter)):
        if parameter.required:
            message = "is required, and was not given"
            findings.add(path, Rule.MISSING_PARAMETER, message)
        return copy.deepcopy(parameter.default)
    if too_large := size_fault(value):
        findings.add(path, Rule.VALUE_SIZE, too_large)
    for place, misfit in value_faults(parameter.demand, value, path):
        findings.add(place, Rule.UNFIT_PARAMETER, misfit)
    return value


def _may_be_null(parameter: Parameter) -> bool:
    """Whether null is what the parameter has anyway when it is not given."""
    return not parameter.required and parameter.default is None


def _read_text(
    kind: ParameterType, text: str, path: Path, findings: Findings
) -> object:
    if kind in _WRITTEN_AS_TEXT:
        return text
    as_json = Findings()
    value = _read_json_or_none(text, as_json)
    if as_json and kind not in _WRITTEN_AS_JSON:
        return text  # for binding to say what was expected in place of it
    findings.adopt(as_json, path)
    return value


def _read_json_or_none(text: str, findings: Findings) -> object:
    try:
        return read_json(text, findings).value
    except UnreadableError:
        return None


def _parameter_error(findings: Findings, place: str = "parameters") -> ParameterError:
    return ParameterError(findings.faults(place, lambda _: None))
