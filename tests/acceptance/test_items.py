"""Steps that are run once for each item of a list, by a real worker."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step, StepStatus
from tests.outages import read_lines
from tests.polling import wait_until
from tests.timeline import check_timeline, read_timeline
from tests.worker_process import WorkerProcess


def for_each(items: object, **fields: Any) -> Plan:
    """A plan that lists something, does something to each item, and reads results."""
    each = {
        "action": "test.echo",
        "with_": {"value": ["${item}", "${index}"]},
        "for_each": "steps.scan.result",
        **fields,
    }
    return Plan(
        "each",
        steps=[
            Step("scan", action="test.echo", with_={"value": items}),
            Step("each", **each),
            Step("after", action="test.echo", with_={"value": "${steps.each.results}"}),
        ],
    )


@pytest.mark.usefixtures("shared_worker")
@pytest.mark.parametrize("parallel", [None, 1, 3, 100])
def test_each_item_is_a_step_and_results_keep_their_order(
    engine: ExecutionEngine, parallel: int | None
) -> None:
    items = [f"item {n}" for n in range(20)]

    result = engine.execute(for_each(items, max_parallel=parallel), timeout_seconds=60)

    assert result.unwrap() == [[item, n] for n, item in enumerate(items)]
    steps = engine.list_steps(result.execution_id)
    assert [s.name for s in steps[3:]] == [f"each[{n}]" for n in range(20)]
    assert {s.status for s in steps} == {StepStatus.COMPLETED}
    status = engine.get_status(result.execution_id)
    assert (status.total_steps, status.open_steps) == (23, 0)
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_no_items_are_done_at_once(engine: ExecutionEngine) -> None:
    result = engine.execute(for_each([]), timeout_seconds=60)

    assert result.unwrap() == []
    assert len(engine.list_steps(result.execution_id)) == 3
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
@pytest.mark.parametrize("no_list", [7, "text", {"a": 1}, None])
def test_what_is_no_list_fails_the_step(
    engine: ExecutionEngine, no_list: object
) -> None:
    result = engine.execute(for_each(no_list), timeout_seconds=60)

    assert result.error is not None
    assert result.error.code == "E007"
    assert "steps.each.for_each" in result.error.message
    assert "must be a list" in result.error.message
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_no_more_run_at_a_time_than_the_plan_says(engine: ExecutionEngine) -> None:
    plan = for_each(
        [0.05] * 12,
        action="test.sleep",
        with_={"seconds": "${item}"},
        max_parallel=2,
    )

    execution_id = engine.execute(plan, timeout_seconds=60).execution_id

    running, most = 0, 0
    for event in read_timeline(engine, execution_id):
        if str(event.step).startswith("each["):
            running += {"step.ready": 1, "step.completed": -1}.get(event.type, 0)
            most = max(most, running)
    # one that is ready counts: it might start at any moment
    assert most == 2
    check_timeline(engine, execution_id)


def failing(items: list[int], **fields: Any) -> Plan:
    """Items fail that are greater than one."""
    return for_each(
        items, action="test.fail_until", with_={"attempt": "${item}"}, **fields
    )


@pytest.mark.usefixtures("shared_worker")
@pytest.mark.parametrize("tolerate", [None, 2, 4, "40%", "49.9%"])
def test_as_many_items_are_skipped_as_are_tolerated(
    engine: ExecutionEngine, tolerate: object
) -> None:
    plan = failing([1, 9, 1, 9, 1], on_failure="skip", tolerate=tolerate)

    result = engine.execute(plan, timeout_seconds=60)

    assert result.unwrap() == [1, None, 1, None, 1]
    steps = {s.name: s for s in engine.list_steps(result.execution_id)}
    assert steps["each[1]"].status is StepStatus.SKIPPED
    assert steps["each[1]"].reason == "failed"
    assert steps["each"].status is StepStatus.COMPLETED
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
@pytest.mark.parametrize("tolerate", [0, 1, "20%", "39%"])
def test_beyond_what_is_tolerated_the_step_fails(
    engine: ExecutionEngine, tolerate: object
) -> None:
    plan = failing([1, 9, 1, 9, 1], on_failure="skip", tolerate=tolerate)

    result = engine.execute(plan, timeout_seconds=60)

    assert result.status is ExecutionStatus.FAILED
    assert result.error is not None
    assert "more items of step each failed than it tolerates" in result.error.message
    steps = {s.name: s.status for s in engine.list_steps(result.execution_id)}
    assert steps["each"] is StepStatus.FAILED
    assert steps["after"] is StepStatus.CANCELLED
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_an_item_that_aborts_fails_its_step(engine: ExecutionEngine) -> None:
    result = engine.execute(failing([1, 9, 1], max_parallel=1), timeout_seconds=60)

    assert result.error is not None
    assert "attempt 1 is too early" in result.error.message
    steps = {s.name: s.status for s in engine.list_steps(result.execution_id)}
    assert steps["each"] is StepStatus.FAILED
    assert steps["each[1]"] is StepStatus.FAILED
    assert steps["each[2]"] is StepStatus.CANCELLED
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_items_are_retried_by_themselves(engine: ExecutionEngine) -> None:
    plan = failing([1, 3, 2], retry={"attempts": 3, "initial": "10ms"})

    assert engine.execute(plan, timeout_seconds=60).unwrap() == [1, 3, 2]


@pytest.mark.usefixtures("shared_worker")
def test_a_step_does_not_wait_for_its_items_beyond_its_deadline(
    engine: ExecutionEngine,
) -> None:
    plan = for_each(
        [15, 0, 0],
        action="test.sleep",
        with_={"seconds": "${item}"},
        max_parallel=1,
        deadline="2s",
        on_failure="skip",
    )

    result = engine.execute(plan, timeout_seconds=60)

    steps = {s.name: s for s in engine.list_steps(result.execution_id)}
    assert result.status is ExecutionStatus.COMPLETED
    assert (steps["each"].status, steps["each"].reason) == (
        StepStatus.SKIPPED,
        "failed",
    )
    assert steps["after"].status is StepStatus.SKIPPED or result.unwrap() is None
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_a_cancel_ends_the_items(engine: ExecutionEngine, ledger: Path) -> None:
    plan = for_each(
        [str(ledger)] * 5,
        action="test.until_cancelled",
        with_={"ledger": "${item}"},
        max_parallel=2,
    )
    execution_id = engine.submit(plan)
    wait_until(lambda: len(read_lines(ledger)) == 2, what="two items to run")

    engine.cancel(execution_id)

    result = engine.wait(execution_id, timeout_seconds=60)
    assert result.status is ExecutionStatus.CANCELLED
    statuses = {s.status for s in engine.list_steps(execution_id)[1:]}
    assert statuses == {StepStatus.CANCELLED}
    check_timeline(engine, execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_a_pause_holds_the_items(
    engine: ExecutionEngine, ledger: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    plan = for_each(
        [0, 1, 2, 3],
        action="test.hold",
        with_={"ledger": str(ledger), "gate": str(gate)},
        max_parallel=2,
    )
    execution_id = engine.submit(plan)
    wait_until(lambda: len(read_lines(ledger)) == 2, what="two items to run")
    engine.pause(execution_id)
    gate.touch()

    def have_ended() -> bool:
        steps = engine.list_steps(execution_id)
        return sum(s.status is StepStatus.COMPLETED for s in steps) == 3

    wait_until(have_ended, what="what ran to end")
    assert len(read_lines(ledger)) == 2

    engine.resume(execution_id)
    assert engine.wait(execution_id, timeout_seconds=60).is_success
    check_timeline(engine, execution_id)


def test_killed_workers_lose_no_item(
    engine: ExecutionEngine, settings: Settings, ledger: Path
) -> None:
    plan = for_each(
        [str(ledger)] * 30,
        action="test.work",
        with_={"ledger": "${item}"},
        queue="killed",
        max_parallel=4,
    )
    execution_id = engine.submit(plan)
    both = replace(settings, queue=f"{settings.queue},killed")
    for lines in (3, 15):
        with WorkerProcess.start(both, slots=2) as worker:
            wait_until(
                lambda n=lines: len(read_lines(ledger)) >= n,  # type: ignore[misc]  # bound to this round
                what="items to run",
            )
            worker.kill()
    with WorkerProcess.start(both, slots=2):
        result = engine.wait(execution_id, timeout_seconds=60)

    results = result.unwrap()
    assert isinstance(results, list)
    assert len(results) == 30
    assert None not in results
    check_timeline(engine, execution_id)
