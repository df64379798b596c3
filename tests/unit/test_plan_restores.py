"""Failures that lead back to an earlier step: what a plan may say, and how it reads."""

from typing import Any

import pytest

from execution.comparison import compare_plans
from execution.drawing.pictures import picture_plan
from execution.explanation import explain_plan
from execution.language.compilation import OnFailure
from execution.plan import Plan, Step
from tests.unit.test_plan_fallbacks import falling_back, faults_of, plan_of


def going_back(name: str, target: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "on_failure": {"restore": target, "times": 2}, **fields}


def test_a_restore_names_a_step_and_how_often() -> None:
    plan = plan_of({"id": "a"}, going_back("b", "a"))

    a, b = plan.steps
    assert (b.on_failure, b.restore, b.restore_times) == (OnFailure.RESTORE, 0, 2)
    assert (a.on_failure, a.restore, a.restore_times) == (OnFailure.ABORT, None, None)


def test_python_says_the_same() -> None:
    written = Plan(
        "p",
        steps=[
            Step("a", action="x.a"),
            Step("b", action="x.a", on_failure={"restore": "a", "times": 2}),
        ],
    )

    assert written == plan_of({"id": "a"}, going_back("b", "a"))


@pytest.mark.parametrize(
    "steps",
    [
        [going_back("a", "a")],
        [{"id": "a"}, {"id": "b"}, going_back("c", "a")],
        [{"id": "a", "needs": []}, going_back("b", "a", needs=["a"])],
        [
            {"id": "a", "needs": []},
            {"id": "b", "needs": ["a"]},
            going_back("c", "a", needs=["b"]),
        ],
        [falling_back("a", "f"), going_back("f", "a")],
        [falling_back("a", "f"), going_back("f", "f")],
        [{"id": "r"}, falling_back("a", "f"), going_back("f", "r")],
        [falling_back("a", "f"), falling_back("f", "g"), going_back("g", "f")],
    ],
)
def test_a_restore_leads_to_the_step_or_to_one_before(
    steps: list[dict[str, Any]],
) -> None:
    (restoring,) = [step for step in plan_of(*steps).steps if step.restore is not None]

    assert restoring.restore is not None


@pytest.mark.parametrize(
    ("steps", "place", "message"),
    [
        (
            [{"id": "fetch"}, going_back("b", "fecth")],
            "steps[1].on_failure.restore",
            'no step is called "fecth"; did you mean "fetch"?',
        ),
        (
            [going_back("a", "b"), {"id": "b"}],
            "steps[0].on_failure.restore",
            "does not run before this step",
        ),
        (
            [{"id": "a", "needs": []}, going_back("b", "a", needs=[])],
            "steps[1].on_failure.restore",
            "name this step, or one that it waits for",
        ),
        (
            [falling_back("a", "f"), {"id": "f"}, going_back("b", "f")],
            "steps[2].on_failure.restore",
            "does not run before this step",
        ),
        (
            [
                {"id": "a"},
                going_back("b", "e"),
                {"id": "e", "run_on": "always", "deadline": "1m"},
            ],
            "steps[1].on_failure.restore",
            "does not run before this step",
        ),
        (
            [{"id": "a"}, going_back("e", "a", run_on="always", deadline="1m")],
            "steps[1].on_failure",
            "`run_on` and a restore cannot be stated together",
        ),
        (
            [{"id": "a"}, going_back("b", "a", for_each="[1]")],
            "steps[1].on_failure",
            "`for_each` and a restore cannot be stated together",
        ),
        *(
            (
                [{"id": "a", "on_failure": choice}],
                "steps[0].on_failure",
                "`times` must say how often, from 1 to 10",
            )
            for choice in (
                {"restore": "a"},
                {"restore": "a", "times": 0},
                {"restore": "a", "times": 11},
                {"restore": "a", "times": "2"},
                {"restore": "a", "times": True},
            )
        ),
        *(
            (
                [{"id": "a", "on_failure": choice}],
                "steps[0].on_failure",
                "must be abort",
            )
            for choice in (
                {"restore": 1, "times": 1},
                {"restore": "a", "times": 1, "after": "1s"},
                {"restore": "a", "fallback": "b"},
            )
        ),
    ],
)
def test_a_restore_that_makes_no_sense_is_refused(
    steps: list[dict[str, Any]], place: str, message: str
) -> None:
    assert message in faults_of(*steps)[place]


def test_defaults_name_no_restore() -> None:
    choice = {"on_failure": {"restore": "a", "times": 1}}

    assert list(faults_of({"id": "a"}, defaults=choice)) == ["defaults.on_failure"]


def test_a_restore_is_compared_by_the_name_of_its_step() -> None:
    before = plan_of({"id": "a"}, going_back("b", "a"))
    moved = plan_of({"id": "z"}, {"id": "a"}, going_back("b", "a"))
    after = plan_of({"id": "a"}, going_back("b", "b"))

    (change,) = compare_plans(before, after).changes

    assert change.place == "steps.b.on_failure.restore"
    assert (change.before, change.after) == ("a", "b")
    places = [change.place for change in compare_plans(before, moved).changes]
    assert not [place for place in places if place.startswith("steps.b")]


def test_a_restore_is_explained() -> None:
    (_, outlook) = explain_plan(plan_of({"id": "a"}, going_back("b", "a"))).steps

    assert (outlook.restore, outlook.restore_times) == ("a", 2)
    assert outlook.skipped_if == ()


def test_a_restore_is_written_on_its_step() -> None:
    picture = picture_plan(plan_of({"id": "a"}, going_back("b", "a")))

    assert picture.nodes[1].lines[2:] == ("goes back to a if it fails",)
