"""What a cancel does to code that runs, in each pool: it is told, asked, and cut."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from execution import ExecutionEngine, ExecutionResult, Plan, Settings, Step, StepStatus
from execution.results import StepSummary
from tests.polling import wait_until
from tests.timeline import check_timeline
from tests.worker_process import WorkerProcess

POOLS = ("prefork", "threads", "solo")


@pytest.fixture(scope="module", params=POOLS)
def pool(request: pytest.FixtureRequest) -> str:
    """A pool; every test of the module runs with each."""
    return str(request.param)


@pytest.fixture(scope="module")
def worker(settings: Settings, pool: str) -> Iterator[WorkerProcess]:
    """A worker of that pool; it lives through every test."""
    with WorkerProcess.start(settings, slots=2, pool=pool) as started:
        yield started
        assert started.process.poll() is None, started.log.read_text()[-5000:]


def read_lines(ledger: Path) -> list[str]:
    return ledger.read_text().splitlines()


def submit(engine: ExecutionEngine, action: str, **inputs: object) -> str:
    """Begin a plan of one step, and an end that is noted in the same ledger."""
    ledger = inputs["ledger"] = str(inputs["ledger"])
    plan = Plan(
        "cut",
        steps=[
            Step("s", action=action, with_=inputs),
            Step(
                "end",
                action="test.note",
                with_={"ledger": ledger},
                run_on="always",
                deadline="1m",
            ),
        ],
    )
    execution_id = engine.submit(plan)
    wait_until(lambda: read_lines(Path(ledger)), what="the step to begin")
    return execution_id


def cancel(
    engine: ExecutionEngine, execution_id: str, grace_seconds: float
) -> tuple[ExecutionResult, StepSummary]:
    """Cancel, and return how the execution and its step have ended."""
    engine.cancel(
        execution_id, by="ann", reason="sent twice", grace_seconds=grace_seconds
    )
    result = engine.wait(execution_id, timeout_seconds=60)
    check_timeline(engine, execution_id)
    step, end = engine.list_steps(execution_id)
    assert (end.name, end.status) == ("end", StepStatus.COMPLETED)
    return result, step


def assert_cut(result: ExecutionResult, step: StepSummary) -> None:
    assert (result.status, step.status, step.attempt) == ("cancelled", "cancelled", 1)
    assert step.error is not None
    assert step.error.code == "E004"
    assert step.error.context["by"] == "ann"
    assert step.error.context["reason"] == "sent twice"


def await_end(engine: ExecutionEngine, execution_id: str) -> StepSummary:
    """Return the first step of an execution, once it has ended."""
    wait_until(
        lambda: engine.list_steps(execution_id)[0].ended_at, what="the step to end"
    )
    return engine.list_steps(execution_id)[0]


def is_gone(pid: int) -> bool:
    with suppress(OSError):
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    return True


@pytest.mark.usefixtures("worker")
def test_code_sees_a_cancel_in_its_context(
    engine: ExecutionEngine, ledger: Path
) -> None:
    execution_id = submit(engine, "test.see_cancel", ledger=ledger)

    result, step = cancel(engine, execution_id, 600)

    assert_cut(result, step)
    assert read_lines(ledger)[:2] == ["begun", "told True"]


@pytest.mark.usefixtures("worker")
def test_async_code_is_cancelled_where_it_awaits(
    engine: ExecutionEngine, ledger: Path
) -> None:
    execution_id = submit(engine, "test.await_cancel", ledger=ledger)

    result, step = cancel(engine, execution_id, 600)

    assert_cut(result, step)
    begun, cancelled, tidied, end = read_lines(ledger)
    assert (begun, tidied) == ("begun 1", "tidied")
    assert cancelled.startswith("cancelled attempt 1 of step s")
    assert end.startswith("end 1")
    assert step.error is not None
    assert "await asyncio.sleep(30)" in step.error.context["traceback"]


@pytest.mark.usefixtures("worker")
def test_async_code_that_goes_on_is_cancelled_again_after_the_grace(
    engine: ExecutionEngine, ledger: Path
) -> None:
    execution_id = submit(engine, "test.await_cancel", ledger=ledger, tidies=False)

    result, step = cancel(engine, execution_id, 0.5)

    assert_cut(result, step)
    assert read_lines(ledger)[-2:][0] == "tidied"


@pytest.mark.usefixtures("worker")
def test_async_code_is_cancelled_at_its_timeout(
    engine: ExecutionEngine, ledger: Path
) -> None:
    step = Step(
        "s",
        action="test.await_cancel",
        with_={"ledger": str(ledger)},
        # within which an attempt must have begun to await
        timeout="3s",
        retry={"attempts": 2, "initial": "10ms", "jitter": "0s"},
    )

    result = engine.execute(Plan("slow", steps=[step]), timeout_seconds=60)

    assert result.error is not None
    assert result.error.code == "E002"
    (ended,) = engine.list_steps(result.execution_id)
    assert (ended.status, ended.attempt) == (StepStatus.TIMED_OUT, 2)
    words = [line.split()[0] for line in read_lines(ledger)]
    assert words == ["begun", "cancelled", "tidied"] * 2
    check_timeline(engine, result.execution_id)


def test_code_that_waits_is_interrupted_after_the_grace(
    engine: ExecutionEngine, worker: WorkerProcess, ledger: Path, pool: str
) -> None:
    if pool == "threads":
        pytest.skip("a thread cannot be interrupted")
    inputs = {"ledger": str(ledger)}
    plan = Plan("deaf", steps=[Step("s", action="test.tidy_up", with_=inputs)])
    execution_id = engine.submit(plan)
    wait_until(
        lambda: engine.list_running_steps(execution_id), what="the step to begin"
    )

    engine.cancel(execution_id, by="ann", reason="sent twice", grace_seconds=0)
    result = engine.wait(execution_id, timeout_seconds=60)

    assert_cut(result, engine.list_steps(execution_id)[0])
    assert read_lines(ledger)[0].startswith("tidied s 1")
    assert worker.process.poll() is None


def check_holder(pool: str, holder: int) -> None:
    """Assert that what ran a step that was cut is killed where it can be."""
    if pool == "prefork":
        wait_until(lambda: is_gone(holder), what="its process to be gone")
    else:
        assert not is_gone(holder)


def check_log(pool: str, worker: WorkerProcess) -> None:
    """Assert that the worker says so where it cannot kill the code."""
    if pool == "prefork":
        assert "code runs on" not in worker.log.read_text()
    else:
        wait_until(
            lambda: "code runs on" in worker.log.read_text(), what="it to be logged"
        )


def test_deaf_code_is_killed_with_all_that_it_has_started(
    engine: ExecutionEngine,
    worker: WorkerProcess,
    pool: str,
    ledger: Path,
    tmp_path: Path,
) -> None:
    gate = tmp_path / "gate"
    left = engine.execute(
        Plan("left", steps=[Step("s", action="test.leave_process")]), timeout_seconds=60
    ).unwrap()
    execution_id = submit(
        engine, "test.start_processes", ledger=ledger, gate=str(gate), obeys=False
    )
    *started, holder = map(int, read_lines(ledger)[0].split())

    engine.cancel(execution_id, by="ann", reason="sent twice", grace_seconds=0.2)
    try:
        step = await_end(engine, execution_id)
        assert not is_gone(left), "another step has started that one"
        if pool == "threads":
            # nobody knows which of them has started these
            assert not any(map(is_gone, started))
        else:
            wait_until(lambda: all(map(is_gone, started)), what="them to be gone")
        check_holder(pool, holder)
    finally:
        gate.touch()
        for pid in [left, *started]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert_cut(engine.wait(execution_id, timeout_seconds=60), step)
    check_timeline(engine, execution_id)
    assert "a late write was kept" not in read_lines(ledger)
    assert worker.process.poll() is None
    check_log(pool, worker)


def test_what_obedient_code_has_left_is_killed(
    engine: ExecutionEngine,
    worker: WorkerProcess,
    pool: str,
    ledger: Path,
    tmp_path: Path,
) -> None:
    if pool == "threads":
        pytest.skip("nobody knows which thread has started them")
    gate = tmp_path / "gate"
    execution_id = submit(
        engine, "test.start_processes", ledger=ledger, gate=str(gate), obeys=True
    )
    *started, holder = map(int, read_lines(ledger)[0].split())

    result, step = cancel(engine, execution_id, 600)

    assert_cut(result, step)
    wait_until(lambda: all(map(is_gone, started)), what="them to be gone")
    assert not is_gone(holder)
    assert worker.process.poll() is None
