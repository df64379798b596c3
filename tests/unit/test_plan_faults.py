"""What is refused: every bad document, with the place and a reason for each."""

from collections.abc import Callable
from typing import Any

import pytest

from execution.errors import Fault, PlanValidationError
from execution.plan import Plan, Step

Change = Callable[[dict[str, Any]], object]


def document() -> dict[str, Any]:
    return {
        "format": 1,
        "name": "p",
        "parameters": {"root": {"type": "string"}},
        "profiles": {"slow": {"queue": "cpu"}},
        "steps": [
            {"id": "scan", "action": "demo.scan", "needs": []},
            {"id": "parse", "action": "demo.parse", "needs": ["scan"]},
        ],
    }


def faults_of(mapping: Any) -> tuple[Fault, ...]:
    with pytest.raises(PlanValidationError) as raised:
        Plan.from_mapping(mapping)
    assert all(fault.line is None for fault in raised.value.faults)
    return raised.value.faults


def faults_in_text(text: str, source: str = "<text>") -> list[str]:
    with pytest.raises(PlanValidationError) as raised:
        Plan.from_text(text, source=source)
    return [str(fault) for fault in raised.value.faults]


def with_field(name: str, value: object) -> Change:
    return lambda plan: plan.update({name: value})


def with_step_field(name: str, value: object) -> Change:
    return lambda plan: plan["steps"][1].update({name: value})


def without(name: str) -> Change:
    return lambda plan: plan.pop(name)


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        (without("format"), "format", "is missing"),
        (with_field("format", 2), "format", "2: this release reads format 1"),
        (with_field("format", "1"), "format", '"1": this release reads'),
        (with_field("format", True), "format", "true: this release reads"),
        (with_field("format", 1.0), "format", "1.0: this release reads"),
        (without("name"), "name", "is missing"),
        (with_field("name", None), "name", "is empty; give it a value"),
        (with_field("name", "../x"), "name", "1 to 128 letters"),
        (with_field("name", "a" * 129), "name", "1 to 128 letters"),
        (with_field("name", 12), "name", "must be text, and is 12; put text in quotes"),
        (with_field("version", 1.1), "version", "must be text, and is 1.1"),
        (with_field("version", "1\u202e2"), "version", "printable"),
        (with_field("tags", "a"), "tags", 'must be a list, and is "a"'),
        (with_field("tags", ["a", ""]), "tags[1]", "1 to 128 printable"),
        (with_field("description", ["a"]), "description", "must be text"),
        (without("steps"), "steps", "is missing"),
        (with_field("steps", []), "steps", "must not be empty"),
        (with_field("steps", {}), "steps", "must be a list, and is a mapping"),
        (with_field("steps", ["scan"]), "steps[0]", "must be a mapping"),
        (with_field("parameters", []), "parameters", "must be a mapping"),
        (with_field("profiles", []), "profiles", "must be a mapping"),
        (with_field("profiles", {"": {}}), 'profiles[""]', "printable"),
        (with_field("profiles", {"a": "b"}), "profiles.a", "must be a mapping"),
        (with_field("defaults", []), "defaults", "must be a mapping"),
        (with_field("result", None), "result", "is empty"),
        (with_field("step", []), "step", 'not a field here; did you mean "steps"?'),
        (with_field("qqqqqqqq", []), "qqqqqqqq", "is not a field here"),
        (with_field("env", {}), "env", "is reserved"),
        (with_step_field("switch", {}), "steps[1].switch", "is reserved"),
        (with_step_field("matrix", {}), "steps[1].matrix", "is reserved"),
        (with_step_field("include", {}), "steps[1].include", "is reserved"),
        (with_step_field("id", "Scan"), "steps[1].id", '"Scan": must be a lower-case'),
        (with_step_field("id", "a-b"), "steps[1].id", "must be a lower-case"),
        (with_step_field("id", "a" * 64), "steps[1].id", "must be a lower-case"),
        (with_step_field("id", "e\u0301"), "steps[1].id", "must be a lower-case"),
        (with_step_field("id", "loop"), "steps[1].id", "word of the expression"),
        (with_step_field("id", "in"), "steps[1].id", "word of the expression"),
        (with_step_field("id", 12), "steps[1].id", "must be text"),
        (with_step_field("id", "scan"), "steps[1].id", "is the id of steps[0] already"),
        (with_step_field("action", ""), "steps[1].action", "1 to 255 printable"),
        (with_step_field("action", "a b"), "steps[1].action", "without spaces"),
        (with_step_field("action", print), "steps[1].action", "is a builtin"),
        (with_step_field("with", []), "steps[1].with", "must be a mapping"),
        (with_step_field("when", True), "steps[1].when", "must be text, and is true"),
        (with_step_field("when", ""), "steps[1].when", "holds no expression"),
        (with_step_field("when", "1 +"), "steps[1].when", "${1 +}: is no expression"),
        (with_step_field("when", "${1} + ${2}"), "steps[1].when", 'holds "$"'),
        (
            with_step_field("when", "steps.parse.status == 'x'"),
            "steps[1].when",
            '"parse" need not be finished',
        ),
        (
            with_step_field("when", "size(steps.scna.result) > 0"),
            "steps[1].when",
            'no step is called "scna"; did you mean "scan"?',
        ),
        (with_step_field("with", {"a": "${1 +}"}), "steps[1].with.a", "${1 +}: is no"),
        (with_field("result", {"a": ["${(}"]}), "result.a[0]", "is not closed"),
        (with_step_field("needs", "scan"), "steps[1].needs", "must be a list"),
        (with_step_field("needs", [1]), "steps[1].needs[0]", "must be text"),
        (
            with_step_field("needs", ["parse"]),
            "steps[1].needs[0]",
            "cannot need itself",
        ),
        (with_step_field("needs", ["scna"]), "steps[1].needs[0]", 'mean "scan"?'),
        (with_step_field("needs", ["scan"] * 2), "steps[1].needs[1]", "a second time"),
        (with_step_field("needs", None), "steps[1].needs", "is empty"),
        (with_step_field("profile", "slwo"), "steps[1].profile", 'mean "slow"?'),
        (with_step_field("profile", 1), "steps[1].profile", "must be text"),
        (with_step_field("queue", "a\n"), "steps[1].queue", "printable"),
        (
            with_step_field("priority", 10),
            "steps[1].priority",
            "less than or equal to 9",
        ),
        (with_step_field("priority", -1), "steps[1].priority", "greater than"),
        (with_step_field("priority", True), "steps[1].priority", "valid integer"),
        (with_step_field("priority", 1.0), "steps[1].priority", "valid integer"),
        (
            with_step_field("timeout", 30),
            "steps[1].timeout",
            "30: a number needs a unit",
        ),
        (with_step_field("timeout", "0s"), "steps[1].timeout", "longer than nothing"),
        (with_step_field("timeout", -5), "steps[1].timeout", "is not a duration"),
        (with_step_field("timeout", "P1Y"), "steps[1].timeout", "is not a duration"),
        (with_step_field("timeout", "99999d"), "steps[1].timeout", "than 3650 days"),
        (with_step_field("timeout", []), "steps[1].timeout", "must be text"),
        (with_step_field("timeout", True), "steps[1].timeout", "is not a duration"),
        (with_step_field("retry", 3), "steps[1].retry", "must be a mapping"),
        (with_step_field("retry", {"attempts": 0}), "steps[1].retry.attempts", "to 1"),
        (
            with_step_field("retry", {"attempts": 10**9}),
            "steps[1].retry.attempts",
            "less than or equal to 1000",
        ),
        (with_step_field("retry", {"max_lost": 0}), "steps[1].retry.max_lost", "to 1"),
        (
            with_step_field("retry", {"atempts": 1}),
            "steps[1].retry.atempts",
            "attempts",
        ),
        (
            with_step_field("on_failure", "retry"),
            "steps[1].on_failure",
            "must be abort",
        ),
        (
            with_field("defaults", {"on_failure": {"fallback": "scan"}}),
            "defaults.on_failure",
            "cannot be a mapping here",
        ),
        (
            with_field("profiles", {"slow": {"action": "x"}}),
            "profiles.slow.action",
            "is not a field here",
        ),
    ],
)
def test_bad_field_is_refused_with_its_place(
    change: Change, place: str, message: str
) -> None:
    mapping = document()
    change(mapping)

    faults = faults_of(mapping)

    assert [fault.place for fault in faults] == [place]
    assert message in faults[0].message


@pytest.mark.parametrize("name", ["budget"])
def test_document_field_of_a_later_release_is_refused(name: str) -> None:
    (fault,) = faults_of({**document(), name: "1h"})

    assert fault.place == name
    assert "not supported by this release yet" in fault.message


@pytest.mark.parametrize(
    "name",
    [
        "resources",
        "effect",
        "checkpoint",
    ],
)
def test_step_field_of_a_later_release_is_refused(name: str) -> None:
    mapping = document()
    mapping["steps"][0][name] = "x"

    (fault,) = faults_of(mapping)

    assert fault.place == f"steps[0].{name}"
    assert "not supported by this release yet" in fault.message


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        *(("task", "action"), ("kwargs", "with"), ("if", "when")),
        *(("depends_on", "needs"), ("on_error", "on_failure"), ("name", "id")),
    ],
)
def test_what_neighbouring_tools_call_a_field_is_translated(
    written: str, meant: str
) -> None:
    mapping = document()
    mapping["steps"][1][written] = "x"

    (fault,) = faults_of(mapping)

    assert (fault.place, fault.message) == (
        f"steps[1].{written}",
        f'is not a field here; write "{meant}"',
    )


def test_step_that_does_nothing_is_refused() -> None:
    mapping = document()
    del mapping["steps"][0]["action"]

    (fault,) = faults_of(mapping)

    assert fault.place == "steps[0]"
    assert (
        "must state `action`, `plan`, `repeat`, `sleep`, `sleep_until`"
        " or `wait_for`" in fault.message
    )


def test_step_whose_kind_is_empty_is_one_fault() -> None:
    mapping = document()
    mapping["steps"][0]["action"] = None

    assert [fault.place for fault in faults_of(mapping)] == ["steps[0].action"]


@pytest.mark.parametrize("mapping", [None, [], "x", 3])
def test_plan_is_a_mapping(mapping: object) -> None:
    (fault,) = faults_of(mapping)

    assert fault.place == "plan"
    assert "must be a mapping of fields" in fault.message


def test_every_fault_is_found_in_one_go_with_line_and_column() -> None:
    text = """\
format: 2
name: p
nmae: q
parameters:
  n: {type: integer, default: "3"}
defaults: {timeout: 5}
steps:
  - id: scan
    action: demo.scan
    needs: [scna]
    with: {a: *x, b: "${parameters.m}"}
  - id: scan
    needs: [scan]
    resources: {pool: 1}
    on_failure: {restore: scan}
result: ${steps.scan.reslut}
result: 2
"""

    assert (
        "\n".join(faults_in_text(text))
        == """\
format (line 1, column 1): 2: this release reads format 1
nmae (line 3, column 1): is not a field here; did you mean "name"?
parameters.n.default (line 5, column 22): must be of type integer, and is "3"
defaults.timeout (line 6, column 12): 5: a number needs a unit: 5s, 5m or 5h
steps[0].needs[0] (line 10, column 13): no step is called "scna"; did you mean "scan"?
steps[0].with.a (line 11, column 15): is an alias (*x); write it out
steps[0].with.b (line 11, column 19): ${parameters.m}: no parameter is called "m"
steps[1] (line 12, column 5): must state `action`, `plan`, \
`repeat`, `sleep`, `sleep_until` or `wait_for`: \
what the step does
steps[1].id (line 12, column 5): "scan" is the id of steps[0] already
steps[1].resources (line 14, column 5): is not supported by this release yet; \
leave it out or upgrade
steps[1].on_failure (line 15, column 5): `times` must say how often, from 1 to 10
result (line 17, column 1): is given twice; keep one of the two"""
    )


def test_faults_of_json_have_line_and_column_too() -> None:
    text = '{"format": 1,\n "name": "p",\n "steps": [{"id": "A",\r\n  "action": 1}]}'

    assert [fault.partition(":")[0] for fault in faults_in_text(text)] == [
        "steps[0].id (line 3, column 13)",
        "steps[0].action (line 4, column 3)",
    ]


@pytest.mark.parametrize(
    ("text", "source", "start"),
    [
        ("", "<text>", "<text> (line 1, column 1): is empty"),
        ("[]", "a.yaml", "a.yaml (line 1, column 1): must be a mapping"),
        ("{", "a.json", "a.json (line 1, column 2): is not JSON"),
        ("{a: b", "a.yaml", "a.yaml (line 1, column 6): is not YAML"),
        ("[" * 100_000, "a", "[0][0]"),
        ('{"a":' * 100_000, "a", "a.a.a"),
    ],
)
def test_text_that_is_no_plan_is_refused(text: str, source: str, start: str) -> None:
    assert faults_in_text(text, source)[0].startswith(start)


def test_python_steps_have_the_places_of_a_document() -> None:
    with pytest.raises(PlanValidationError) as raised:
        Plan("p", steps=[Step("A", action="x"), Step("b", action=object())])  # type: ignore[arg-type]  # no action

    assert [fault.place for fault in raised.value.faults] == [
        "steps[0].id",
        "steps[1].action",
    ]
