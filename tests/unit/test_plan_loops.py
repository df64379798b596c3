"""Steps that repeat what they do until it is enough: what a plan may say of them."""

from typing import Any

import pytest

from execution.errors import PlanValidationError
from execution.plan import Plan, Repetition, Step


def plan_of(repeat: object = None, /, **fields: Any) -> Plan:
    repeated = {
        "action": "x.think",
        "with": {"before": "${last}", "turn": "${index}"},
        "until": "last.done",
        "times": 12,
    }
    changes = {} if repeat is None else repeat
    written = repeated | changes if isinstance(changes, dict) else changes
    steps = [
        {"id": "ask", "action": "x.ask"},
        {"id": "think", "repeat": written, **fields},
    ]
    return Plan.from_mapping({"format": 1, "name": "p", "steps": steps})


def faults_of(repeat: object = None, /, **fields: Any) -> dict[str, str]:
    with pytest.raises(PlanValidationError) as raised:
        plan_of(repeat, **fields)
    return {fault.place: fault.message for fault in raised.value.faults}


def test_a_loop_calls_what_it_repeats_with_policies_of_its_own() -> None:
    step = plan_of({"wait": "2s"}, timeout="30s", retry={"attempts": 3}).steps[1]

    assert step.repeat == Repetition("last.done", 12, 2.0)
    assert (step.action, step.inputs) == (
        "x.think",
        {"before": "${last}", "turn": "${index}"},
    )
    assert (step.timeout_seconds, step.max_attempts) == (30.0, 3)


def test_a_loop_in_python_is_the_same_plan() -> None:
    repeat = {"action": "x.think", "times": 3}
    steps = [Step("ask", action="x.ask"), Step("think", repeat=repeat)]

    document = {**repeat, "with": {}}
    written = {"id": "think", "repeat": document}
    mapping = {
        "format": 1,
        "name": "p",
        "steps": [{"id": "ask", "action": "x.ask"}, written],
    }
    assert Plan("p", steps=steps).digest == Plan.from_mapping(mapping).digest


def test_a_loop_reads_what_its_condition_and_its_inputs_name() -> None:
    repeat = {
        "action": "x.c",
        "with": {"b": "${steps.b.result}"},
        "until": "last == steps.a.result",
        "times": 2,
    }
    steps = [Step("a", action="x.a"), Step("b", action="x.b"), Step("c", repeat=repeat)]

    loop = Plan("p", steps=steps).steps[2]

    assert (loop.reads, loop.item_reads) == ((0, 1), (1,))


@pytest.mark.parametrize(
    ("repeat", "place", "message"),
    [
        ([], "steps[1].repeat", "must be a mapping"),
        ({"times": 0}, "steps[1].repeat.times", "greater than or equal to 1"),
        ({"times": 1001}, "steps[1].repeat.times", "less than or equal to 1000"),
        ({"times": "3"}, "steps[1].repeat.times", "valid integer"),
        ({"until": True}, "steps[1].repeat.until", "must be text"),
        ({"until": "last +"}, "steps[1].repeat.until", "is no expression"),
        ({"until": "item > 1"}, "steps[1].repeat.until", "only for_each has it"),
        (
            {"until": "steps.late.status == 'x'"},
            "steps[1].repeat.until",
            'no step is called "late"',
        ),
        ({"with": {"x": "${item}"}}, "steps[1].repeat.with.x", "only for_each has it"),
        ({"with": {"x": "${lst}"}}, "steps[1].repeat.with.x", 'there is no "lst"'),
        ({"wait": "0s"}, "steps[1].repeat.wait", "longer than nothing"),
        ({"wait": 3}, "steps[1].repeat.wait", "a number needs a unit"),
        ({"action": "a b"}, "steps[1].repeat.action", "without spaces"),
        ({"plan": "other"}, "steps[1].repeat", "states `action` and `plan`; a loop"),
        ({"max_iterations": 3}, "steps[1].repeat.max_iterations", 'write "times"'),
        ({"while": "x"}, "steps[1].repeat.while", 'write "until"'),
        ({"retry": {}}, "steps[1].repeat.retry", "is not a field here"),
    ],
)
def test_a_fault_in_a_loop_has_its_place(
    repeat: object, place: str, message: str
) -> None:
    faults = faults_of(repeat)

    assert message in faults[place]


def test_a_loop_says_what_it_calls_and_how_often() -> None:
    assert faults_of(action="x.y") == {
        "steps[1]": "states `action` and `repeat`; a step is one of them"
    }
    steps = [{"id": "a", "repeat": {"until": "last"}}]
    with pytest.raises(PlanValidationError) as raised:
        Plan.from_mapping({"format": 1, "name": "p", "steps": steps})

    assert {fault.place for fault in raised.value.faults} == {
        *("steps[0].repeat", "steps[0].repeat.times"),
    }


def test_a_loop_may_run_a_plan() -> None:
    repeat = {"plan": "inner@2", "with": {"before": "${last}"}, "times": 3}
    plan = Plan("p", steps=[Step("a", repeat=repeat, deadline="1h")])

    (step,) = plan.steps

    assert (step.subplan, step.inputs) == ("inner@2", {"before": "${last}"})
    assert step.repeat == Repetition(None, 3, None)
    assert plan.warnings == ()


@pytest.mark.parametrize(
    ("fields", "inputs", "place", "message"),
    [
        ({"timeout": "1m"}, {}, "steps[0].timeout", "state a `deadline`"),
        ({"retry": {"attempts": 2}}, {}, "steps[0].retry", "policies of their own"),
        (
            {},
            {"k": "secret://K"},
            "steps[0].repeat.with.k",
            "cannot be handed to a plan",
        ),
    ],
)
def test_a_loop_of_a_plan_states_what_a_plan_can(
    fields: dict[str, Any], inputs: dict[str, Any], place: str, message: str
) -> None:
    repeat = {"plan": "inner", "with": inputs, "times": 3}

    with pytest.raises(PlanValidationError) as raised:
        Plan("p", steps=[Step("a", repeat=repeat, **fields)])

    faults = {fault.place: fault.message for fault in raised.value.faults}
    assert message in faults[place]


@pytest.mark.parametrize(
    ("fields", "place", "message"),
    [
        ({"with": {"a": 1}}, "steps[1].with", "write it inside of `repeat`"),
        ({"until": "last"}, "steps[1].until", "stands inside of `repeat`"),
        ({"times": 3}, "steps[1].times", "stands inside of `repeat`"),
        (
            {"for_each": "steps.ask.result"},
            "steps[1].for_each",
            "cannot be stated beside `repeat`",
        ),
        (
            {"run_on": "always", "deadline": "1m"},
            "steps[1].repeat",
            "cannot be stated beside `run_on`",
        ),
        (
            {"undo": {"repeat": {}, "action": "x.u"}},
            "steps[1].undo.repeat",
            "not supported by this release",
        ),
        ({"cache": {"ttl": "1h"}}, "steps[1].cache", "beside `repeat`"),
        ({"max_parallel": 2}, "steps[1].max_parallel", "without `for_each`"),
    ],
)
def test_what_cannot_stand_beside_a_loop_is_a_fault(
    fields: dict[str, Any], place: str, message: str
) -> None:
    faults = faults_of(**fields)

    assert message in faults[place]


def test_a_fallback_is_no_loop() -> None:
    steps = [
        Step("a", action="x.a", on_failure={"fallback": "b"}),
        Step("b", repeat={"action": "x.b", "times": 2}),
    ]

    with pytest.raises(PlanValidationError, match="a fallback cannot state it"):
        Plan("p", steps=steps)


@pytest.mark.parametrize("name", ["last", "index"])
def test_the_names_of_loops_are_known_only_there(name: str) -> None:
    steps = [{"id": "a", "action": "x.a", "with": {"x": f"${{{name}}}"}}]

    with pytest.raises(PlanValidationError, match=f"no `{name}` here; only .*repeat"):
        Plan.from_mapping({"format": 1, "name": "p", "steps": steps})


@pytest.mark.parametrize(
    ("until", "is_odd"),
    [("last.done", False), ("index > 3", False), ("steps.ask.result.done", True)],
)
def test_a_condition_that_never_changes_is_warned_of(until: str, is_odd: bool) -> None:
    warnings = plan_of({"until": until}).warnings

    assert any("names neither `last` nor `index`" in str(w) for w in warnings) is is_odd


def test_without_a_condition_nothing_is_odd() -> None:
    repeat = {"action": "x.a", "times": 2}
    plan = Plan("p", steps=[Step("a", repeat=repeat, timeout="1m")])

    assert plan.steps[0].repeat == Repetition(None, 2, None)
    assert plan.warnings == ()
