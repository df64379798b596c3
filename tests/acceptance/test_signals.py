"""Steps that wait for signals, with real workers: nothing is held, early or twice."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step, StepStatus
from tests.polling import wait_until
from tests.timeline import check_timeline
from tests.worker_process import WorkerProcess


def plan_of(ledger: Path, *, queue: str | None = None, **wait: Any) -> Plan:
    """Return a plan that notes, waits for an approval, and notes again."""
    noting: dict[str, object] = {"ledger": str(ledger)}
    return Plan(
        "release",
        steps=[
            Step("before", "test.note", noting, queue=queue),
            Step("approve", queue=queue, **{"wait_for": "approval", **wait}),
            Step("after", "test.note", noting, queue=queue),
        ],
        result="${steps.approve.result}",
    )


def is_waiting(engine: ExecutionEngine, execution_id: str, name: str) -> bool:
    steps = engine.list_steps(execution_id)
    return any(s.name == name and s.status is StepStatus.WAITING for s in steps)


def wait_for_wait(
    engine: ExecutionEngine, execution_id: str, name: str = "approve"
) -> None:
    wait_until(lambda: is_waiting(engine, execution_id, name), what="the step to wait")


@pytest.mark.usefixtures("shared_worker")
def test_an_approval_lets_the_execution_go_on(
    engine: ExecutionEngine, ledger: Path
) -> None:
    execution_id = engine.submit(plan_of(ledger))
    wait_for_wait(engine, execution_id)

    sent = engine.signal(execution_id, "approval", {"approved": True}, by="ann")

    assert sent.taken_by == "approve"
    result = engine.wait(execution_id, timeout_seconds=60)
    assert result.unwrap() == {"approved": True}
    assert len(ledger.read_text().splitlines()) == 2
    check_timeline(engine, execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_an_early_signal_is_kept(engine: ExecutionEngine, ledger: Path) -> None:
    execution_id = engine.submit(plan_of(ledger))
    engine.signal(execution_id, "approval", 7)

    assert engine.wait(execution_id, timeout_seconds=60).unwrap() == 7
    check_timeline(engine, execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_a_timeout_brings_the_default(engine: ExecutionEngine, ledger: Path) -> None:
    plan = plan_of(ledger, timeout="300ms", default=None)

    result = engine.execute(plan, timeout_seconds=60)

    assert result.is_success
    assert result.value is None
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_a_timeout_without_a_default_has_the_policy_of_the_step(
    engine: ExecutionEngine, ledger: Path
) -> None:
    plan = plan_of(ledger, timeout="300ms", on_failure="skip")

    result = engine.execute(plan, timeout_seconds=60)

    assert result.is_success
    (approve,) = (
        s for s in engine.list_steps(result.execution_id) if s.name == "approve"
    )
    assert approve.status is StepStatus.SKIPPED
    assert approve.error is not None
    assert approve.error.code == "E002"
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_each_item_waits_for_a_name_of_its_own(engine: ExecutionEngine) -> None:
    plan = Plan(
        "orders",
        parameters={"orders": {"type": "array", "required": True}},
        steps=[
            Step(
                "paid",
                for_each="parameters.orders",
                max_parallel=2,
                wait_for="paid-${item}",
            )
        ],
        result="${steps.paid.results}",
    )
    execution_id = engine.submit(plan, {"orders": [1, 2, 3]})
    for order in (3, 2, 1):
        engine.signal(execution_id, f"paid-{order}", f"by {order}")

    result = engine.wait(execution_id, timeout_seconds=60)

    assert result.unwrap() == ["by 1", "by 2", "by 3"]
    check_timeline(engine, execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_a_loop_waits_until_it_has_heard_the_right_thing(
    engine: ExecutionEngine,
) -> None:
    loop = {"wait_for": "review", "until": "last.approved", "times": 5}
    plan = Plan("reviews", steps=[Step("review", repeat=loop)])
    execution_id = engine.submit(plan)
    for approved in (False, False, True):
        engine.signal(execution_id, "review", {"approved": approved})

    result = engine.wait(execution_id, timeout_seconds=60)

    assert result.unwrap() == {"approved": True}
    assert len(engine.list_signals(execution_id)) == 3
    check_timeline(engine, execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_a_step_of_the_end_waits_until_its_deadline(engine: ExecutionEngine) -> None:
    plan = Plan(
        "ends",
        steps=[
            Step("fail", "test.refuse"),
            Step("ack", wait_for="ack", run_on="always", deadline="30s"),
        ],
    )
    execution_id = engine.submit(plan)
    wait_for_wait(engine, execution_id, "ack")

    engine.signal(execution_id, "ack")

    result = engine.wait(execution_id, timeout_seconds=60)
    assert result.status is ExecutionStatus.FAILED
    check_timeline(engine, execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_a_name_that_is_none_fails_the_step(engine: ExecutionEngine) -> None:
    plan = Plan(
        "wrong",
        parameters={"name": {"type": "string", "default": "two words"}},
        steps=[Step("approve", wait_for="${parameters.name}")],
    )

    result = engine.execute(plan, timeout_seconds=60)

    assert result.error is not None
    assert result.error.code == "E007"
    assert "steps.approve.wait_for" in result.error.message


def test_a_wait_outlives_every_worker(
    engine: ExecutionEngine, settings: Settings, ledger: Path
) -> None:
    own = replace(settings, queue=f"{settings.queue}_killed")
    plan = plan_of(ledger, queue=own.queue)
    execution_id = engine.submit(plan)
    with WorkerProcess.start(own) as victim:
        wait_for_wait(engine, execution_id)
        victim.kill()

    engine.signal(execution_id, "approval", "yes", by="ann")

    with WorkerProcess.start(own):
        assert engine.wait(execution_id, timeout_seconds=60).unwrap() == "yes"
    assert len(ledger.read_text().splitlines()) == 2
    check_timeline(engine, execution_id)
