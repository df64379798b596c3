"""The types a parameter can have: what fits, and how values are compared.

Promises: every type answers every question here, so that a new type is complete
when this module is. Values stay what JSON gave: durations and datetimes are text.
"""

from enum import StrEnum
from types import UnionType
from typing import Any

from ..durations import DurationError, parse_duration_seconds
from ..moments import MomentError, parse_moment
from ..places import shown


class ParameterType(StrEnum):
    """What a parameter is declared to be."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DURATION = "duration"
    DATETIME = "datetime"
    OBJECT = "object"
    ARRAY = "array"


_PYTHON_TYPES: dict[ParameterType, type | UnionType] = {
    ParameterType.STRING: str,
    ParameterType.INTEGER: int,
    ParameterType.NUMBER: int | float,
    ParameterType.BOOLEAN: bool,
    ParameterType.OBJECT: dict,
    ParameterType.ARRAY: list,
}


def type_fault(kind: ParameterType, value: object) -> str | None:
    """Return what is wrong with the type of a JSON value, or None."""
    if kind is ParameterType.DURATION:
        return _duration_fault(value)
    if kind is ParameterType.DATETIME:
        return _datetime_fault(value)
    # Python counts booleans among the integers, JSON does not
    is_boolean = isinstance(value, bool)
    if isinstance(value, _PYTHON_TYPES[kind]) and (
        is_boolean == (kind is ParameterType.BOOLEAN)
    ):
        return None
    return f"must be of type {kind}, and is {shown(value)}"


def bound_type(kind: ParameterType) -> ParameterType | None:
    """Return the type of `min` and `max`: lengths are counted; None has none."""
    if kind in (ParameterType.STRING, ParameterType.ARRAY):
        return ParameterType.INTEGER
    if kind in (ParameterType.BOOLEAN, ParameterType.OBJECT):
        return None
    return kind


def magnitude(kind: ParameterType, value: Any) -> float:
    """Return what a fitting value weighs against `min` and `max`.

    Text and lists weigh their length, durations and moments their seconds, numbers
    themselves. Raises TypeError for what has no order.
    """
    match kind:
        case ParameterType.INTEGER | ParameterType.NUMBER:
            return float(value)
        case ParameterType.DURATION:
            return parse_duration_seconds(value)
        case ParameterType.DATETIME:
            return parse_moment(value).timestamp()
        case _:
            return len(value)


def _duration_fault(value: object) -> str | None:
    if not isinstance(value, str):
        return f"must be a duration such as 30s or 1h30m, and is {shown(value)}"
    try:
        parse_duration_seconds(value)
    except DurationError as error:
        return f"{shown(value)}: {error}"
    return None


def _datetime_fault(value: object) -> str | None:
    try:
        parse_moment(value)
    except MomentError as error:
        return str(error)
    return None
