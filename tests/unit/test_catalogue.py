"""What a plan makes of the catalogue: unknown actions, and inputs that do not fit."""

import time
from typing import Any

import pytest

from execution import Plan, Step
from execution.catalogue import (
    ActionSignature,
    check_inputs,
    check_names,
)
from execution.language.findings import Findings

INTEGER = {"type": "integer"}
RESIZE: dict[str, Any] = {
    "parameters": [
        {"name": "path", "hint": "str", "required": True, "schema": {"type": "string"}},
        {"name": "width", "hint": "int", "default": 80, "schema": INTEGER},
        {"name": "note"},
    ]
}
OPEN: dict[str, Any] = {"parameters": [], "more": INTEGER}
SIGNATURES = {
    "image.resize": ActionSignature.from_json(RESIZE),
    "sum": ActionSignature.from_json(OPEN),
    "undescribed": None,
}


def build_plan(*steps: tuple[str, dict[str, Any]]) -> Plan:
    return Plan(
        "images",
        parameters={"path": {"type": "string"}},
        steps=[
            Step(f"s{number}", action=action, with_=inputs)
            for number, (action, inputs) in enumerate(steps)
        ],
    )


def list_faults(plan: Plan) -> list[str]:
    findings = Findings()
    check_names(plan.steps, SIGNATURES, findings)
    check_inputs(plan.steps, SIGNATURES, findings)
    return [str(fault) for fault in plan.locate(findings)]


@pytest.mark.parametrize(
    ("action", "inputs"),
    [
        ("image.resize", {"path": "a.png"}),
        ("image.resize", {"path": "a.png", "width": 5, "note": [1]}),
        ("image.resize", {"path": "${parameters.path}", "width": "${parameters.path}"}),
        ("image.resize", {"path": "in/${parameters.path}"}),
        ("sum", {}),
        ("sum", {"a": 1, "b": "${parameters.path}"}),
        ("undescribed", {"what": "ever"}),
    ],
)
def test_inputs_that_fit(action: str, inputs: dict[str, Any]) -> None:
    assert list_faults(build_plan((action, inputs))) == []


@pytest.mark.parametrize(
    ("action", "inputs", "fault"),
    [
        (
            "image.resise",
            {},
            (
                'steps[0].action: no worker has published "image.resise";'
                ' did you mean "image.resize"?'
            ),
        ),
        ("other", {}, 'steps[0].action: no worker has published "other"'),
        (
            "image.resize",
            {"width": 1},
            (
                "steps[0].with.path: is missing: the action is"
                " image.resize(path: str, width: int = 80, note = …)"
            ),
        ),
        (
            "image.resize",
            {"path": "a", "widht": 1},
            'steps[0].with.widht: is no input of image.resize; did you mean "width"?',
        ),
        (
            "image.resize",
            {"path": "a", "colour": 1},
            (
                "steps[0].with.colour: is no input of image.resize, which is"
                " image.resize(path: str, width: int = 80, note = …)"
            ),
        ),
        (
            "image.resize",
            {"path": 5},
            "steps[0].with.path: must be of type string, and is 5",
        ),
        (
            "image.resize",
            {"path": "a", "width": "${parameters.path}px"},
            "steps[0].with.width: must be of type integer, and is text around ${…}",
        ),
        (
            "sum",
            {"a": "b"},
            'steps[0].with.a: must be of type integer, and is "b"',
        ),
    ],
)
def test_what_does_not_fit(action: str, inputs: dict[str, Any], fault: str) -> None:
    assert list_faults(build_plan((action, inputs))) == [fault]


def test_all_faults_are_found_at_once_in_the_order_of_the_document() -> None:
    plan = build_plan(
        ("image.resize", {"width": "wide", "colour": "red"}),
        ("sum", {"a": 1}),
        ("nobodys", {}),
    )

    assert [fault.partition(": ")[0] for fault in list_faults(plan)] == [
        "steps[0].with.colour",
        "steps[0].with.path",
        "steps[0].with.width",
        "steps[2].action",
    ]


def test_the_action_that_undoes_a_step_is_compared_at_its_place() -> None:
    undo = {"action": "image.resize", "with": {"path": "a", "width": "wide"}}
    more = {"action": "nobodys"}
    plan = Plan(
        "undoing",
        rollback="on_failure",
        steps=[
            Step("one", action="sum"),
            Step("two", action="sum", undo=undo),
            Step("three", action="sum", undo=more),
        ],
    )

    assert list_faults(plan) == [
        'steps[1].undo.with.width: must be of type integer, and is "wide"',
        'steps[2].undo.action: no worker has published "nobodys"',
    ]


def test_what_a_loop_repeats_is_compared_at_its_place() -> None:
    turns = {"action": "image.resize", "with": {"path": "a", "width": "w"}, "times": 2}
    more = {"action": "nobodys", "times": 2}
    plan = Plan("loops", steps=[Step("one", repeat=turns), Step("two", repeat=more)])

    assert list_faults(plan) == [
        'steps[0].repeat.with.width: must be of type integer, and is "w"',
        'steps[1].repeat.action: no worker has published "nobodys"',
    ]


@pytest.mark.usefixtures("untraced")
def test_a_plan_full_of_unknown_names_is_compared_in_time() -> None:
    closed = {
        "type": "object",
        "properties": {f"known{number}": {} for number in range(500)},
        "additionalProperties": False,
    }
    signature = ActionSignature.from_json(
        {"parameters": [{"name": "value", "schema": closed}]}
    )
    plan = build_plan(
        *[("wide", {"value": {f"knwon{n}": 1 for n in range(5_000)}})] * 2
    )
    findings = Findings()

    begun = time.process_time()
    check_inputs(plan.steps, {"wide": signature}, findings)

    assert time.process_time() - begun < 5
    assert "did you mean" in next(iter(findings)).message


def test_faults_of_a_plan_that_was_read_have_their_lines() -> None:
    text = (
        "\N{ZERO WIDTH NO-BREAK SPACE}format: 1\n"
        "name: images\n"
        "steps:\n"
        "  - id: one\n"
        "    action: image.resize\n"
        "    with: {width: wide}\n"
    )
    findings = Findings()

    plan = Plan.from_text(text, source="images.yaml")
    check_inputs(plan.steps, SIGNATURES, findings)

    assert [(f.place, f.line, f.column) for f in plan.locate(findings)] == [
        ("steps[0].with.path", 6, 5),
        ("steps[0].with.width", 6, 12),
    ]
    assert plan.locate(Findings()) == ()


def test_a_signature_is_shown_as_it_is_called() -> None:
    long = {"name": "words", "default": ["word"] * 20}
    short = {"name": "words", "default": []}

    assert str(ActionSignature.from_json({"parameters": [long]})) == "(words = …)"
    assert str(ActionSignature.from_json({"parameters": [short]})) == "(words = [])"
    assert str(SIGNATURES["sum"]) == "(…)"
    assert str(SIGNATURES["image.resize"]) == ("(path: str, width: int = 80, note = …)")
