"""Executions that go back to before an earlier step, run by real workers."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step, StepStatus
from tests.polling import wait_until
from tests.timeline import check_timeline, read_timeline
from tests.worker_process import WorkerProcess

ALONE = "restores-alone"
"""A queue that the shared worker does not serve: who is killed must hold the step."""


def back(name: str, times: int = 1) -> dict[str, object]:
    return {"restore": name, "times": times}


def read_lines(ledger: Path) -> list[str]:
    return ledger.read_text().splitlines()


def note(name: str, ledger: Path, **fields: Any) -> Step:
    return Step(name, action="test.note", with_={"ledger": str(ledger)}, **fields)


def fail_until(name: str, attempt: int, **fields: Any) -> Step:
    return Step(name, action="test.fail_until", with_={"attempt": attempt}, **fields)


def count_restores(engine: ExecutionEngine, execution_id: str) -> int:
    events = read_timeline(engine, execution_id)
    return sum(event.type == "checkpoint.restored" for event in events)


@pytest.mark.usefixtures("shared_worker")
def test_a_failure_begins_anew_at_an_earlier_step(
    engine: ExecutionEngine, ledger: Path
) -> None:
    plan = Plan(
        "restored",
        steps=[
            note("a", ledger),
            note("b", ledger),
            fail_until("c", 3, on_failure=back("b", 5)),
            Step("d", action="test.echo", with_={"value": "${steps.b.attempt}"}),
        ],
    )

    result = engine.execute(plan, timeout_seconds=60)

    id_ = result.execution_id
    assert result.unwrap() == 3
    # the key is that of the step, whatever its attempt
    assert read_lines(ledger) == [
        f"a 1 {id_}:a",
        *(f"b {attempt} {id_}:b" for attempt in (1, 2, 3)),
    ]
    assert count_restores(engine, id_) == 2
    check_timeline(engine, id_)


@pytest.mark.usefixtures("shared_worker")
def test_a_failure_ends_the_execution_when_the_times_are_used_up(
    engine: ExecutionEngine, ledger: Path
) -> None:
    plan = Plan(
        "restored",
        steps=[note("a", ledger), fail_until("b", 9, on_failure=back("a", 2))],
    )

    result = engine.execute(plan, timeout_seconds=60)

    assert result.status is ExecutionStatus.FAILED
    assert len(read_lines(ledger)) == 3
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_branches_and_items_are_run_once_more(engine: ExecutionEngine) -> None:
    plan = Plan(
        "restored",
        steps=[
            Step("a", action="test.echo", with_={"value": [1, 2, 3]}, needs=[]),
            Step(
                "each",
                action="test.echo",
                for_each="steps.a.result",
                with_={"value": "${item}"},
                needs=["a"],
            ),
            Step("aside", action="test.nothing", needs=[]),
            fail_until("b", 2, needs=["each", "aside"], on_failure=back("a")),
            Step(
                "c",
                action="test.echo",
                with_={"value": "${steps.each.results}"},
                needs=["b"],
            ),
        ],
    )

    result = engine.execute(plan, timeout_seconds=60)

    steps = {step.name: step for step in engine.list_steps(result.execution_id)}
    assert result.unwrap() == [1, 2, 3]
    assert (steps["aside"].attempt, steps["each[2]"].status) == (1, "completed")
    assert steps["each[2]~1"].status is StepStatus.COMPLETED
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_what_runs_beside_is_told_to_stop(
    engine: ExecutionEngine, ledger: Path
) -> None:
    inputs = {"ledger": str(ledger)}
    plan = Plan(
        "restored",
        steps=[
            Step("a", action="test.nothing", needs=[]),
            Step("slow", action="test.until_cancelled", with_=inputs, needs=["a"]),
            fail_until("b", 2, needs=["a"], on_failure=back("a")),
        ],
        deadline="1m",
        failing="cancel_running",
    )

    execution_id = engine.submit(plan)

    wait_until(lambda: read_lines(ledger) == ["started"] * 2, what="a second attempt")
    engine.cancel(execution_id)
    engine.wait(execution_id, timeout_seconds=60)
    check_timeline(engine, execution_id)


@pytest.mark.parametrize("kills", ["child", "worker"])
def test_a_step_that_is_lost_for_good_leads_back(
    engine: ExecutionEngine,
    settings: Settings,
    ledger: Path,
    tmp_path: Path,
    kills: str,
) -> None:
    gate = tmp_path / "gate"
    inputs = {"ledger": str(ledger), "gate": str(gate)}
    plan = Plan(
        "restored",
        steps=[
            Step("a", action="test.echo", with_={"value": 1}, queue=ALONE),
            Step(
                "held",
                action="test.hold",
                with_=inputs,
                queue=ALONE,
                retry={"max_lost": 1},
                on_failure=back("a"),
            ),
        ],
    )
    # long enough for neither to look dead when it stands still for a moment
    alone = replace(settings, queue=ALONE, lease_seconds=8.0)
    with WorkerProcess.start(alone) as one, WorkerProcess.start(alone) as two:
        execution_id = engine.submit(plan)
        (line,) = wait_until(lambda: read_lines(ledger), what="the step to start")
        pid = int(line.split()[2])
        if kills == "child":
            os.kill(pid, signal.SIGKILL)
        else:
            (one if pid in one.list_children() else two).kill()
        # not before: a child may outlive its worker for a moment
        wait_until(
            lambda: count_restores(engine, execution_id),
            what="a restore",
            timeout_seconds=60,
        )
        gate.touch()

        result = engine.wait(execution_id, timeout_seconds=60)

    assert result.is_success
    steps = engine.list_steps(execution_id)
    assert [(step.attempt, step.losses) for step in steps] == [(2, 0), (2, 0)]
    assert count_restores(engine, execution_id) == 1
    check_timeline(engine, execution_id)


def test_a_worker_that_dies_right_after_a_restore_loses_nothing(
    engine: ExecutionEngine, settings: Settings, ledger: Path
) -> None:
    step = fail_until("a", 2, on_failure=back("a"), queue=ALONE)
    plan = Plan("restored", steps=[step])
    alone = replace(settings, queue=ALONE)
    # when the end is recorded, and before anything is sent
    dying = {"PLANS_FAULT": "completed:exit"}
    with WorkerProcess.start(alone, slots=1, environment=dying) as worker:
        execution_id = engine.submit(plan)
        wait_until(lambda: count_restores(engine, execution_id), what="a restore")
        worker.kill()
        with WorkerProcess.start(alone, slots=1):
            result = engine.wait(execution_id, timeout_seconds=60)

    # the pool of the dying worker may have begun one more before the kill
    assert result.unwrap() in (2, 3)
    check_timeline(engine, execution_id)
