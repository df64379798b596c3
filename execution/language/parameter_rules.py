"""What a declaration asks of a value, and whether the declaration makes sense.

Promises: a declaration without faults gives a rule that can judge any JSON value.
A pattern must match the whole text, of at most 1,024 characters. That bounds most
patterns, not all: a pattern is the plan's author's own code, and only the plainest
of those that take time without bound are refused. Knows nothing of plans.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from execution.language.document import ItemFields, ParameterFields
from execution.language.parameter_types import (
    ParameterType,
    bound_type,
    magnitude,
    type_fault,
)
from execution.language.tree import size_fault
from execution.places import Path, shown

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

_Fault = tuple[Path, str]


@dataclass(frozen=True)
class Rule:
    """What a value must be; `minimum` and `maximum` as they were written."""

    kind: ParameterType
    enum: tuple[object, ...] = ()
    minimum: object = None
    maximum: object = None
    pattern: re.Pattern[str] | None = None
    items: "Rule | None" = None


def rule_of(fields: ItemFields) -> Rule:
    """Return the rule of a declaration that has no faults."""
    return Rule(
        kind=ParameterType(fields.type),
        enum=tuple(fields.enum or ()),
        minimum=fields.min,
        maximum=fields.max,
        pattern=None if fields.pattern is None else re.compile(fields.pattern),
        items=rule_of(fields.items) if fields.items else None,
    )


def value_faults(rule: Rule, value: object, path: Path) -> Iterator[_Fault]:
    """Yield what is wrong with the value at `path`, and with each of its items."""
    if message := _own_fault(rule, value):
        yield path, message
    elif rule.items is not None and isinstance(value, list):
        for index, item in enumerate(value):
            yield from value_faults(rule.items, item, (*path, index))


def declaration_faults(fields: ParameterFields, path: Path) -> Iterator[_Fault]:
    """Yield what makes no sense in the declaration at `path`."""
    if fields.required and fields.default is not None:
        yield (*path, "required"), "a required parameter has no default; drop one"
    faults = list(_rule_faults(fields, path))
    yield from faults
    if fields.default is None or faults:
        return
    if message := size_fault(fields.default):
        yield (*path, "default"), message
    yield from value_faults(rule_of(fields), fields.default, (*path, "default"))


def _rule_faults(fields: ItemFields, path: Path) -> Iterator[_Fault]:
    kind = ParameterType(fields.type)
    if message := _pattern_fault(kind, fields.pattern):
        yield (*path, "pattern"), message
    for index, choice in enumerate(fields.enum or ()):
        if message := type_fault(kind, choice):
            yield (*path, "enum", index), message
    yield from _bounds_faults(kind, fields, path)
    if fields.items is None:
        return
    if kind is not ParameterType.ARRAY:
        yield (*path, "items"), f"only an array has items, and this is of type {kind}"
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
            faults.append(((*path, name), f"type {kind} has no {name}"))
        elif message := type_fault(bound_kind, bound):
            faults.append(((*path, name), message))
    yield from faults
    if bound_kind is None or faults or len(written) < len(bounds):
        return
    if magnitude(bound_kind, fields.min) > magnitude(bound_kind, fields.max):
        yield (*path, "min"), f"is above max, which is {shown(fields.max)}"


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


def _own_fault(rule: Rule, value: object) -> str | None:
    """Return what is wrong with a value itself, its items apart."""
    if message := type_fault(rule.kind, value):
        return message
    if rule.enum and value not in rule.enum:
        choices = ", ".join(shown(choice) for choice in rule.enum[:_MAX_SHOWN_CHOICES])
        return f"must be one of {choices}, and is {shown(value)}"
    if message := _bound_fault(rule, value):
        return message
    if rule.pattern is not None and isinstance(value, str):
        return _mismatch(rule.pattern, value)
    return None


def _bound_fault(rule: Rule, value: object) -> str | None:
    kind = bound_type(rule.kind)
    if kind is None or (rule.minimum is None and rule.maximum is None):
        return None
    weight = magnitude(rule.kind, value)
    counted = "" if kind is rule.kind else "a length of "
    if rule.minimum is not None and weight < magnitude(kind, rule.minimum):
        return f"must be at least {counted}{shown(rule.minimum)}, and is {shown(value)}"
    if rule.maximum is not None and weight > magnitude(kind, rule.maximum):
        return f"must be at most {counted}{shown(rule.maximum)}, and is {shown(value)}"
    return None


def _mismatch(pattern: re.Pattern[str], text: str) -> str | None:
    if len(text) > MAX_MATCHED_CHARACTERS:
        return f"is too long for a pattern, which is tried on {MAX_MATCHED_CHARACTERS}"
    if pattern.fullmatch(text):
        return None
    return f"must match {shown(pattern.pattern)} as a whole, and is {shown(text)}"
