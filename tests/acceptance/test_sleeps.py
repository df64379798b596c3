"""Steps that sleep, with real workers: nothing is held, early or twice."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step, StepStatus
from tests.polling import wait_until
from tests.timeline import check_timeline
from tests.worker_process import WorkerProcess

SECONDS = 0.8


def plan_of(ledger: Path, *, queue: str | None = None, **sleep: Any) -> Plan:
    """Return a plan that notes, sleeps, and notes again."""
    noting: dict[str, object] = {"ledger": str(ledger)}
    return Plan(
        "naps",
        parameters={"delay": {"type": "duration", "default": "800ms"}},
        steps=[
            Step("before", "test.note", noting, queue=queue),
            Step("nap", queue=queue, **sleep),
            Step("after", "test.note", noting, queue=queue),
        ],
    )


def measure_seconds(engine: ExecutionEngine, execution_id: str) -> float:
    """Return how long it took from the end of one step to the start of the other."""
    at = {(e.step, e.type): e.at for e in engine.list_events(execution_id)}
    passed = at["after", "step.started"] - at["before", "step.completed"]
    return passed.total_seconds()


@pytest.mark.parametrize("sleep", [f"{SECONDS * 1000:.0f}ms", "${parameters.delay}"])
@pytest.mark.usefixtures("shared_worker")
def test_what_follows_begins_after_the_sleep(
    engine: ExecutionEngine, ledger: Path, sleep: str
) -> None:
    execution_id = engine.submit(plan_of(ledger, sleep=sleep))

    assert engine.wait(execution_id, timeout_seconds=60).is_success
    assert SECONDS <= measure_seconds(engine, execution_id) < SECONDS + 30
    check_timeline(engine, execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_a_step_sleeps_until_a_moment(engine: ExecutionEngine, ledger: Path) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=2)

    execution_id = engine.submit(plan_of(ledger, sleep_until=moment.isoformat()))

    assert engine.wait(execution_id, timeout_seconds=60).is_success
    (after,) = (s for s in engine.list_steps(execution_id) if s.name == "after")
    assert after.claimed_at is not None
    assert after.claimed_at >= moment


@pytest.mark.usefixtures("shared_worker")
def test_a_moment_that_is_past_lets_the_rest_go_on_at_once(
    engine: ExecutionEngine, ledger: Path
) -> None:
    execution_id = engine.submit(plan_of(ledger, sleep_until="2020-02-29T12:00:00Z"))

    assert engine.wait(execution_id, timeout_seconds=60).is_success
    assert "step.waiting" not in {e.type for e in engine.list_events(execution_id)}


@pytest.mark.usefixtures("shared_worker")
def test_more_steps_sleep_than_there_are_slots(engine: ExecutionEngine) -> None:
    steps = [Step(f"nap_{i}", sleep="2s", needs=[]) for i in range(30)]

    result = engine.execute(Plan("crowd", steps=steps), timeout_seconds=60)

    assert result.is_success
    assert result.started_at is not None
    assert result.ended_at is not None
    assert (result.ended_at - result.started_at).total_seconds() < 29


@pytest.mark.usefixtures("shared_worker")
def test_a_text_that_is_no_duration_fails_the_step(engine: ExecutionEngine) -> None:
    plan = Plan(
        "wrong",
        parameters={"delay": {"type": "string", "default": "soon"}},
        steps=[Step("nap", sleep="${parameters.delay}")],
    )

    result = engine.execute(plan, timeout_seconds=60)

    assert result.error is not None
    assert result.error.code == "E007"
    assert "steps.nap.sleep" in result.error.message


@pytest.mark.usefixtures("shared_worker")
def test_a_sleep_ends_with_the_cancel_of_its_execution(
    engine: ExecutionEngine, ledger: Path
) -> None:
    execution_id = engine.submit(plan_of(ledger, sleep="1h"))
    wait_until(lambda: is_asleep(engine, execution_id), what="the step to sleep")

    engine.cancel(execution_id)

    result = engine.wait(execution_id, timeout_seconds=60)
    assert result.status is ExecutionStatus.CANCELLED


@pytest.mark.usefixtures("shared_worker")
def test_a_sleep_ends_with_its_deadline(engine: ExecutionEngine, ledger: Path) -> None:
    plan = plan_of(ledger, sleep="1h", deadline="1s")

    result = engine.execute(plan, timeout_seconds=60)

    assert result.error is not None
    assert result.error.code == "E002"


def test_a_sleep_outlives_every_worker(
    engine: ExecutionEngine, settings: Settings, ledger: Path
) -> None:
    own = replace(settings, queue=f"{settings.queue}_killed")
    execution_id = engine.submit(plan_of(ledger, queue=own.queue, sleep="3s"))
    with WorkerProcess.start(own) as victim:
        wait_until(lambda: is_asleep(engine, execution_id), what="the step to sleep")
        victim.kill()

    with WorkerProcess.start(own):
        assert engine.wait(execution_id, timeout_seconds=60).is_success

    assert measure_seconds(engine, execution_id) >= 3.0
    assert len(ledger.read_text().splitlines()) == 2
    check_timeline(engine, execution_id)


def is_asleep(engine: ExecutionEngine, execution_id: str) -> bool:
    steps = engine.list_steps(execution_id)
    return any(s.name == "nap" and s.status is StepStatus.WAITING for s in steps)
