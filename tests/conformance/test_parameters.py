"""The rules of parameters, one row each: what is declared, and what is given."""

from typing import Any

import pytest

from execution import ParameterError, Plan
from execution.errors import PlanValidationError

LARGE = "x" * 256 * 1024


def declare(**declarations: dict[str, Any]) -> Plan:
    """Return a plan with these parameters."""
    steps = [{"id": "a", "action": "t"}]
    document = {"format": 1, "name": "p", "parameters": declarations, "steps": steps}
    return Plan.from_mapping(document)


FITS: dict[str, tuple[dict[str, Any], object]] = {
    "text is text": ({"type": "string"}, "5"),
    "text may be empty": ({"type": "string"}, ""),
    "a whole number is an integer": ({"type": "integer"}, -5),
    "an integer is a number": ({"type": "number"}, 5),
    "a fraction is a number": ({"type": "number"}, 0.5),
    "true is a boolean": ({"type": "boolean"}, True),
    "a duration stays text": ({"type": "duration"}, "1h30m"),
    "a duration may be nothing": ({"type": "duration"}, "0s"),
    "a moment has an offset": ({"type": "datetime"}, "2026-11-21T08:00:00+01:00"),
    "a moment may be of UTC": ({"type": "datetime"}, "2026-11-21T08:00:00.5Z"),
    "a mapping is an object": ({"type": "object"}, {"a": {"b": [None]}}),
    "a list is an array": ({"type": "array"}, [1, "a", None]),
    "one of the choices fits": ({"type": "integer", "enum": [1, 2]}, 2),
    "a list of choices is compared as a whole": (
        {"type": "array", "enum": [[1], [2]]},
        [2],
    ),
    "bounds count": ({"type": "integer", "min": 1, "max": 3}, 3),
    "of text its characters count": ({"type": "string", "min": 2, "max": 2}, "éé"),
    "of a list its items count": ({"type": "array", "min": 1, "max": 1}, [[1, 2]]),
    "of a duration its length counts": (
        {"type": "duration", "min": "1h", "max": "90m"},
        "1h30m",
    ),
    "of a moment the instant counts": (
        {"type": "datetime", "max": "2026-11-21T08:00:00Z"},
        "2026-11-21T09:00:00+01:00",
    ),
    "a pattern fits as a whole": ({"type": "string", "pattern": "[a-z]+"}, "abc"),
    "each item fits": (
        {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        [[1], [], [2, 3]],
    ),
    "a value may be as large as what is stored inline": (
        {"type": "string"},
        LARGE[:-2],
    ),
    "a parameter that is not required may be null": ({"type": "integer"}, None),
}

MISFITS: dict[str, tuple[dict[str, Any], object, str]] = {
    "a number is no text": ({"type": "string"}, 5, ""),
    "text is no integer": ({"type": "integer"}, "5", ""),
    "a fraction is no integer": ({"type": "integer"}, 5.0, ""),
    "a boolean is no integer": ({"type": "integer"}, True, ""),
    "text is no number": ({"type": "number"}, "0.5", ""),
    "a boolean is no number": ({"type": "number"}, False, ""),
    "a number is no boolean": ({"type": "boolean"}, 1, ""),
    "text is no boolean": ({"type": "boolean"}, "true", ""),
    "a number is no duration": ({"type": "duration"}, 30, ""),
    "a duration has a unit": ({"type": "duration"}, "30", ""),
    "a moment without an offset is none": (
        {"type": "datetime"},
        "2026-11-21T08:00:00",
        "",
    ),
    "a day is no moment": ({"type": "datetime"}, "2026-11-21", ""),
    "there is no thirtieth of February": (
        {"type": "datetime"},
        "2026-02-30T08:00:00Z",
        "",
    ),
    "a list is no object": ({"type": "object"}, [], ""),
    "an object is no array": ({"type": "array"}, {}, ""),
    "text is no array": ({"type": "array"}, "abc", ""),
    "what is no choice is refused": ({"type": "integer", "enum": [1, 2]}, 3, ""),
    "below the bound is refused": ({"type": "number", "min": 0.5}, 0.4, ""),
    "above the bound is refused": ({"type": "integer", "max": 3}, 4, ""),
    "text that is too short is refused": ({"type": "string", "min": 1}, "", ""),
    "a list that is too long is refused": ({"type": "array", "max": 1}, [1, 2], ""),
    "a duration that is too long is refused": (
        {"type": "duration", "max": "1h"},
        "61m",
        "",
    ),
    "a moment that is too late is refused": (
        {"type": "datetime", "max": "2026-11-21T08:00:00Z"},
        "2026-11-21T08:00:00-01:00",
        "",
    ),
    "a pattern does not fit in part": (
        {"type": "string", "pattern": "[a-z]+"},
        "abc1",
        "",
    ),
    "an item that does not fit has its place": (
        {"type": "array", "items": {"type": "integer"}},
        [1, "2"],
        "[1]",
    ),
    "an item of an item that does not fit has its place": (
        {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
        [["a"], [1]],
        "[1][0]",
    ),
    "an item is not null": (
        {"type": "array", "items": {"type": "integer"}},
        [None],
        "[0]",
    ),
    "an integer beyond 2^53 is refused": ({"type": "integer"}, 2**53 + 1, ""),
    "what is too large is refused": ({"type": "string"}, LARGE, ""),
    "null is none of what is required": (
        {"type": "integer", "required": True},
        None,
        "",
    ),
    "null does not stand for a default": (
        {"type": "integer", "default": 1},
        None,
        "",
    ),
}

DECLARATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "a type is stated": ({}, ".type"),
    "a type is one of eight": ({"type": "text"}, ".type"),
    "a type is not a list of types": ({"type": ["string"]}, ".type"),
    "what is required has no default": (
        {"type": "integer", "required": True, "default": 1},
        ".required",
    ),
    "a default fits": ({"type": "integer", "default": "1"}, ".default"),
    "a default is within its bounds": (
        {"type": "integer", "max": 1, "default": 2},
        ".default",
    ),
    "a default is a choice": (
        {"type": "string", "enum": ["a"], "default": "b"},
        ".default",
    ),
    "an item of a default fits": (
        {"type": "array", "items": {"type": "integer"}, "default": [1, "2"]},
        ".default[1]",
    ),
    "a choice fits": ({"type": "integer", "enum": [1, "2"]}, ".enum[1]"),
    "there is a choice": ({"type": "integer", "enum": []}, ".enum"),
    "a bound of a number is a number": ({"type": "integer", "min": "1"}, ".min"),
    "a bound of text is a length": ({"type": "string", "max": "z"}, ".max"),
    "a bound of a duration is one": ({"type": "duration", "min": 60}, ".min"),
    "a boolean has no bounds": ({"type": "boolean", "min": False}, ".min"),
    "an object has no bounds": ({"type": "object", "max": 3}, ".max"),
    "bounds leave something": ({"type": "integer", "min": 2, "max": 1}, ".min"),
    "only text has a pattern": ({"type": "integer", "pattern": "1"}, ".pattern"),
    "a pattern is a regular expression": (
        {"type": "string", "pattern": "("},
        ".pattern",
    ),
    "a pattern has 256 characters at most": (
        {"type": "string", "pattern": "a" * 257},
        ".pattern",
    ),
    "a pattern does not take for ever": (
        {"type": "string", "pattern": "(a+)+b"},
        ".pattern",
    ),
    "only arrays have items": (
        {"type": "object", "items": {"type": "string"}},
        ".items",
    ),
    "items are declared as parameters are": (
        {"type": "array", "items": {"type": "integer", "min": "1"}},
        ".items.min",
    ),
    "items have no default": (
        {"type": "array", "items": {"type": "integer", "default": 1}},
        ".items.default",
    ),
    "an unknown field is refused": ({"type": "integer", "minimum": 1}, ".minimum"),
}

TYPED: dict[str, tuple[dict[str, Any], str, object]] = {
    "a text is text": ({"type": "string"}, "5", "5"),
    "a text is an integer": ({"type": "integer"}, "5", 5),
    "a text is a number": ({"type": "number"}, "12.5", 12.5),
    "a text is a boolean": ({"type": "boolean"}, "true", True),
    "a text is a duration": ({"type": "duration"}, "1h", "1h"),
    "a text is a moment": (
        {"type": "datetime"},
        "2026-11-21T08:00:00Z",
        "2026-11-21T08:00:00Z",
    ),
    "a text is JSON of an object": ({"type": "object"}, '{"a": [1]}', {"a": [1]}),
    "a text is JSON of an array": ({"type": "array"}, "[1, null]", [1, None]),
}


@pytest.mark.parametrize(("declared", "value"), FITS.values(), ids=FITS.keys())
def test_value_is_taken_as_it_is(declared: dict[str, Any], value: object) -> None:
    bound = declare(n=declared).bind({"n": value})

    assert bound == {"n": value}
    assert type(bound["n"]) is type(value)


@pytest.mark.parametrize(
    ("declared", "value", "inner"), MISFITS.values(), ids=MISFITS.keys()
)
def test_value_is_refused_at_its_place(
    declared: dict[str, Any], value: object, inner: str
) -> None:
    with pytest.raises(ParameterError) as raised:
        declare(n=declared).bind({"n": value})

    assert [fault.place for fault in raised.value.faults] == [f"parameters.n{inner}"]


@pytest.mark.parametrize(
    ("declared", "inner"), DECLARATIONS.values(), ids=DECLARATIONS.keys()
)
def test_declaration_is_refused_at_its_place(
    declared: dict[str, Any], inner: str
) -> None:
    with pytest.raises(PlanValidationError) as raised:
        declare(n=declared)

    assert [fault.place for fault in raised.value.faults] == [f"parameters.n{inner}"]


@pytest.mark.parametrize(
    ("declared", "text", "value"), TYPED.values(), ids=TYPED.keys()
)
def test_text_of_a_command_line_is_read_as_declared(
    declared: dict[str, Any], text: str, value: object
) -> None:
    assert declare(n=declared).bind_text({"n": text}) == {"n": value}


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        ({"type": "integer"}, "5.0"),
        ({"type": "integer"}, "five"),
        ({"type": "boolean"}, "yes"),
        ({"type": "array"}, "1, 2"),
        ({"type": "object"}, "[]"),
    ],
)
def test_text_that_does_not_fit_is_refused(declared: dict[str, Any], text: str) -> None:
    with pytest.raises(ParameterError):
        declare(n=declared).bind_text({"n": text})


def test_what_is_not_given_has_its_default_or_null() -> None:
    plan = declare(a={"type": "integer", "default": 5}, b={"type": "integer"})

    assert plan.bind({}) == {"a": 5, "b": None}


def test_all_that_is_wrong_with_parameters_is_told_at_once() -> None:
    plan = declare(a={"type": "integer", "required": True}, b={"type": "integer"})

    with pytest.raises(ParameterError) as raised:
        plan.bind({"b": "1", "c": 1})

    assert sorted(fault.place for fault in raised.value.faults) == [
        "parameters.a",
        "parameters.b",
        "parameters.c",
    ]
