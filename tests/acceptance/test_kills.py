"""Nothing is lost, and nothing recorded twice, whatever process is killed."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step, StepStatus
from tests.polling import wait_until
from tests.timeline import check_timeline
from tests.worker_process import ROOT, WorkerProcess, build_environment


@pytest.fixture
def patient(settings: Settings) -> Settings:
    """Settings by which none of two workers is taken for dead on a busy machine."""
    return replace(settings, lease_seconds=8.0)


def read_lines(ledger: Path) -> list[str]:
    return ledger.read_text().splitlines()


def hold_plan(ledger: Path, gate: Path) -> Plan:
    """A step that holds until the gate opens, between two that do not."""
    inputs = {"ledger": str(ledger), "gate": str(gate)}
    return Plan(
        "held",
        steps=[
            Step("before", action="test.note", with_={"ledger": str(ledger)}),
            Step("held", action="test.hold", with_=inputs),
            Step("after", action="test.note", with_={"ledger": str(ledger)}),
        ],
    )


def started_pid(ledger: Path) -> int:
    """Wait until the holding step has started; return the pid of its process."""
    lines = wait_until(
        lambda: [line for line in read_lines(ledger) if line.startswith("held")],
        what="the held step to start",
    )
    return int(lines[-1].split()[2])


def test_a_killed_child_loses_nothing(
    engine: ExecutionEngine, settings: Settings, ledger: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with WorkerProcess.start(settings):
        execution_id = engine.submit(hold_plan(ledger, gate))
        os.kill(started_pid(ledger), signal.SIGKILL)
        gate.touch()

        result = engine.wait(execution_id, timeout_seconds=60)

    assert result.is_success
    assert [s.attempt for s in engine.list_steps(execution_id)] == [1, 2, 1]
    assert [s.losses for s in engine.list_steps(execution_id)] == [0, 1, 0]
    check_timeline(engine, execution_id)


def test_a_killed_worker_loses_nothing(
    engine: ExecutionEngine, patient: Settings, ledger: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with (
        WorkerProcess.start(patient) as victim,
        WorkerProcess.start(patient) as other,
    ):
        execution_id = engine.submit(hold_plan(ledger, gate))
        pid = started_pid(ledger)
        (victim if pid in victim.list_children() else other).kill()
        gate.touch()

        result = engine.wait(execution_id, timeout_seconds=60)

    assert result.is_success
    assert [s.attempt for s in engine.list_steps(execution_id)] == [1, 2, 1]
    check_timeline(engine, execution_id)


def test_a_submitter_killed_between_commit_and_publish_loses_nothing(
    engine: ExecutionEngine, settings: Settings, ledger: Path
) -> None:
    script = (
        "from execution import ExecutionEngine, Plan, Step\n"
        "with ExecutionEngine.connect() as engine:\n"
        "    engine.submit(Plan('killed-submit', steps=[Step('only',"
        f" action='test.note', with_={{'ledger': {str(ledger)!r}}})]))\n"
    )
    with WorkerProcess.start(settings):
        submitter = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**build_environment(settings), "PLANS_FAULT": "submitted:exit"},
            check=False,
        )
        (execution,) = (
            e for e in engine.list_executions().items if e.plan == "killed-submit"
        )

        result = engine.wait(execution.id, timeout_seconds=60)

    assert submitter.returncode == -signal.SIGKILL
    assert result.is_success
    assert len(read_lines(ledger)) == 1


@pytest.mark.parametrize(
    ("point", "attempts"),
    [("claimed", 2), ("called", 2), ("completed", 1)],
)
def test_a_child_killed_at_any_point_loses_nothing(
    engine: ExecutionEngine, settings: Settings, ledger: Path, point: str, attempts: int
) -> None:
    plan = Plan(
        "points",
        steps=[
            Step(f"s{n}", action="test.note", with_={"ledger": str(ledger)})
            for n in range(3)
        ],
    )
    dying = WorkerProcess.start(
        settings, slots=1, environment={"PLANS_FAULT": f"{point}:exit"}
    )
    with dying:
        execution_id = engine.submit(plan)
        wait_until(
            lambda: engine.list_steps(execution_id)[0].attempt >= 1,
            what="a first claim",
        )
        dying.kill()
        with WorkerProcess.start(settings, slots=1):
            result = engine.wait(execution_id, timeout_seconds=60)

    assert result.is_success
    assert engine.list_steps(execution_id)[0].attempt >= attempts
    check_timeline(engine, execution_id)


def test_a_step_that_kills_its_process_ends(
    engine: ExecutionEngine, settings: Settings, ledger: Path
) -> None:
    plan = Plan(
        "poison",
        steps=[
            Step(
                "poison",
                action="test.poison",
                with_={"ledger": str(ledger)},
                retry={"max_lost": 2},
            )
        ],
    )
    with WorkerProcess.start(settings):
        execution_id = engine.submit(plan)

        result = engine.wait(execution_id, timeout_seconds=60)

    assert result.status is ExecutionStatus.FAILED
    assert result.error is not None
    assert result.error.code == "E008"
    assert read_lines(ledger) == ["poison 1", "poison 2"]
    check_timeline(engine, execution_id)


def test_a_flushed_broker_loses_nothing(
    engine: ExecutionEngine, settings: Settings, ledger: Path
) -> None:
    plan = Plan(
        "flushed",
        steps=[
            Step(f"s{n}", action="test.note", with_={"ledger": str(ledger)})
            for n in range(4)
        ],
    )
    execution_ids = [engine.submit(plan) for _ in range(10)]
    redis.Redis.from_url(str(settings.redis_url)).flushall()

    with WorkerProcess.start(settings):
        results = [engine.wait(i, timeout_seconds=60) for i in execution_ids]

    assert all(result.is_success for result in results)
    assert len(read_lines(ledger)) == 40
    for execution_id in execution_ids:
        check_timeline(engine, execution_id)


def test_a_killed_step_goes_on_from_its_checkpoint(
    engine: ExecutionEngine, settings: Settings, ledger: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    plan = Plan(
        "resumed",
        steps=[
            Step(
                "count",
                action="test.resume_at",
                with_={"ledger": str(ledger), "gate": str(gate)},
            )
        ],
    )
    with WorkerProcess.start(settings, slots=1) as worker:
        execution_id = engine.submit(plan)
        wait_until(lambda: "holds" in read_lines(ledger), what="the third checkpoint")
        os.kill(worker.list_children()[0], signal.SIGKILL)
        gate.touch()

        result = engine.wait(execution_id, timeout_seconds=60)

    assert result.unwrap() == [1, 2, 3, 4, 5]
    assert read_lines(ledger) == ["1 1", "1 2", "1 3", "holds", "2 4", "2 5"]


def test_an_attempt_that_ignores_its_timeout_is_killed(
    engine: ExecutionEngine, settings: Settings, ledger: Path, tmp_path: Path
) -> None:
    inputs = {"ledger": str(ledger), "gate": str(tmp_path / "never")}
    plan = Plan(
        "overdue",
        steps=[
            Step(
                "held",
                action="test.ignore_timeout",
                with_=inputs,
                timeout="1s",
                retry={"attempts": 2, "initial": "10ms"},
            )
        ],
    )
    with WorkerProcess.start(settings, slots=1):
        execution_id = engine.submit(plan)
        result = engine.wait(execution_id, timeout_seconds=60)
        pids = [int(line.split()[2]) for line in read_lines(ledger)]
        wait_until(
            lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids),
            what="the overdue processes to be gone",
        )

    # an attempt that was slow to begin is killed before its line
    assert pids
    assert len(set(pids)) == len(pids)
    assert result.error is not None
    assert result.error.code == "E002"
    (step,) = engine.list_steps(execution_id)
    assert (step.status, step.attempt, step.failures) == (StepStatus.TIMED_OUT, 2, 2)
    check_timeline(engine, execution_id)


def test_a_worker_that_was_frozen_past_its_lease_changes_nothing(
    engine: ExecutionEngine, patient: Settings, ledger: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with WorkerProcess.start(patient, slots=1) as frozen:
        execution_id = engine.submit(hold_plan(ledger, gate))
        started_pid(ledger)
        pids = [frozen.process.pid, *frozen.list_children()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        with WorkerProcess.start(patient, slots=1):
            wait_until(
                lambda: len(read_lines(ledger)) == 3,
                what="another worker to begin the step anew",
            )
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            gate.touch()
            result = engine.wait(execution_id, timeout_seconds=60)
            wait_until(
                lambda: "registering anew" in frozen.log.read_text(),
                what="the frozen worker to find out",
            )

    assert result.is_success
    held = engine.list_steps(execution_id)[1]
    assert (held.attempt, held.losses) == (2, 1)
    check_timeline(engine, execution_id)


def test_a_worker_that_stops_gives_its_steps_time_to_end(
    engine: ExecutionEngine, settings: Settings, ledger: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with WorkerProcess.start(settings, slots=1) as stopping:
        execution_id = engine.submit(hold_plan(ledger, gate))
        started_pid(ledger)

        stopping.process.terminate()
        begun = time.monotonic()
        wait_until(lambda: time.monotonic() > begun + 3, what="longer than a lease")
        gate.touch()
        assert stopping.process.wait(60) == 0

    held = engine.list_steps(execution_id)[1]
    assert (held.status, held.attempt) == (StepStatus.COMPLETED, 1)
