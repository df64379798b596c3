"""The functions that expressions have besides those of the language.

Promises: the same arguments give the same value on every machine and in every
process: keys are sorted, and sums of doubles are exact before they are rounded. What
does not fit is a TemplateError. Knows nothing of how expressions are run.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .paths import NowhereError, name_kind, walk
from .scanner import TemplateError

_MAX_INTEGER = 2**53


@dataclass(frozen=True)
class Function:
    """A function, and how its call is written."""

    call: Callable[..., object]
    usage: str
    argument_count: int


def _get(root: object, path: object, default: object) -> object:
    if not isinstance(path, str):
        raise TemplateError(f"get: the path is {name_kind(path)}, not text")
    try:
        return walk(tuple(path.split(".")), root)
    except NowhereError:
        return default


def _text(value: object) -> str:
    return value if isinstance(value, str) else write_canonically(value)


def _keys(value: object) -> list[str]:
    return sorted(_expect_mapping("keys", value))


def _values(value: object) -> list[object]:
    mapping = _expect_mapping("values", value)
    return [mapping[key] for key in sorted(mapping)]


def _completed(value: object) -> list[object]:
    return [item for item in _expect_list("completed", value) if item is not None]


def _sum(value: object) -> int | float:
    numbers = _expect_numbers("sum", value)
    if any(isinstance(number, float) for number in numbers):
        try:
            # the sum that Python has built in differs between its releases
            return math.fsum(numbers)
        except (OverflowError, ValueError) as error:
            raise TemplateError("sum: the sum is not a finite number") from error
    total = sum(numbers)
    if abs(total) > _MAX_INTEGER:
        raise TemplateError("sum: the sum is an integer beyond ±2^53")
    return total


def _min(value: object) -> int | float:
    return min(_expect_some("min", value))


def _max(value: object) -> int | float:
    return max(_expect_some("max", value))


def _expect_some(name: str, value: object) -> list[int | float]:
    numbers = _expect_numbers(name, value)
    if not numbers:
        raise TemplateError(f"{name}: the list is empty")
    return numbers


def _expect_numbers(name: str, value: object) -> list[int | float]:
    numbers = _expect_list(name, value)
    for item in numbers:
        if isinstance(item, bool) or not isinstance(item, int | float):
            raise TemplateError(f"{name}: the list holds {name_kind(item)}")
    return numbers


def _expect_list(name: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TemplateError(f"{name}: this is {name_kind(value)}, not a list")
    return value


def _expect_mapping(name: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise TemplateError(f"{name}: this is {name_kind(value)}, not a mapping")
    if not all(isinstance(key, str) for key in value):
        raise TemplateError(f"{name}: the mapping has a key that is not text")
    return value


def write_canonically(value: object) -> str:
    """Return a value as the one JSON text that it has, its keys sorted.

    Raises TemplateError when it is no JSON value.
    """
    try:
        return json.dumps(
            value,
            ensure_ascii=False,
            allow_nan=False,
            sort_keys=True,
            separators=(",", ":"),
        )
    except (TypeError, ValueError) as error:
        raise TemplateError(f"cannot be written as text: {error}") from error


FUNCTIONS = {
    "get": Function(_get, 'get(value, "a.b.0", default)', 3),
    "text": Function(_text, "text(value)", 1),
    "keys": Function(_keys, "keys(mapping)", 1),
    "values": Function(_values, "values(mapping)", 1),
    "completed": Function(_completed, "completed(list)", 1),
    "sum": Function(_sum, "sum(list)", 1),
    "min": Function(_min, "min(list)", 1),
    "max": Function(_max, "max(list)", 1),
}
"""By the names that expressions call them."""
