"""What a declaration asks of a value, and whether the declaration makes sense.

Promises: a declaration without faults gives a demand that can judge any JSON value.
A pattern must match the whole text, of at most 1,024 characters. That bounds most
patterns, not all: a pattern is the plan's author's own code, and only the plainest
of those that take time without bound are refused. Knows nothing of plans.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..places import Path, shown
from .breaches import Complaint
from .document import ItemFields, ParameterFields
from .parameter_types import (
    ParameterType,
    bound_type,
    magnitude,
    type_fault,
)
from .rules import Rule
from .tree import size_fault

MAX_PATTERN_CHARACTERS = 256
MAX_MATCHED_CHARACTERS = 1024

_MAX_SHOWN_CHOICES = 10
_CLASS = r"\[\^?\]?(?:[^\]\\]|\\.)*\]"
_ENDLESS = r"(?:[*+]|\{[0-9]*,\})"
# a group without groups inside, repeated without end
_ENDLESS_GROUP = re.compile(
    rf"\((?:\?:)?((?:[^()\\\[]|\\.|{_CLASS})*)\){_ENDLESS}", re.DOTALL
)
# one character or class of them, and how often it comes
_ATOM = rf"(?:\\.|{_CLASS}|[^\\\[*+?{{}}|])"
_ENDLESS_ATOM = re.compile(rf"{_ATOM}{_ENDLESS}[?+]?", re.DOTALL)
_OPTIONAL_ATOM = re.compile(rf"{_ATOM}(?:\?|\{{0?,[0-9]+\}})[?+]?", re.DOTALL)

_Fault = tuple[Path, Complaint]


@dataclass(frozen=True)
class Demand:
    """What a value must be; `minimum` and `maximum` as they were written."""

    kind: ParameterType
    enum: tuple[object, ...] = ()
    minimum: object = None
    maximum: object = None
    pattern: re.Pattern[str] | None = None
    items: "Demand | None" = None


def demand_of(fields: ItemFields) -> Demand:
    """Return the demand of a declaration that has no faults."""
    return Demand(
        kind=ParameterType(fields.type),
        enum=tuple(fields.enum or ()),
        minimum=fields.min,
        maximum=fields.max,
        pattern=None if fields.pattern is None else re.compile(fields.pattern),
        items=demand_of(fields.items) if fields.items else None,
    )


def value_faults(
    demand: Demand, value: object, path: Path
) -> Iterator[tuple[Path, str]]:
    """Yield what is wrong with the value at `path`, and with each of its items."""
    if message := _own_fault(demand, value):
        yield path, message
    elif demand.items is not None and isinstance(value, list):
        for index, item in enumerate(value):
            yield from value_faults(demand.items, item, (*path, index))


def declaration_faults(fields: ParameterFields, path: Path) -> Iterator[_Fault]:
    """Yield what makes no sense in the declaration at `path`."""
    if fields.required and fields.default is not None:
        message = "a required parameter has no default; drop one"
        yield (*path, "required"), Complaint(Rule.FIELD_CLASH, message)
    faults = list(_rule_faults(fields, path))
    yield from faults
    if fields.default is None or faults:
        return
    if too_large := size_fault(fields.default):
        yield (*path, "default"), Complaint(Rule.VALUE_SIZE, too_large)
    default = (*path, "default")
    for place, misfit in value_faults(demand_of(fields), fields.default, default):
        yield place, Complaint(Rule.UNFIT_DEFAULT, misfit)


def _rule_faults(fields: ItemFields, path: Path) -> Iterator[_Fault]:
    kind = ParameterType(fields.type)
    if message := _pattern_fault(kind, fields.pattern):
        yield (*path, "pattern"), Complaint(Rule.WRONG_DECLARATION, message)
    for index, choice in enumerate(fields.enum or ()):
        if message := type_fault(kind, choice):
            yield (*path, "enum", index), Complaint(Rule.UNFIT_DEFAULT, message)
    yield from _bounds_faults(kind, fields, path)
    if fields.items is None:
        return
    if kind is not ParameterType.ARRAY:
        message = f"only an array has items, and this is of type {kind}"
        yield (*path, "items"), Complaint(Rule.WRONG_DECLARATION, message)
    yield from _rule_faults(fields.items, (*path, "items"))


def _bounds_faults(
    kind: ParameterType, fields: ItemFields, path: Path
) -> Iterator[_Fault]:
    bounds = {"min": fields.min, "max": fields.max}
    written = {name: bound for name, bound in bounds.items() if bound is not None}
    bound_kind = bound_type(kind)
    faults = []
    for name, bound in written.items():
        if bound_kind is None:
            message = f"type {kind} has no {name}"
            faults.append(((*path, name), Complaint(Rule.WRONG_DECLARATION, message)))
        elif misfit := type_fault(bound_kind, bound):
            faults.append(((*path, name), Complaint(Rule.UNFIT_DEFAULT, misfit)))
    yield from faults
    if bound_kind is None or faults or len(written) < len(bounds):
        return
    if magnitude(bound_kind, fields.min) > magnitude(bound_kind, fields.max):
        message = f"is above max, which is {shown(fields.max)}"
        yield (*path, "min"), Complaint(Rule.WRONG_DECLARATION, message)


def _pattern_fault(kind: ParameterType, pattern: str | None) -> str | None:
    if pattern is None:
        return None
    if kind is not ParameterType.STRING:
        return f"only a string has a pattern, and this is of type {kind}"
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        return f"is longer than {MAX_PATTERN_CHARACTERS} characters"
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"is no regular expression: {error}"
    if any(_is_ambiguous(group) for group in _ENDLESS_GROUP.findall(pattern)):
        return "repeats a repetition, as (a+)+ does, and can take years; write it flat"
    return None


def _is_ambiguous(group: str) -> bool:
    """Whether nothing in a repeated group says where one turn ends."""
    rest, endless = _ENDLESS_ATOM.subn("", group)
    return bool(endless) and not _OPTIONAL_ATOM.sub("", rest)


def _own_fault(demand: Demand, value: object) -> str | None:
    """Return what is wrong with a value itself, its items apart."""
    if message := type_fault(demand.kind, value):
        return message
    if demand.enum and value not in demand.enum:
        choices = ", ".join(
            shown(choice) for choice in demand.enum[:_MAX_SHOWN_CHOICES]
        )
        return f"must be one of {choices}, and is {shown(value)}"
    if message := _bound_fault(demand, value):
        return message
    if demand.pattern is not None and isinstance(value, str):
        return _mismatch(demand.pattern, value)
    return None


def _bound_fault(demand: Demand, value: object) -> str | None:
    kind = bound_type(demand.kind)
    if kind is None or (demand.minimum is None and demand.maximum is None):
        return None
    weight = magnitude(demand.kind, value)
    counted = "" if kind is demand.kind else "a length of "
    if demand.minimum is not None and weight < magnitude(kind, demand.minimum):
        return (
            f"must be at least {counted}{shown(demand.minimum)}, and is {shown(value)}"
        )
    if demand.maximum is not None and weight > magnitude(kind, demand.maximum):
        return (
            f"must be at most {counted}{shown(demand.maximum)}, and is {shown(value)}"
        )
    return None


def _mismatch(pattern: re.Pattern[str], text: str) -> str | None:
    if len(text) > MAX_MATCHED_CHARACTERS:
        return f"is too long for a pattern, which is tried on {MAX_MATCHED_CHARACTERS}"
    if pattern.fullmatch(text):
        return None
    return f"must match {shown(pattern.pattern)} as a whole, and is {shown(text)}"
