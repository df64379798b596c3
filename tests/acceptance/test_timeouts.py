"""Code that outlives its timeout is told so, where a process can be told."""

from pathlib import Path

import pytest

from execution import ExecutionEngine, Plan, Settings, Step, StepStatus
from tests.timeline import check_timeline
from tests.worker_process import WorkerProcess


@pytest.mark.parametrize(
    ("action", "place"),
    [
        ("test.tidy_up", "time.sleep(30)"),
        ("test.tidy_up_async", "await asyncio.sleep(30)"),
    ],
)
@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_code_may_tidy_up_at_its_timeout(
    engine: ExecutionEngine,
    settings: Settings,
    ledger: Path,
    pool: str,
    action: str,
    place: str,
) -> None:
    retry = {"attempts": 2, "initial": "10ms", "jitter": "0s"}
    step = Step(
        "slow",
        action=action,
        with_={"ledger": str(ledger)},
        # within which an attempt must have come to its sleep
        timeout="3s",
        retry=retry,
        on_failure="skip",
    )
    after = Step("after", action="test.nothing")
    with WorkerProcess.start(settings, slots=1, pool=pool):
        result = engine.execute(Plan("tidy", steps=[step, after]), timeout_seconds=60)

    lines = [line.split() for line in ledger.read_text().splitlines()]
    assert [line[:3] for line in lines] == [
        ["tidied", "slow", "1"],
        ["tidied", "slow", "2"],
    ]
    # nobody was killed: the same process ran both
    assert len({line[3] for line in lines}) == 1
    slow, completed = engine.list_steps(result.execution_id)
    assert (slow.status, slow.reason, slow.failures) == (
        StepStatus.SKIPPED,
        "failed",
        2,
    )
    assert slow.error is not None
    assert slow.error.code == "E002"
    assert place in slow.error.context["traceback"]
    assert completed.status is StepStatus.COMPLETED
    check_timeline(engine, result.execution_id)


def test_a_deadline_is_told_like_a_timeout(
    engine: ExecutionEngine, settings: Settings, ledger: Path
) -> None:
    step = Step(
        "slow",
        action="test.tidy_up",
        with_={"ledger": str(ledger)},
        retry={"attempts": 9, "initial": "10ms"},
    )
    with WorkerProcess.start(settings, slots=1):
        result = engine.execute(
            Plan("late", steps=[step], deadline="5s"), timeout_seconds=60
        )

    assert result.status == "timed_out"
    assert ledger.read_text().startswith("tidied slow 1 ")
    (slow,) = engine.list_steps(result.execution_id)
    assert (slow.status, slow.attempt) == (StepStatus.TIMED_OUT, 1)
    check_timeline(engine, result.execution_id)
