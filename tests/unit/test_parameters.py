"""Parameters: what a declaration may say, and which values are bound."""

from datetime import UTC, datetime
from typing import Any

import pytest

from execution.errors import ErrorCode, ParameterError, PlanValidationError
from execution.language.parameter_types import ParameterType, magnitude
from execution.plan import Plan

STEPS = [{"id": "a", "action": "demo.a"}]


def plan_with(**parameters: object) -> Plan:
    return Plan.from_mapping(
        {"format": 1, "name": "p", "parameters": parameters, "steps": STEPS}
    )


def faults_of_declaration(declaration: object) -> dict[str, str]:
    with pytest.raises(PlanValidationError) as raised:
        plan_with(x=declaration)
    return {fault.place: fault.message for fault in raised.value.faults}


def faults_of_binding(plan: Plan, values: Any) -> dict[str, str]:
    with pytest.raises(ParameterError) as raised:
        plan.bind(values)
    return {fault.place: fault.message for fault in raised.value.faults}


@pytest.mark.parametrize(
    ("declaration", "value"),
    [
        ({"type": "string"}, "text"),
        ({"type": "string", "min": 2, "max": 3}, "abc"),
        ({"type": "string", "pattern": "[a-z]+(-[a-z]+)*"}, "a-slug"),
        ({"type": "string", "enum": ["a", "b"]}, "b"),
        ({"type": "integer"}, 3),
        ({"type": "integer", "min": -1, "max": 3}, -1),
        ({"type": "number"}, 3),
        ({"type": "number", "min": 0.5}, 0.5),
        ({"type": "boolean"}, False),
        ({"type": "duration", "min": "1m", "max": "1h"}, "90s"),
        ({"type": "datetime"}, "2026-11-21T08:00:00Z"),
        ({"type": "datetime"}, "2026-11-21t08:00:00.5+02:00"),
        (
            {"type": "datetime", "max": "2026-11-21T08:00:00Z"},
            "2026-11-21T09:00:00+02:00",
        ),
        ({"type": "object"}, {"a": [1]}),
        ({"type": "array", "max": 2}, [1, "a"]),
        ({"type": "array", "items": {"type": "integer", "min": 1}}, [1, 2]),
        (
            {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
            [["a"]],
        ),
    ],
)
def test_fitting_value_is_bound_as_it_is(declaration: object, value: object) -> None:
    assert plan_with(x=declaration).bind({"x": value}) == {"x": value}


@pytest.mark.parametrize(
    ("declaration", "value", "message"),
    [
        ({"type": "string"}, 1, "must be of type string, and is 1"),
        ({"type": "string"}, ["a"], "and is a list"),
        ({"type": "string", "min": 2}, "a", "at least a length of 2"),
        ({"type": "string", "max": 2}, "abc", "at most a length of 2"),
        ({"type": "string", "pattern": "a+"}, "aab", "must match"),
        ({"type": "string", "pattern": "a+"}, "a\n", "must match"),
        ({"type": "string", "pattern": "a+"}, "a" * 1025, "is too long for a pattern"),
        ({"type": "string", "enum": ["a", "b"]}, "c", 'must be one of "a", "b"'),
        ({"type": "integer"}, "1", 'and is "1"'),
        ({"type": "integer"}, 1.0, "and is 1.0"),
        ({"type": "integer"}, True, "and is true"),
        ({"type": "integer", "min": 1}, 0, "at least 1"),
        ({"type": "integer"}, 2**53 + 1, "beyond ±2^53"),
        ({"type": "number"}, float("nan"), "not a finite number"),
        ({"type": "number"}, False, "must be of type number"),
        ({"type": "number", "max": 0.5}, 1, "at most 0.5"),
        ({"type": "boolean"}, 0, "must be of type boolean"),
        ({"type": "boolean"}, "true", "must be of type boolean"),
        ({"type": "duration"}, 30, "must be a duration such as 30s"),
        ({"type": "duration"}, "30", "needs a unit"),
        ({"type": "duration", "max": "1h"}, "61m", 'at most "1h"'),
        ({"type": "datetime"}, "2026-11-21", "with its offset from UTC"),
        ({"type": "datetime"}, "2026-11-21T08:00:00", "with its offset from UTC"),
        ({"type": "datetime"}, "2026-13-21T08:00:00Z", "is no moment"),
        ({"type": "datetime"}, "9999-12-31T23:59:59Z", "of the years 2 to 9998"),
        ({"type": "datetime"}, "0001-01-01T00:00:00Z", "of the years 2 to 9998"),
        ({"type": "datetime"}, 5, "with its offset from UTC"),
        ({"type": "datetime"}, datetime(2026, 11, 21, tzinfo=UTC), "is a datetime"),
        ({"type": "object"}, [], "must be of type object"),
        ({"type": "array"}, {}, "must be of type array"),
        ({"type": "array", "min": 1}, [], "at least a length of 1"),
        ({"type": "string"}, "a\x00", "NUL"),
        ({"type": "string"}, "\ud800", "surrogate"),
        ({"type": "string"}, "a" * 262_143, "takes 262,145 bytes"),
        ({"type": "string", "required": True}, None, "and is null"),
        ({"type": "string", "default": "a"}, None, "and is null"),
    ],
)
def test_value_that_does_not_fit_is_refused(
    declaration: object, value: object, message: str
) -> None:
    faults = faults_of_binding(plan_with(x=declaration), {"x": value})

    assert list(faults) == ["parameters.x"]
    assert message in faults["parameters.x"]


def test_fault_in_an_item_has_the_place_of_the_item() -> None:
    plan = plan_with(x={"type": "array", "items": {"type": "integer"}})

    assert list(faults_of_binding(plan, {"x": [1, "2", None]})) == [
        "parameters.x[1]",
        "parameters.x[2]",
    ]


def test_parameters_that_are_not_given_have_their_default_or_are_null() -> None:
    plan = plan_with(a={"type": "array", "default": [1]}, b={"type": "string"})

    bound = plan.bind({})

    assert bound == {"a": [1], "b": None}
    assert plan.bind(bound) == bound


def test_default_is_not_shared_between_executions() -> None:
    plan = plan_with(a={"type": "array", "default": [1]})

    first: Any = plan.bind({})["a"]
    first.append(2)

    assert plan.bind({})["a"] == [1]


def test_every_fault_of_a_binding_is_found_in_one_go() -> None:
    plan = plan_with(
        root={"type": "string", "required": True}, count={"type": "integer"}
    )

    faults = faults_of_binding(plan, {"rot": "/", "count": "3"})

    assert faults == {
        "parameters.rot": 'the plan has no such parameter; did you mean "root"?',
        "parameters.root": "is required, and was not given",
        "parameters.count": 'must be of type integer, and is "3"',
    }


@pytest.mark.parametrize("values", [None, [], "x", 3])
def test_parameters_are_a_mapping(values: object) -> None:
    assert list(faults_of_binding(plan_with(), values)) == ["parameters"]


def test_values_that_contain_themselves_are_refused() -> None:
    endless: list[object] = []
    endless.append(endless)

    faults = faults_of_binding(plan_with(x={"type": "array"}), {"x": endless})

    assert "nested deeper than 64" in next(iter(faults.values()))


def test_parameter_error_has_the_code_of_a_validation() -> None:
    assert ParameterError.code is ErrorCode.VALIDATION


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("string", "12", "12"),
        ("integer", "12", 12),
        ("number", "1.5", 1.5),
        ("number", "-2", -2),
        ("boolean", "true", True),
        ("boolean", "false", False),
        ("duration", "30s", "30s"),
        ("datetime", "2026-11-21T08:00:00Z", "2026-11-21T08:00:00Z"),
        ("object", '{"a": 1}', {"a": 1}),
        ("array", "[1, 2]", [1, 2]),
    ],
)
def test_text_is_read_as_declared(kind: str, text: str, value: object) -> None:
    assert plan_with(x={"type": kind}).bind_text({"x": text}) == {"x": value}


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("integer", "abc", 'must be of type integer, and is "abc"'),
        ("integer", "1.0", "must be of type integer, and is 1.0"),
        ("integer", "", 'must be of type integer, and is ""'),
        ("integer", "9" * 30, "must be of type integer"),
        ("number", "NaN", 'must be of type number, and is "NaN"'),
        ("boolean", "yes", 'must be of type boolean, and is "yes"'),
        ("boolean", "1", "must be of type boolean, and is 1"),
        ("duration", "30", "needs a unit"),
        ("object", "{a: 1}", "is not JSON"),
        ("object", "[]", "must be of type object"),
        ("array", "[1", "is not JSON"),
    ],
)
def test_text_that_is_something_else_is_refused(
    kind: str, text: str, message: str
) -> None:
    with pytest.raises(ParameterError) as raised:
        plan_with(x={"type": kind}).bind_text({"x": text})

    (fault,) = raised.value.faults
    assert fault.place == "parameters.x"
    assert message in fault.message


def test_text_for_an_unknown_parameter_is_refused_with_the_others() -> None:
    with pytest.raises(ParameterError) as raised:
        plan_with(x={"type": "array"}).bind_text({"y": "1", "x": '{"a": [1,, 2]}'})

    assert [fault.place for fault in raised.value.faults] == [
        "parameters.x",
        "parameters.y",
    ]


@pytest.mark.parametrize(
    ("declaration", "place", "message"),
    [
        ({}, "type", "is missing"),
        ({"type": "int"}, "type", "must be 'string', 'integer'"),
        ({"type": "string", "requird": True}, "requird", 'did you mean "required"?'),
        ({"type": "string", "default": None}, "default", "is empty"),
        ({"type": "integer", "default": "3"}, "default", "must be of type integer"),
        ({"type": "integer", "min": 5, "default": 3}, "default", "at least 5"),
        ({"type": "string", "default": "a", "required": True}, "required", "drop one"),
        ({"type": "string", "required": "yes"}, "required", "valid boolean"),
        ({"type": "string", "default": "a" * 262_143}, "default", "262,145 bytes"),
        ({"type": "string", "enum": []}, "enum", "must not be empty"),
        ({"type": "string", "enum": ["a", 1]}, "enum[1]", "must be of type string"),
        ({"type": "string", "enum": ["a"], "default": "b"}, "default", "one of"),
        ({"type": "boolean", "min": 1}, "min", "has no min"),
        ({"type": "object", "max": 1}, "max", "has no max"),
        ({"type": "string", "min": "a"}, "min", "must be of type integer"),
        ({"type": "duration", "max": 30}, "max", "must be a duration"),
        ({"type": "integer", "min": 2, "max": 1}, "min", "is above max, which is 1"),
        ({"type": "integer", "pattern": "1"}, "pattern", "only a string has a pattern"),
        ({"type": "string", "pattern": "("}, "pattern", "is no regular expression"),
        ({"type": "string", "pattern": "a" * 257}, "pattern", "longer than 256"),
        ({"type": "string", "pattern": "a{99999999999}"}, "pattern", "no regular"),
        ({"type": "string", "pattern": "(a+)+$"}, "pattern", "can take years"),
        ({"type": "string", "pattern": "(?:[a-z]*)*"}, "pattern", "can take years"),
        ({"type": "string", "pattern": r"(\w+\s?)*"}, "pattern", "can take years"),
        ({"type": "string", "pattern": "([)]+){2,}"}, "pattern", "can take years"),
        ({"type": "string", "items": {"type": "string"}}, "items", "only an array"),
        ({"type": "array", "items": {}}, "items.type", "is missing"),
        (
            {"type": "array", "items": {"type": "array", "items": {"type": "x"}}},
            "items.items.type",
            "must be",
        ),
        (
            {"type": "array", "items": {"type": "boolean", "min": 1}},
            "items.min",
            "has no min",
        ),
        (
            {"type": "array", "items": {"type": "string", "default": "a"}},
            "items.default",
            "is not a field here",
        ),
        (
            {"type": "array", "items": {"type": "integer"}, "default": [1, "a"]},
            "default[1]",
            "must be of type integer",
        ),
    ],
)
def test_declaration_without_sense_is_refused(
    declaration: object, place: str, message: str
) -> None:
    faults = faults_of_declaration(declaration)

    assert list(faults) == [f"parameters.x.{place}"]
    assert message in faults[f"parameters.x.{place}"]


@pytest.mark.parametrize(
    "pattern", ["(a+b)+", r"(\d+,)*\d+", "[(+]+", "(ab)*", "(a|b)+", "a+b+", r"\(a+\)+"]
)
def test_pattern_whose_turns_end_clearly_is_allowed(pattern: str) -> None:
    assert plan_with(x={"type": "string", "pattern": pattern}).name == "p"


@pytest.mark.parametrize("declaration", [None, "string", ["string"], 3])
def test_declaration_is_a_mapping(declaration: object) -> None:
    assert list(faults_of_declaration(declaration)) == ["parameters.x"]


@pytest.mark.parametrize("name", ["1x", "a-b", "a b", "", "in", "true", "é", "a" * 64])
def test_parameter_name_that_no_path_can_hold_is_refused(name: str) -> None:
    with pytest.raises(PlanValidationError, match="up to 62 letters"):
        plan_with(**{name: {"type": "string"}})


@pytest.mark.parametrize("name", ["package", "Root", "_x", "a" * 63])
def test_parameter_names_may_be_words_that_step_ids_may_not(name: str) -> None:
    assert plan_with(**{name: {"type": "string"}}).bind({}) == {name: None}


def test_what_has_no_order_has_no_magnitude() -> None:
    with pytest.raises(TypeError):
        magnitude(ParameterType.BOOLEAN, True)
