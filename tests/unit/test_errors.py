"""The error tree: the drawing in the docstring is the truth about the classes."""

import inspect
import pickle
import re
from itertools import pairwise

import pytest

from execution import errors
from execution.errors import (
    ErrorCode,
    Fault,
    ParameterError,
    PlansError,
    PlanValidationError,
    RetryableError,
    StepTimeoutError,
)

# the branches of the drawing, then name, perhaps a code, perhaps what it means
LINE = re.compile(r"^ {4}((?:│ {3}| {4})*(?:[├└]── )?)(\w+Error)(?: +(E\d{3}))?(?: |$)")
CODES = {
    "E001": "VALIDATION",
    "E002": "TIMEOUT",
    "E003": "EXECUTION",
    "E004": "CANCELLED",
    "E005": "RETRY_EXHAUSTED",
    "E006": "DATABASE",
    "E007": "EXPRESSION",
    "E008": "WORKER_LOST",
    "E009": "RESOURCE_UNAVAILABLE",
    "E010": "IN_DOUBT",
}


def drawn() -> list[tuple[str, str | None, str | None]]:
    """Return (name, name of the parent, code) of every line of the drawing."""
    found = []
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := LINE.match(line):
            indent, name, code = match.groups()
            path = [*path[: len(indent) // 4], name]
            found.append((name, path[-2] if len(path) > 1 else None, code))
    return found


def defined() -> dict[str, type[PlansError]]:
    return {
        name: kind
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, PlansError)
    }


def test_the_drawing_names_every_class_once() -> None:
    assert sorted(name for name, _, _ in drawn()) == sorted(defined())


@pytest.mark.parametrize(("name", "parent", "code"), drawn())
def test_a_class_hangs_where_it_is_drawn(
    name: str, parent: str | None, code: str | None
) -> None:
    drawn_parent = defined()[parent] if parent else Exception

    assert defined()[name].__bases__ == (drawn_parent,)


@pytest.mark.parametrize(("name", "parent", "code"), drawn())
def test_a_class_has_the_code_that_is_drawn(
    name: str, parent: str | None, code: str | None
) -> None:
    assert defined()[name].code == code


@pytest.mark.parametrize(("code", "name"), CODES.items())
def test_codes_are_never_renumbered(code: str, name: str) -> None:
    assert ErrorCode[name].value == code


def test_codes_are_added_at_the_end() -> None:
    numbers = [int(code.value.removeprefix("E")) for code in ErrorCode]

    assert numbers[: len(CODES)] == list(range(1, len(CODES) + 1))
    assert all(after == before + 1 for before, after in pairwise(numbers))


@pytest.mark.parametrize("kind", defined().values())
def test_every_error_says_what_it_is(kind: type[PlansError]) -> None:
    assert (inspect.getdoc(kind) or "").endswith(".")


def test_a_timeout_is_none_of_the_errors_that_libraries_try_again_after() -> None:
    assert not issubclass(StepTimeoutError, OSError)


@pytest.mark.parametrize("seconds", [None, 0, 2.5])
def test_a_retryable_error_says_when(seconds: float | None) -> None:
    error = RetryableError("busy", retry_after_seconds=seconds)

    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes

    assert error.retry_after == again.retry_after == seconds
    assert str(error) == str(again) == "busy"


@pytest.mark.parametrize("kind", [PlanValidationError, ParameterError])
def test_an_error_with_faults_says_the_same_in_another_process(
    kind: type[PlanValidationError],
) -> None:
    faults = (Fault("a", "is bad", rule="x"), Fault("b", "is worse", rule="y"))

    again = pickle.loads(pickle.dumps(kind(faults)))  # noqa: S301  # our own bytes

    assert (type(again), again.faults) == (kind, faults)
    assert str(again) == "a: is bad\nb: is worse"


def test_a_retryable_error_leaves_the_wait_to_the_policy_unless_told() -> None:
    assert RetryableError("busy").retry_after is None


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (
            Fault("steps[3]", "has no action", rule="missing-field"),
            "steps[3]: has no action",
        ),
        (
            Fault("steps[3]", "has no action", 7, 5, rule="missing-field"),
            "steps[3] (line 7, column 5): has no action",
        ),
    ],
)
def test_a_fault_says_where_it_is(fault: Fault, text: str) -> None:
    assert str(fault) == text


@pytest.mark.parametrize("kind", [PlanValidationError, ParameterError])
def test_a_validation_error_lists_every_fault(
    kind: type[PlanValidationError],
) -> None:
    faults = (
        Fault("a", "is missing", rule="missing-field"),
        Fault("b", "is no number", 2, 1, rule="wrong-type"),
    )

    error = kind(faults)

    assert error.faults == faults
    assert str(error) == "a: is missing\nb (line 2, column 1): is no number"
