"""Recovery strategies, asked by real workers what becomes of a step that failed."""

from pathlib import Path
from typing import Any

import pytest

from execution import (
    ExecutionEngine,
    ExecutionResult,
    ExecutionStatus,
    Plan,
    Step,
    StepStatus,
)
from execution.errors import PlanValidationError
from execution.results import StepSummary
from tests.timeline import check_timeline, read_timeline

pytestmark = pytest.mark.usefixtures("shared_worker")

ASKED = {"strategy": "test.by_table"}


def want(name: str, wishes: str, fails: int = 1, **fields: Any) -> Step:
    inputs = {"wishes": wishes, "fails": fails}
    return Step(name, action="test.want", with_=inputs, on_failure=ASKED, **fields)


def echo(name: str, value: object, **fields: Any) -> Step:
    return Step(name, action="test.echo", with_={"value": value}, **fields)


def run(
    engine: ExecutionEngine, *steps: Step, **fields: Any
) -> tuple[ExecutionResult, dict[str, StepSummary]]:
    result = engine.execute(Plan("asked", steps=steps, **fields), timeout_seconds=60)
    check_timeline(engine, result.execution_id)
    return result, {s.name: s for s in engine.list_steps(result.execution_id)}


def test_a_strategy_gives_a_step_its_result(engine: ExecutionEngine) -> None:
    result, steps = run(
        engine, want("a", "complete=spare"), echo("b", "${steps.a.result}")
    )

    assert result.unwrap() == {"failed": "a", "as": "spare"}
    assert steps["a"].status is StepStatus.COMPLETED
    assert steps["a.recovery"].status is StepStatus.COMPLETED


def test_a_strategy_skips_a_step(engine: ExecutionEngine) -> None:
    result, steps = run(engine, want("a", "skip"), echo("b", "${steps.a.status}"))

    assert result.unwrap() == "skipped"
    assert (steps["a"].status, steps["a"].reason) == (StepStatus.SKIPPED, "failed")
    assert steps["a.recovery"].reason == "decided"


def test_a_strategy_lets_a_failure_end_the_execution(engine: ExecutionEngine) -> None:
    result, steps = run(engine, want("a", "abort"), echo("b", 1))

    assert result.status is ExecutionStatus.FAILED
    assert result.error is not None
    assert (result.error.step, result.error.message) == ("a", "FatalError: wants abort")
    assert steps["a.recovery"].status is StepStatus.FAILED


def test_a_strategy_lets_a_step_begin_anew(engine: ExecutionEngine) -> None:
    result, steps = run(engine, echo("r", 1), want("a", "retry", fails=3))

    assert result.unwrap() == 4
    assert (steps["r"].attempt, steps["a.recovery"].reason) == (1, "unused")


def test_a_strategy_leads_back_to_an_earlier_step(engine: ExecutionEngine) -> None:
    result, steps = run(engine, echo("r", 1), want("a", "restore=r", fails=2))

    assert result.unwrap() == 3
    assert steps["r"].attempt == 3
    events = read_timeline(engine, result.execution_id)
    back = [event for event in events if event.type == "recovery.initiated"]
    assert [event.step for event in back] == ["a.recovery"] * 2
    assert back[0].data["error"]["message"] == "FatalError: wants restore=r"


def test_a_strategy_leads_back_ten_times_at_most(engine: ExecutionEngine) -> None:
    result, steps = run(engine, want("a", "retry", fails=99))

    assert result.status is ExecutionStatus.FAILED
    assert steps["a"].attempt == 11
    assert result.error is not None
    assert result.error.message == "FatalError: wants retry"


def test_a_strategy_leads_nowhere_but_back(engine: ExecutionEngine) -> None:
    result, _ = run(engine, want("a", "restore=b"), echo("b", 1))

    assert result.error is not None
    assert result.error.message == (
        "a.recovery decided to go back to b, which is not among the steps that come"
        " before"
    )


def test_a_strategy_is_tried_again_as_other_steps(engine: ExecutionEngine) -> None:
    retry = {"attempts": 3, "initial": "10ms"}
    result, steps = run(
        engine, want("a", "break die complete=late"), defaults={"retry": retry}
    )

    assert result.unwrap() == {"failed": "a", "as": "late"}
    recovery = steps["a.recovery"]
    assert (recovery.attempt, recovery.failures, recovery.losses) == (3, 1, 1)


@pytest.mark.parametrize("name", ["test.by_table", "test.undecided"])
def test_a_strategy_that_does_not_decide_ends_the_execution(
    engine: ExecutionEngine, name: str
) -> None:
    step = Step("a", action="test.refuse", on_failure={"strategy": name})
    if name == "test.by_table":
        step = want("a", "break")

    result, steps = run(engine, step)

    assert result.status is ExecutionStatus.FAILED
    assert steps["a"].status is StepStatus.FAILED
    assert result.error is not None
    assert result.error.step == "a.recovery"
    assert any(word in result.error.message for word in ("undecided", "a Recovery"))


def test_a_fallback_asks_a_strategy(engine: ExecutionEngine) -> None:
    result, _ = run(
        engine,
        Step("a", action="test.refuse", on_failure={"fallback": "f"}),
        echo("b", "${steps.a.result.failed}"),
        want("f", "complete"),
    )

    assert result.unwrap() == "f"


def test_a_strategy_is_asked_of_a_loop_as_a_whole(engine: ExecutionEngine) -> None:
    inputs = {"wishes": "complete=enough"}
    repeat = {"action": "test.want", "with": inputs, "times": 2}
    result, steps = run(engine, Step("a", repeat=repeat, on_failure=ASKED))

    assert result.unwrap()["as"] == "enough"
    assert steps["a"].status is StepStatus.COMPLETED
    assert steps["a[0]"].status is StepStatus.FAILED


def test_a_strategy_that_nobody_has_is_refused(
    engine: ExecutionEngine, tmp_path: Path
) -> None:
    file = tmp_path / "asked.yaml"
    file.write_text(
        "format: 1\nname: asked\nsteps:\n  - id: a\n    action: test.nothing\n"
        "    on_failure: {strategy: test.by_tabel}\n"
    )

    with pytest.raises(PlanValidationError) as refused:
        engine.submit(Plan.from_file(file))

    (fault,) = refused.value.faults
    assert (fault.rule, fault.line) == ("unknown-strategy", 6)
    assert fault.message == (
        'no worker has published the strategy "test.by_tabel"; did you mean'
        ' "test.by_table"?'
    )
