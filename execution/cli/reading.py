"""Reads what a command line names: plan files and parameters.

Promises: a file that is not there or is no text is wrong usage; a plan with faults is a
fault of the plan. Knows no server.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import Fault, ParameterError, PlanValidationError
from ..language.rules import Rule
from .exits import UsageError

if TYPE_CHECKING:
    from ..plan import Plan


def read_plan(path: Path) -> "Plan":
    """Return the plan in a file.

    Raises PlanValidationError with all its faults, and UsageError when there is no
    such file or it cannot be read.
    """
    if not path.is_file():
        raise UsageError(f"{path} is not a file")
    from ..plan import Plan  # help and completion read no plan

    try:
        return Plan.from_file(path)
    except PlanValidationError as error:
        if isinstance(error.__cause__, OSError | UnicodeDecodeError):
            raise UsageError(f"{path} {error.faults[0].message}") from error
        raise


def names_file(source: str) -> bool:
    """Say whether `source` means a file, and not the name of a published plan."""
    path = Path(source)
    is_path = path.name != source or path.suffix in {".yaml", ".yml", ".json"}
    return is_path or path.exists()


def bind_parameters(
    plan: "Plan", pairs: Sequence[str], file: Path | None
) -> dict[str, object]:
    """Return the parameters of `plan`, from `name=value` texts and a JSON file.

    A text wins over the file's value of the same name. Raises ParameterError with
    every fault, and UsageError for a text without `=` and a file without an object.
    """
    texts = _split_pairs(pairs)
    given = {} if file is None else _read_parameters(file)
    return plan.bind_text(texts, given)


def bind_given(
    plan: "Plan", pairs: Sequence[str], file: Path | None
) -> dict[str, object]:
    """Return those parameters of `plan` that are given, checked as by a submit.

    What is not given is left to the defaults that the plan has when it begins.
    """
    names = _split_pairs(pairs).keys() | (_read_parameters(file) if file else {})
    bound = bind_parameters(plan, pairs, file)
    return {name: bound[name] for name in bound if name in names}


def read_many(plan: "Plan", path: Path) -> list[Mapping[str, Any]]:
    """Return the parameters of many executions: an object on each line of a file.

    `-` is the standard input; empty lines mean nothing. Raises UsageError when there is
    no such file, and ParameterError with the place of every line that is wrong.
    """
    found: list[Mapping[str, Any]] = []
    faults: list[Fault] = []
    place = "<stdin>" if str(path) == "-" else str(path)
    for number, line in enumerate(_read_lines(path), 1):
        if not line.strip():
            continue
        try:
            values = _read_object(line)
            plan.bind(values)
        except ParameterError as error:
            faults.extend(
                replace(fault, place=f"{place}:{number}: {fault.place}")
                for fault in error.faults
            )
        except (ValueError, RecursionError) as error:
            line = f"{place}:{number}"
            faults.append(Fault(line, str(error), rule=Rule.WRONG_SUBMIT))
        else:
            found.append(values)
    if faults:
        raise ParameterError(tuple(faults))
    return found


def _read_lines(path: Path) -> list[str]:
    try:
        with sys.stdin if str(path) == "-" else path.open(encoding="utf-8") as stream:
            return list(stream)
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or error
        raise UsageError(f"{path} cannot be read: {cause}") from error


def _split_pairs(pairs: Sequence[str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not (name and equals):
            raise UsageError(f"-p {pair} is not of the form name=value")
        if name in texts:
            raise UsageError(f"-p {name}=… was given twice")
        texts[name] = text
    return texts


def _read_parameters(path: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(path.read_text("utf-8"), parse_constant=_refuse_constant)
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or error
        raise UsageError(f"{path} cannot be read as JSON: {cause}") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path} must hold a JSON object of names and values")
    return values


def _read_object(text: str) -> Mapping[str, Any]:
    values = json.loads(text, parse_constant=_refuse_constant)
    if not isinstance(values, dict):
        raise ValueError("is no JSON object of names and values")  # noqa: TRY004  # of the text, as json's own
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
