"""Workers that are told to stop: what waits, yields, is cut and is killed."""

import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from execution import ExecutionEngine, Plan, Settings, Step, StepStatus
from execution.database import Database
from tests.polling import wait_until
from tests.timeline import check_timeline, read_timeline
from tests.worker_process import WorkerProcess

LONG_LEASE_SECONDS = 30.0
"""What happens within a few seconds has waited for no lease, and for no beat."""

ROLLING_LEASE_SECONDS = 90.0
"""The same where workers must start meanwhile, each of which takes its time."""


@pytest.fixture(scope="module")
def patient(settings: Settings) -> Settings:
    """Settings by which nothing is cut or missed while a test runs."""
    return replace(settings, lease_seconds=LONG_LEASE_SECONDS, drain_seconds=60.0)


def held_plan(ledger: Path, gate: Path) -> Plan:
    inputs = {"ledger": str(ledger), "gate": str(gate)}
    return Plan("held", steps=[Step("s", action="test.hold", with_=inputs)])


def counting_plan(ledger: Path, gate: Path, queue: str) -> Plan:
    inputs = {"ledger": str(ledger), "gate": str(gate)}
    step = Step("s", action="test.count", with_=inputs, queue=queue)
    return Plan("counting", steps=[step])


def read_lines(ledger: Path) -> list[str]:
    return ledger.read_text().splitlines()


def list_outcomes(database: Database, execution_id: str) -> list[str]:
    rows = database.query(
        "SELECT outcome FROM {schema}.step_attempts WHERE execution_id = %s"
        ' ORDER BY "position", attempt',
        (execution_id,),
    )
    return [row["outcome"] for row in rows]


def count_nowhere(database: Database, execution_id: str) -> bool:
    """Say whether no step has a failure or a loss to its name."""
    rows = database.query(
        "SELECT FROM {schema}.execution_steps"
        " WHERE execution_id = %s AND failures + losses > 0",
        (execution_id,),
    )
    return not rows


def await_status(
    engine: ExecutionEngine, execution_id: str, status: StepStatus
) -> None:
    wait_until(
        lambda: engine.list_steps(execution_id)[0].status is status,
        what=f"the step to be {status}",
    )


@pytest.mark.parametrize(
    ("pool", "app"),
    [("prefork", "tests.shop.app"), ("threads", None), ("solo", None)],
)
def test_what_outlives_the_limit_is_given_back_and_cut(
    engine: ExecutionEngine,
    patient: Settings,
    database: Database,
    ledger: Path,
    tmp_path: Path,
    pool: str,
    app: str | None,
) -> None:
    short = replace(patient, drain_seconds=0.5)
    with WorkerProcess.start(short, slots=1, pool=pool, app=app) as worker:
        execution_id = engine.submit(held_plan(ledger, tmp_path / "gate"))
        wait_until(lambda: read_lines(ledger), what="the step to begin")
        worker.process.terminate()
        await_status(engine, execution_id, StepStatus.READY)
        worker.process.wait(60)

    assert list_outcomes(database, execution_id) == ["drained"]
    assert count_nowhere(database, execution_id)
    types = [e.type for e in read_timeline(engine, execution_id)]
    assert types[-2:] == ["step.drained", "step.ready"]
    (row,) = database.query(
        "SELECT end_reason FROM {schema}.workers WHERE pid = %s", (worker.process.pid,)
    )
    assert row["end_reason"] == "stopped"
    engine.cancel(execution_id, by="test", reason="over")


@pytest.mark.parametrize(
    ("pool", "signals"),
    [
        ("prefork", ["SIGTERM", "SIGTERM"]),
        ("prefork", ["SIGINT", "SIGINT"]),
        ("threads", ["SIGQUIT"]),
    ],
)
def test_a_second_signal_ends_now(
    engine: ExecutionEngine,
    patient: Settings,
    database: Database,
    ledger: Path,
    tmp_path: Path,
    pool: str,
    signals: Sequence[str],
) -> None:
    with WorkerProcess.start(patient, slots=1, pool=pool) as worker:
        execution_id = engine.submit(held_plan(ledger, tmp_path / "gate"))
        wait_until(lambda: read_lines(ledger), what="the step to begin")
        for count, name in enumerate(signals, 1):
            worker.process.send_signal(signal.Signals[name])
            wait_until(
                lambda n=count: (
                    worker.log.read_text().count(" shutdown (Main") >= n  # type: ignore[misc]  # bound to this round
                    or worker.process.poll() is not None
                ),
                what="the worker to hear the signal",
            )
        await_status(engine, execution_id, StepStatus.READY)
        worker.process.wait(60)
        log = worker.log.read_text()

    assert "before all of its steps are given back" not in log
    assert list_outcomes(database, execution_id) == ["drained"]
    assert count_nowhere(database, execution_id)
    engine.cancel(execution_id, by="test", reason="over")


def test_others_begin_at_once_what_a_worker_has_reserved_or_yields(
    engine: ExecutionEngine,
    patient: Settings,
    database: Database,
    ledger: Path,
    tmp_path: Path,
) -> None:
    gate = tmp_path / "gate"
    # messages of steps that other tests have cancelled would be received as well
    aside = replace(patient, queue="aside", lease_seconds=600.0)
    quick = Plan("quick", steps=[Step("s", "test.nothing", queue="aside")])
    options = ["--prefetch-multiplier=8"]
    with ExitStack() as stack:
        leaving = WorkerProcess.start(aside, slots=1, options=options)
        stack.enter_context(leaving)
        counting = engine.submit(counting_plan(ledger, gate, "aside"))
        wait_until(lambda: read_lines(ledger), what="the step to begin")
        reserved = [engine.submit(quick) for _ in range(4)]
        wait_until(
            lambda: leaving.log.read_text().count(" received") >= 5,
            what="the messages to be reserved",
        )
        stack.enter_context(WorkerProcess.start(aside, slots=2))
        begun = time.monotonic()
        leaving.process.terminate()
        for execution_id in reserved:
            assert engine.wait(execution_id, timeout_seconds=60).is_success
        wait_until(lambda: len(set(read_lines(ledger))) == 2, what="the step to go on")
        seconds = time.monotonic() - begun
        gate.touch()
        result = engine.wait(counting, timeout_seconds=60)

    # nobody has missed them: a message is missed a beat after it was sent
    assert seconds < aside.beat_seconds
    assert list_outcomes(database, counting) == ["yielded"]
    assert count_nowhere(database, counting)
    assert result.is_success
    check_timeline(engine, counting)


def two_lines(ledger: Path) -> Sequence[Step]:
    """Two chains of steps, each of which ends before it would be cut."""
    work = {"ledger": str(ledger), "seconds": 0.15}
    return [
        Step(f"{lane}{n}", "test.work", with_=work, needs=[f"{lane}{n - 1}"] * (n > 0))
        for lane in "ab"
        for n in range(25)
    ]


def test_a_rolling_restart_under_load_loses_nothing(
    engine: ExecutionEngine,
    patient: Settings,
    database: Database,
    ledger: Path,
    tmp_path: Path,
) -> None:
    rolling = replace(patient, lease_seconds=ROLLING_LEASE_SECONDS, drain_seconds=1.0)
    gate, second = tmp_path / "gate", tmp_path / "second"
    second.touch()
    # one of the first two workers runs it, and it outlives the limit
    inputs = {"ledger": str(second), "gate": str(gate)}
    long = Step("long", "test.hold", with_=inputs, needs=[])
    with ExitStack() as stack:
        workers = [WorkerProcess.start(rolling, slots=2) for _ in range(2)]
        for worker in workers:
            stack.enter_context(worker)
        ids = [
            engine.submit(Plan("rolling", steps=[*two_lines(ledger), *more]))
            for more in ([long], [], [])
        ]
        wait_until(lambda: read_lines(second), what="the long step to begin")
        wait_until(lambda: len(read_lines(ledger)) > 10, what="the load to begin")
        for worker in workers:
            worker.process.terminate()
            stack.enter_context(WorkerProcess.start(rolling, slots=2))
            assert worker.process.wait(60) == 0
        gate.touch()
        results = [engine.wait(i, timeout_seconds=60) for i in ids]

    assert all(result.is_success for result in results)
    ran = Counter(tuple(line.split()[:2]) for line in read_lines(ledger))
    for execution_id in ids:
        check_timeline(engine, execution_id)
        assert count_nowhere(database, execution_id)
        cut = count_cuts(engine, execution_id)
        for step in engine.list_steps(execution_id):
            assert ran[execution_id, step.name] <= 1 + cut[step.name]
        assert find_longest_wait(engine, execution_id) < ROLLING_LEASE_SECONDS / 2
    # its first attempt was cut in its middle, and another has taken over
    assert 1 < len(read_lines(second)) <= 1 + count_cuts(engine, ids[0])["long"]


def count_cuts(engine: ExecutionEngine, execution_id: str) -> Counter[str]:
    events = read_timeline(engine, execution_id)
    return Counter(str(e.step) for e in events if e.type == "step.drained")


def find_longest_wait(engine: ExecutionEngine, execution_id: str) -> float:
    """Return for how many seconds a step was ready that somebody began at last."""
    ready: dict[str | None, float] = {}
    longest = 0.0
    for event in read_timeline(engine, execution_id):
        if event.type == "step.ready":
            ready[event.step] = event.at.timestamp()
        elif event.type == "step.started":
            longest = max(longest, event.at.timestamp() - ready[event.step])
    return longest
