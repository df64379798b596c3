"""Actions with hints and models, in a real worker."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step
from execution.errors import ErrorCode, PlanValidationError
from tests.worker_process import WorkerProcess


@pytest.fixture(scope="module", autouse=True)
def worker(settings: Settings) -> Iterator[None]:
    """A worker with actions of models."""
    with WorkerProcess.start(
        replace(settings, imports=("tests.typed_actions",)), slots=1
    ):
        yield


def build_split(source: Step, ledger: Path) -> Plan:
    inputs = {"order": f"${{steps.{source.id}.result}}", "ledger": str(ledger)}
    return Plan(
        "splitting",
        defaults={"retry": {"attempts": 3, "initial": "10ms"}},
        steps=[source, Step("split", action="typed.split", with_=inputs)],
    )


def test_models_travel_as_json_from_step_to_step(
    engine: ExecutionEngine, ledger: Path
) -> None:
    source = Step("order", action="typed.order", with_={"number": 7})

    execution_id = engine.submit(build_split(source, ledger))
    result = engine.wait(execution_id, timeout_seconds=60)

    assert result.unwrap() == {"left": [{"item": "tea", "count": 2}], "right": []}
    assert ledger.read_text() == "Order Line\n"


def test_a_misfit_ends_the_step_before_its_code_runs_and_is_not_retried(
    engine: ExecutionEngine, ledger: Path
) -> None:
    wrong = {"number": "seven", "lines": [{}]}
    source = Step("order", action="typed.any", with_={"value": wrong})

    execution_id = engine.submit(build_split(source, ledger))
    result = engine.wait(execution_id, timeout_seconds=60)

    assert result.status is ExecutionStatus.FAILED
    (_, step) = engine.list_steps(execution_id)
    assert step.error is not None
    assert step.error.code is ErrorCode.EXECUTION
    assert "order: number: Input should be a valid integer" in step.error.message
    assert "lines.0.item: Field required" in step.error.message
    assert "seven" not in str(step.error)
    assert step.attempt == 1
    assert ledger.read_text() == ""


def test_what_the_worker_has_published_is_what_a_submit_is_told(
    engine: ExecutionEngine, ledger: Path
) -> None:
    plan = Plan(
        "wrong",
        steps=[
            Step(
                "split",
                action="typed.split",
                with_={"order": {"lines": [{"count": "x"}]}, "ledger": str(ledger)},
            ),
        ],
    )

    with pytest.raises(PlanValidationError) as refusal:
        engine.submit(plan)

    assert [str(fault) for fault in refusal.value.faults] == [
        'steps[0].with.order.lines[0].count: must be of type integer, and is "x"',
        "steps[0].with.order.lines[0].item: is missing",
        "steps[0].with.order.number: is missing",
    ]


def test_the_catalogue_says_who_has_an_action(engine: ExecutionEngine) -> None:
    (typed,) = [a for a in engine.list_actions() if a.name == "typed.order"]

    assert str(typed.signature) == '(number: int, item: str = "tea")'
    assert typed.doc == "Make an order of one line."
    assert typed.workers == (typed.published_by,)
