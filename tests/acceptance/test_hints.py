"""Messages are hints: repeated, forged or old, they change nothing but latency."""

from pathlib import Path

import pytest

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step, StepStatus
from execution.dispatcher import STEP_TASK, create_app
from tests.polling import wait_until
from tests.timeline import check_timeline, read_timeline
from tests.worker_process import WorkerProcess


def note_plan(ledger: Path, count: int) -> Plan:
    return Plan(
        "noted",
        steps=[
            Step(f"s{n}", action="test.note", with_={"ledger": str(ledger)})
            for n in range(count)
        ],
    )


def test_repeated_messages_run_nothing_twice(
    engine: ExecutionEngine,
    settings: Settings,
    shared_worker: WorkerProcess,
    ledger: Path,
) -> None:
    app = create_app(settings)
    execution_id = engine.submit(note_plan(ledger, 4))
    for _ in range(20):
        app.send_task(
            STEP_TASK, args=[execution_id, [0, 1, 2, 3], 1], queue=settings.queue
        )

    result = engine.wait(execution_id, timeout_seconds=60)

    assert result.is_success
    assert len(ledger.read_text().splitlines()) == 4
    check_timeline(engine, execution_id)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["x"],
        ["not-an-id", [0], 1],
        ["01a1fc5f-ecfd-7f66-aad4-cad5b7662969", [0], 1],
        ["01a1fc5f-ecfd-7f66-aad4-cad5b7662969", [], 1],
        ["01a1fc5f-ecfd-7f66-aad4-cad5b7662969", [2**70], 1],
        ["01a1fc5f-ecfd-7f66-aad4-cad5b7662969", ["0"], "1"],
        [{"a": 1}, None, 3.5],
        ["01a1fc5f-ecfd-7f66-aad4-cad5b7662969; DROP TABLE executions", [0], 1],
    ],
    ids=str,
)
def test_forged_messages_are_dropped(
    engine: ExecutionEngine,
    settings: Settings,
    shared_worker: WorkerProcess,
    ledger: Path,
    arguments: list[object],
) -> None:
    create_app(settings).send_task(STEP_TASK, args=arguments, queue=settings.queue)

    result = engine.execute(note_plan(ledger, 1), timeout_seconds=60)

    assert result.is_success
    assert "Traceback" not in shared_worker.log.read_text()


def test_no_step_starts_after_pause_has_returned(
    engine: ExecutionEngine, shared_worker: WorkerProcess, ledger: Path
) -> None:
    # of a fifth of a second each, so that none has ended before all are paused
    inputs = {"ledger": str(ledger), "seconds": 0.2}
    steps = [Step(f"s{n}", action="test.work", with_=inputs) for n in range(20)]
    plan = Plan("worked", steps=steps)
    execution_ids = [engine.submit(plan) for _ in range(4)]
    wait_until(
        lambda: all(
            engine.get_status(i).status is ExecutionStatus.RUNNING
            for i in execution_ids
        ),
        what="all to run",
    )

    for execution_id in execution_ids:
        engine.pause(execution_id, by="ann", reason="test")
        paused_at = engine.get_status(execution_id).last_seq
        wait_until(
            lambda i=execution_id: (
                not any(  # type: ignore[misc]  # bound to this round
                    s.status is StepStatus.RUNNING for s in engine.list_steps(i)
                )
            ),
            what="running steps to end",
        )
        events = read_timeline(engine, execution_id)
        assert not [e for e in events if e.seq > paused_at and e.type == "step.started"]
    for execution_id in execution_ids:
        engine.resume(execution_id, by="ann")

    for execution_id in execution_ids:
        assert engine.wait(execution_id, timeout_seconds=60).is_success
        check_timeline(engine, execution_id)


def test_a_cancelled_step_is_told(
    engine: ExecutionEngine, shared_worker: WorkerProcess, ledger: Path
) -> None:
    plan = Plan(
        "cancelled",
        steps=[
            Step("long", action="test.until_cancelled", with_={"ledger": str(ledger)}),
            Step("never", action="test.nothing"),
        ],
    )
    execution_id = engine.submit(plan)
    wait_until(ledger.read_text, what="the step to start")

    engine.cancel(execution_id, by="ann", reason="changed my mind")
    result = engine.wait(execution_id, timeout_seconds=60)

    assert result.status is ExecutionStatus.CANCELLED
    assert result.error is not None
    assert result.error.code == "E004"
    assert engine.list_steps(execution_id)[0].status is StepStatus.CANCELLED
    check_timeline(engine, execution_id)
