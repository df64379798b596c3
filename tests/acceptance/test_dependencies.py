"""A service that steps use is down: failures pause it, a few find out that it is up."""

from collections import Counter
from pathlib import Path

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step
from execution.dependencies import DependencyState, DependencySummary
from tests.polling import wait_until
from tests.timeline import check_timeline
from tests.worker_process import WorkerProcess

EXECUTIONS = 12
ATTEMPTS = 8


def read(engine: ExecutionEngine) -> DependencySummary:
    (found,) = engine.list_dependencies()
    return found


def submit_calls(engine: ExecutionEngine, folder: Path) -> list[str]:
    retry = {"attempts": ATTEMPTS, "initial": "1ms", "jitter": "0s", "max": "2ms"}
    inputs = {"ledger": str(folder / "ledger"), "up": str(folder / "up")}
    step = Step("call", action="test.call_service", with_=inputs, retry=retry)
    plan = Plan("calling", steps=[step])
    return [engine.submit(plan) for _ in range(EXECUTIONS)]


def count_attempts(folder: Path) -> Counter[str]:
    lines = (folder / "ledger").read_text().splitlines()
    return Counter(line.split()[0] for line in lines)


def test_a_service_that_is_down_burns_few_attempts_and_no_execution(
    engine: ExecutionEngine, settings: Settings, tmp_path: Path
) -> None:
    engine.guard_dependency(
        "service", pause_at=0.5, of_last=4, cooldown_seconds=0.5, ramp_seconds=0.2
    )
    with WorkerProcess.start(settings, slots=2):
        begun = submit_calls(engine, tmp_path)
        wait_until(
            lambda: (
                read(engine).parked_steps == EXECUTIONS and read(engine).pauses >= 2
            ),
            what="all to wait, and a canary to fail",
        )
        assert read(engine).by == "plans"
    # until its worker has ended, each cool-down sends another canary
    pauses = read(engine).pauses
    # a trial survives a restart of all workers
    (tmp_path / "up").touch()
    with WorkerProcess.start(settings, slots=2):
        for execution_id in begun:
            result = engine.wait(execution_id, timeout_seconds=60)
            assert result.status is ExecutionStatus.COMPLETED
        wait_until(
            lambda: read(engine).state is DependencyState.FREE,
            what="the ramp to be over",
        )
    attempts = count_attempts(tmp_path)
    # four to see that it is down, what ran beside them, and the canaries
    failures = sum(attempts.values()) - EXECUTIONS
    assert 4 <= failures <= 4 + 2 + pauses + 2
    assert max(attempts.values()) <= ATTEMPTS
    for execution_id in begun:
        check_timeline(engine, execution_id)


def test_people_pause_what_runs_on_and_resume_it_with_one(
    engine: ExecutionEngine, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "up").touch()
    engine.unguard_dependency("service")
    engine.pause_dependency("service", by="ann", reason="they migrate")
    with WorkerProcess.start(settings, slots=2):
        begun = submit_calls(engine, tmp_path)
        wait_until(lambda: read(engine).parked_steps == EXECUTIONS, what="all to wait")
        assert not (tmp_path / "ledger").exists()

        answer = engine.resume_dependency("service", by="ann", reason="they are done")

        assert answer.state is DependencyState.CANARY
        for execution_id in begun:
            assert engine.wait(execution_id, timeout_seconds=60).is_success
    assert set(count_attempts(tmp_path).values()) == {1}
