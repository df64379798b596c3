"""Steps that stand in for others: what a plan may say, and what it compiles to."""

from typing import Any

import pytest

from execution.errors import PlanValidationError
from execution.language.compilation import OnFailure
from execution.plan import Plan


def plan_of(*steps: dict[str, Any], **fields: Any) -> Plan:
    written = [{"action": "x.a", **step} for step in steps]
    return Plan.from_mapping({"format": 1, "name": "p", "steps": written, **fields})


def faults_of(*steps: dict[str, Any], **fields: Any) -> dict[str, str]:
    with pytest.raises(PlanValidationError) as raised:
        plan_of(*steps, **fields)
    return {fault.place: fault.message for fault in raised.value.faults}


def falling_back(name: str, fallback: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "on_failure": {"fallback": fallback}, **fields}


def test_a_fallback_stands_outside_of_the_sequence() -> None:
    plan = plan_of(falling_back("a", "f"), {"id": "f"}, {"id": "b"})

    a, fallback, b = plan.steps
    assert (a.on_failure, a.fallback, a.successors) == (OnFailure.FALLBACK, 1, (2,))
    assert (fallback.stands_in_for, fallback.needs) == (0, (0,))
    assert (b.needs, b.fallback, b.stands_in_for) == ((0,), None, None)
    assert plan.result_reads == (2,)


def test_a_fallback_needs_nothing_in_a_graph() -> None:
    plan = plan_of(
        falling_back("a", "f", needs=[]), {"id": "b", "needs": ["a"]}, {"id": "f"}
    )

    assert [step.needs for step in plan.steps] == [(), (0,), (0,)]


def test_a_fallback_reads_the_failure_and_what_its_step_may_read() -> None:
    plan = plan_of(
        {"id": "a"},
        falling_back("b", "f"),
        {"id": "f", "with": {"x": "${failure.message} ${steps.a.result}"}},
        {"id": "c", "with": {"x": "${steps.f.status} ${steps.b.result}"}},
    )

    assert (plan.steps[2].reads, plan.steps[3].reads) == ((0,), (1, 2))


def test_a_fallback_of_a_fallback_reads_as_much() -> None:
    plan = plan_of(
        {"id": "a"},
        falling_back("b", "f"),
        falling_back("f", "g"),
        {"id": "g", "with": {"x": "${steps.a.result}"}},
    )

    assert plan.steps[3].reads == (0,)


@pytest.mark.parametrize(
    ("steps", "place", "message"),
    [
        ([falling_back("a", "g")], "steps[0].on_failure.fallback", "no step is called"),
        ([falling_back("a", "a")], "steps[0].on_failure.fallback", "for itself"),
        (
            [falling_back("a", "f"), falling_back("b", "f"), {"id": "f"}],
            "steps[1].on_failure.fallback",
            "stands in for steps[0] already",
        ),
        (
            [{"id": "r"}, falling_back("a", "b"), falling_back("b", "a")],
            "steps[1].on_failure.fallback",
            "stand in for each other",
        ),
        (
            [
                falling_back("a", "f", needs=[]),
                {"id": "f", "needs": []},
            ],
            "steps[1].needs",
            "a fallback cannot state it",
        ),
        (
            [falling_back("a", "f"), {"id": "f", "run_on": "always", "deadline": "1m"}],
            "steps[1].run_on",
            "before the end",
        ),
        (
            [falling_back("a", "f"), {"id": "f", "for_each": "parameters.l"}],
            "steps[1].for_each",
            "let the action loop",
        ),
        (
            [falling_back("a", "f", for_each="parameters.l"), {"id": "f"}],
            "steps[0].on_failure",
            "use `skip` and `tolerate`",
        ),
        (
            [
                {"id": "r"},
                falling_back("a", "f", run_on="always", deadline="1m"),
                {"id": "f"},
            ],
            "steps[1].on_failure",
            "stops nothing",
        ),
        (
            [
                falling_back("a", "f", needs=[]),
                {"id": "f"},
                {"id": "b", "needs": ["f"]},
            ],
            "steps[2].needs[0]",
            "in place of another step",
        ),
        (
            [falling_back("a", "f"), {"id": "f", "with": {"x": "${failure}"}}],
            "steps[1].with.x",
            "write failure.message",
        ),
        (
            [falling_back("a", "f"), {"id": "f", "with": {"x": "${failure.mesage}"}}],
            "steps[1].with.x",
            'did you mean "message"',
        ),
        (
            [{"id": "a", "with": {"x": "${failure.code}"}}],
            "steps[0].with.x",
            "`failure`",
        ),
        (
            [falling_back("a", "f"), {"id": "f", "with": {"x": "${steps.a.result}"}}],
            "steps[1].with.x",
            "does not run before",
        ),
        (
            [{"id": "a", "on_failure": {"fall": "a"}}],
            "steps[0].on_failure",
            "must be abort, skip, {fallback",
        ),
        ([{"id": "a", "on_failure": "stop"}], "steps[0].on_failure", "must be abort"),
    ],
)
def test_what_makes_no_sense_is_refused(
    steps: list[dict[str, Any]], place: str, message: str
) -> None:
    parameters = {"l": {"type": "array"}}

    assert message in faults_of(*steps, parameters=parameters)[place]


def test_defaults_name_no_fallback() -> None:
    choice = {"on_failure": {"fallback": "a"}}

    assert list(faults_of({"id": "a"}, defaults=choice)) == ["defaults.on_failure"]
