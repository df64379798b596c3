"""Steps that stand in for others that fail, run by a real worker."""

from typing import Any

import pytest

from execution import ExecutionEngine, ExecutionStatus, Plan, Step, StepStatus
from tests.timeline import check_timeline

pytestmark = pytest.mark.usefixtures("shared_worker")


def fail(name: str, fallback: str | None = None, **fields: Any) -> Step:
    if fallback:
        fields["on_failure"] = {"fallback": fallback}
    return Step(name, action="test.refuse", **fields)


def echo(name: str, value: object, **fields: Any) -> Step:
    return Step(name, action="test.echo", with_={"value": value}, **fields)


def run(
    engine: ExecutionEngine, *steps: Step, **fields: Any
) -> tuple[Any, dict[str, Any]]:
    result = engine.execute(Plan("fallback", steps=steps, **fields), timeout_seconds=60)
    check_timeline(engine, result.execution_id)
    return result, {s.name: s for s in engine.list_steps(result.execution_id)}


def test_a_fallbacks_result_is_that_of_the_step_that_failed(
    engine: ExecutionEngine,
) -> None:
    result, steps = run(
        engine,
        fail("a", "b"),
        echo("c", "${steps.a.result} of ${steps.a.status}"),
        echo("b", "${failure.code} in ${failure.step}"),
    )

    assert result.unwrap() == "E003 in a of completed"
    assert {s.status for s in steps.values()} == {StepStatus.COMPLETED}


def test_a_fallback_that_is_not_needed_is_skipped(engine: ExecutionEngine) -> None:
    result, steps = run(
        engine,
        echo("a", 1, on_failure={"fallback": "b"}),
        echo("b", 2, on_failure={"fallback": "c"}),
        echo("c", 3),
        echo("d", "${steps.a.result}"),
    )

    assert result.unwrap() == 1
    for name in ("b", "c"):
        assert (steps[name].status, steps[name].reason) == (
            StepStatus.SKIPPED,
            "unused",
        )


def test_fallbacks_have_fallbacks(engine: ExecutionEngine) -> None:
    result, steps = run(
        engine, fail("a", "b"), fail("b", "c"), echo("c", "${failure.step}")
    )

    assert result.unwrap() == "b"
    assert {s.status for s in steps.values()} == {StepStatus.COMPLETED}


def test_a_fallback_that_fails_ends_the_execution(engine: ExecutionEngine) -> None:
    result, steps = run(engine, fail("a", "b"), fail("b", "c"), fail("c"), echo("d", 1))

    assert result.status is ExecutionStatus.FAILED
    assert [steps[name].status for name in "abcd"] == [
        *([StepStatus.FAILED] * 3),
        StepStatus.CANCELLED,
    ]
    assert steps["a"].error is not None


def test_a_fallback_that_may_be_skipped_skips_its_step(
    engine: ExecutionEngine,
) -> None:
    result, steps = run(
        engine, fail("a", "b"), fail("b", on_failure="skip"), echo("c", 1)
    )

    assert result.is_success
    assert (steps["a"].status, steps["a"].reason) == (StepStatus.SKIPPED, "failed")
    assert steps["c"].status is StepStatus.COMPLETED


def test_what_needs_it_waits_for_the_fallback(engine: ExecutionEngine) -> None:
    result, steps = run(
        engine,
        fail("a", "b", needs=[]),
        echo("x", 1, needs=[]),
        echo("b", 2),
        echo("c", ["${steps.a.result}", "${steps.x.result}"], needs=["a", "x"]),
    )

    assert result.unwrap() == [2, 1]
    assert steps["c"].status is StepStatus.COMPLETED


def test_a_skipped_step_needs_no_fallback(engine: ExecutionEngine) -> None:
    _, steps = run(
        engine,
        fail("a", needs=[], on_failure="skip"),
        echo("b", 1, needs=["a"], on_failure={"fallback": "c"}),
        echo("c", 1),
    )

    assert [(steps[n].status, steps[n].reason) for n in "bc"] == [
        (StepStatus.SKIPPED, "needs"),
        (StepStatus.SKIPPED, "unused"),
    ]


def test_a_fallback_has_attempts_of_its_own(engine: ExecutionEngine) -> None:
    again = {"attempts": 3, "initial": "10ms"}
    result, steps = run(
        engine,
        Step(
            "a",
            action="test.fail_until",
            with_={"attempt": 9},
            retry={"attempts": 2, "initial": "10ms"},
            on_failure={"fallback": "b"},
        ),
        Step("b", action="test.fail_until", with_={"attempt": 3}, retry=again),
    )

    assert result.unwrap() == 3
    assert [(steps[n].attempt, steps[n].failures) for n in "ab"] == [(2, 2), (3, 2)]


def test_what_a_fallback_did_is_undone(engine: ExecutionEngine) -> None:
    _, steps = run(
        engine,
        fail("a", "b", undo={"action": "test.nothing"}),
        echo("b", 1, undo={"action": "test.nothing"}),
        fail("c"),
        rollback="on_failure",
    )

    assert steps["a.undo"].status is StepStatus.COMPLETED
    assert steps["b.undo"].status is StepStatus.COMPLETED


def test_a_step_that_ran_out_of_time_falls_back(engine: ExecutionEngine) -> None:
    result, _ = run(
        engine,
        Step(
            "a",
            action="test.sleep",
            with_={"seconds": 15},
            deadline="300ms",
            on_failure={"fallback": "b"},
        ),
        echo("b", "${failure.code}"),
    )

    assert result.unwrap() == "E002"
