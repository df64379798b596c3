"""Steps that sleep, claimed by hand: told once, woken by the database's clock alone."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step, StepStatus
from execution.answers import Claim, Saved, SleepAnswer, Slept
from execution.database import Database
from execution.liveness import LivenessRecords
from execution.records import StepRecords
from tests.integration.test_liveness import shift_clock
from tests.integration.test_protocol import claim, nothing, register
from tests.timeline import check_timeline, read_timeline

PLAN = Plan("naps", steps=[Step("nap", sleep="1h"), nothing("after")])


@pytest.fixture(scope="module")
def worker_id(liveness: LivenessRecords, settings: Settings) -> str:
    """A worker that is only a row: these tests claim in its name."""
    return register(liveness, settings)


@pytest.fixture
def moving_clock(database: Database) -> Iterator[None]:
    """The clock goes right again after the test."""
    yield
    shift_clock(database, "0")


@pytest.fixture
def nap(engine: ExecutionEngine, records: StepRecords, worker_id: str) -> Claim:
    """A step that is claimed, and is to sleep."""
    return claim(records, worker_id, engine.submit(PLAN), 0)


def fall_asleep(records: StepRecords, nap: Claim) -> SleepAnswer:
    recorded = '{"for": "1h"}'
    return records.sleep(nap.held, recorded_input=recorded, seconds=3600.0, until=None)


def status_of(engine: ExecutionEngine, nap: Claim) -> StepStatus:
    return engine.list_steps(nap.held.execution_id)[0].status


def test_a_sleep_whose_commit_was_unknown_is_told_once(
    engine: ExecutionEngine, records: StepRecords, nap: Claim
) -> None:
    first, again = fall_asleep(records, nap), fall_asleep(records, nap)

    assert (first.outcome, again.outcome) == (Slept.ASLEEP, Slept.ASLEEP)
    told = [e.type for e in read_timeline(engine, nap.held.execution_id)]
    assert told.count("step.waiting") == 1
    check_timeline(engine, nap.held.execution_id)


def test_who_sleeps_holds_nothing(
    engine: ExecutionEngine, records: StepRecords, nap: Claim
) -> None:
    fall_asleep(records, nap)

    step = engine.list_steps(nap.held.execution_id)[0]
    assert (step.status, step.worker_id) == (StepStatus.WAITING, None)
    assert records.save_checkpoint(nap.held, "{}") is Saved.STALE


@pytest.mark.usefixtures("moving_clock")
def test_nobody_wakes_before_the_time(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    database: Database,
    nap: Claim,
) -> None:
    fall_asleep(records, nap)

    shift_clock(database, "59 minutes")
    early = liveness.wake_steps(nap.held.execution_id)
    shift_clock(database, "61 minutes")
    late = liveness.wake_steps(nap.held.execution_id)

    assert early is None
    assert late is not None
    assert status_of(engine, nap) is StepStatus.READY


@pytest.mark.usefixtures("moving_clock")
def test_a_call_that_comes_after_the_time_changes_nothing(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    database: Database,
    nap: Claim,
) -> None:
    fall_asleep(records, nap)
    shift_clock(database, "61 minutes")
    liveness.wake_steps(nap.held.execution_id)

    assert fall_asleep(records, nap).outcome is Slept.STALE
    assert status_of(engine, nap) is StepStatus.READY


def test_nobody_falls_asleep_in_an_execution_that_ends(
    engine: ExecutionEngine, records: StepRecords, nap: Claim
) -> None:
    engine.cancel(nap.held.execution_id)

    assert fall_asleep(records, nap).outcome is Slept.REFUSED
    assert status_of(engine, nap) is StepStatus.RUNNING


def test_what_runs_in_a_pause_may_fall_asleep_and_sends_nothing(
    engine: ExecutionEngine, records: StepRecords, nap: Claim
) -> None:
    execution_id = nap.held.execution_id
    engine.pause(execution_id)
    soon = datetime.now(UTC)

    over = records.sleep(nap.held, recorded_input="{}", seconds=None, until=soon)
    asleep = fall_asleep(records, nap)

    assert over.outcome is Slept.OVER
    assert (asleep.outcome, asleep.windows) == (Slept.ASLEEP, ())
    assert engine.resume(execution_id) is ExecutionStatus.RUNNING
    assert status_of(engine, nap) is StepStatus.WAITING
