"""What comes after the steps: what a plan may say of it, and what it compiles to."""

from collections.abc import Callable
from typing import Any

import pytest

from execution.errors import PlanValidationError
from execution.plan import Plan, Step
from execution.states import EndReason, Section

Change = Callable[[dict[str, Any]], object]


def document() -> dict[str, Any]:
    return {
        "format": 1,
        "name": "p",
        "deadline": "1h",
        "rollback": "on_failure",
        "steps": [
            {"id": "a", "action": "x.a", "undo": {"action": "x.undo"}},
            {"id": "tidy", "action": "x.tidy", "run_on": "always", "deadline": "1m"},
            {"id": "b", "action": "x.b"},
        ],
    }


def step_of(plan: dict[str, Any], name: str) -> dict[str, Any]:
    return next(step for step in plan["steps"] if step["id"] == name)


def with_field(step: str, name: str, value: object) -> Change:
    return lambda plan: step_of(plan, step).update({name: value})


def without(step: str, name: str) -> Change:
    return lambda plan: step_of(plan, step).pop(name)


def test_steps_of_the_end_stand_outside_of_the_sequence() -> None:
    plan = Plan.from_mapping(document())

    a, tidy, b, undo = plan.steps
    assert (a.successors, b.needs, tidy.needs, tidy.successors) == ((2,), (0,), (), ())
    assert [step.section for step in plan.steps] == [
        *(Section.STEPS, Section.END, Section.STEPS, Section.ROLLBACK),
    ]
    assert (tidy.run_on, undo.name, undo.undoes) == ("always", "a.undo", 0)
    assert plan.result_reads == (2,)


def test_steps_of_the_end_need_nothing_in_a_graph() -> None:
    written = document()
    step_of(written, "a")["needs"] = []
    step_of(written, "b")["needs"] = ["a"]

    plan = Plan.from_mapping(written)

    assert [step.needs for step in plan.steps] == [(), (), (0,), ()]


def test_defaults_hold_for_what_undoes_and_profiles_do_not() -> None:
    written = document()
    written["defaults"] = {"timeout": "30s", "retry": {"attempts": 3}}
    written["profiles"] = {"slow": {"queue": "cpu"}}
    step_of(written, "a")["profile"] = "slow"

    undo = Plan.from_mapping(written).steps[-1]

    assert (undo.timeout_seconds, undo.max_attempts, undo.queue) == (30.0, 3, None)


@pytest.mark.parametrize(
    ("rollback", "reasons"),
    [
        ("on_failure", (EndReason.ABORT, EndReason.DEADLINE)),
        (["on_cancel"], (EndReason.CANCEL,)),
        (
            ["on_cancel", "on_failure", "on_cancel"],
            (EndReason.CANCEL, EndReason.ABORT, EndReason.DEADLINE),
        ),
        ([], ()),
    ],
)
def test_rollback_names_the_ends_it_is_for(
    rollback: object, reasons: tuple[EndReason, ...]
) -> None:
    assert Plan.from_mapping({**document(), "rollback": rollback}).rollback == reasons


@pytest.mark.parametrize(
    ("failing", "cancels"),
    [(None, False), ("finish_running", False), ("cancel_running", True)],
)
def test_failing_says_what_becomes_of_what_runs(
    failing: str | None, cancels: bool
) -> None:
    plan = Plan("p", steps=[Step("a", action="x.a")], failing=failing)

    assert plan.cancels_running is cancels


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        (
            without("tidy", "deadline"),
            "steps[1].deadline",
            "is missing: a step of the end needs one",
        ),
        (
            with_field("tidy", "needs", ["a"]),
            "steps[1].needs",
            "cannot be stated beside `run_on`",
        ),
        (
            with_field("tidy", "undo", {"action": "x.b"}),
            "steps[1].undo",
            "by then nothing is undone",
        ),
        (with_field("tidy", "run_on", "success"), "steps[1].run_on", "must be"),
        (with_field("a", "undo", {}), "steps[0].undo.action", "is missing"),
        (
            with_field("a", "undo", {"action": "x.u", "needs": []}),
            "steps[0].undo.needs",
            "is not a field here",
        ),
        (
            with_field(
                "a", "undo", {"action": "x.u", "retry": {"attempts": 2, "on": ["E999"]}}
            ),
            "steps[0].undo.retry.on[0]",
            "E999",
        ),
        (
            with_field("b", "with", {"x": "${steps.tidy.result}"}),
            "steps[2].with.x",
            "runs when this step has ended",
        ),
        (
            with_field("b", "with", {"x": "${step.result}"}),
            "steps[2].with.x",
            "there is no `step` here; only undo has it",
        ),
        (
            with_field("a", "undo", {"action": "x.u", "with": {"x": "${step}"}}),
            "steps[0].undo.with.x",
            "write step.result or",
        ),
        (
            with_field("a", "undo", {"action": "x.u", "with": {"x": "${step.reslt}"}}),
            "steps[0].undo.with.x",
            'did you mean "result"',
        ),
        (
            with_field(
                "a", "undo", {"action": "x.u", "with": {"x": "${steps.b.result}"}}
            ),
            "steps[0].undo.with.x",
            "does not run before this step",
        ),
        (lambda plan: plan.update(rollback="always"), "rollback", "must be"),
        (lambda plan: plan.update(failing="stop"), "failing", "must be"),
    ],
)
def test_what_makes_no_sense_is_refused(
    change: Change, place: str, message: str
) -> None:
    written = document()
    change(written)

    with pytest.raises(PlanValidationError) as raised:
        Plan.from_mapping(written)

    faults = {fault.place: fault.message for fault in raised.value.faults}
    assert message in faults[place]


def test_a_plan_has_a_step_that_runs_before_its_end() -> None:
    steps = [Step("a", action="x.a", run_on="failure", deadline="1m")]

    with pytest.raises(PlanValidationError, match="a step that runs before its end"):
        Plan("p", steps=steps)


def test_a_need_cannot_be_a_step_of_the_end() -> None:
    written = document()
    step_of(written, "a")["needs"] = []
    step_of(written, "b")["needs"] = ["tidy"]

    with pytest.raises(PlanValidationError, match="runs at the end, or in place"):
        Plan.from_mapping(written)


def test_the_deadline_of_a_step_of_the_end_may_come_from_elsewhere() -> None:
    for layer in ("defaults", "profiles"):
        written = document()
        del step_of(written, "tidy")["deadline"]
        policies = {"deadline": "1m"}
        written[layer] = {"slow": policies} if layer == "profiles" else policies
        step_of(written, "tidy").update(
            {"profile": "slow"} if layer == "profiles" else {}
        )

        assert Plan.from_mapping(written).steps[1].deadline_seconds == 60


def test_a_step_of_the_end_may_read_any_step() -> None:
    written = document()
    step_of(written, "tidy")["with"] = {"x": "${steps.b.error}"}

    assert Plan.from_mapping(written).steps[1].reads == (2,)


def test_what_undoes_a_step_may_read_it_and_what_came_before() -> None:
    written = document()
    step_of(written, "b")["undo"] = {
        "action": "x.u",
        "with": {"x": "${steps.a.result} ${steps.b.result} ${step.status}"},
    }

    assert Plan.from_mapping(written).steps[-1].reads == (0, 2)


def test_what_can_have_no_effect_is_warned_of() -> None:
    without_rollback = {**document(), "rollback": []}
    without_undo = document()
    del step_of(without_undo, "a")["undo"]

    assert "nothing is ever undone" in str(Plan.from_mapping(without_rollback).warnings)
    assert "no step states how" in str(Plan.from_mapping(without_undo).warnings)


def test_what_undoes_outlives_the_deadline_of_the_plan_and_needs_its_own() -> None:
    (warning,) = map(str, Plan.from_mapping(document()).warnings)

    assert warning == "steps without a timeout can run for ever: a.undo"
