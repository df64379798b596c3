"""Retries, waits, deadlines and steps that nobody sent, on a real worker."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from execution import (
    ExecutionEngine,
    ExecutionStatus,
    Plan,
    Settings,
    Step,
    StepStatus,
)
from execution.installation import Installation
from execution.results import Event, WorkerSummary
from execution.schema import upgrade
from tests.polling import wait_until
from tests.timeline import check_timeline, read_timeline
from tests.worker_process import WorkerProcess

pytestmark = pytest.mark.usefixtures("shared_worker")


def find_events(engine: ExecutionEngine, execution_id: str, kind: str) -> list[Event]:
    return [e for e in read_timeline(engine, execution_id) if e.type == kind]


def test_a_long_wait_holds_no_slot_and_ends_in_time(engine: ExecutionEngine) -> None:
    retry = {"attempts": 2, "wait": "fixed", "initial": "5s", "jitter": "0s"}
    steps = [
        Step(
            f"s{n}",
            action="test.fail_until",
            with_={"attempt": 2},
            needs=[],
            retry=retry,
        )
        for n in range(6)
    ]

    execution_id = engine.submit(Plan("waits", steps=steps))
    result = engine.wait(execution_id, timeout_seconds=60)

    assert result.is_success
    waiting = {e.step: e.at for e in find_events(engine, execution_id, "step.waiting")}
    begun = {
        e.step: e.at
        for e in find_events(engine, execution_id, "step.started")
        if e.data["attempt"] == 2
    }
    assert all(begun[s] - waiting[s] >= timedelta(seconds=5) for s in waiting)
    # the worker has two slots: if waits held them, no more than two would wait
    assert (
        max(
            sum(waiting[s] <= moment < begun[s] for s in waiting)
            for moment in waiting.values()
        )
        > 2
    )
    check_timeline(engine, execution_id)


@pytest.mark.parametrize(("seconds", "kind"), [(0.3, "retrying"), (2.2, "waiting")])
def test_an_error_says_when_to_try_again(
    engine: ExecutionEngine, seconds: float, kind: str
) -> None:
    step = Step(
        "a",
        action="test.throttled",
        with_={"seconds": seconds},
        retry={"attempts": 2, "initial": "10ms", "jitter": "0s"},
    )

    execution_id = engine.submit(Plan("throttled", steps=[step]))
    result = engine.wait(execution_id, timeout_seconds=60)

    assert result.unwrap() == 2
    (told,) = find_events(engine, execution_id, f"step.{kind}")
    attempts = find_events(engine, execution_id, "step.started")
    assert told.data["error"]["message"] == "RetryableError: too many requests"
    if kind == "waiting":
        assert attempts[1].at - told.at >= timedelta(seconds=seconds)
    else:
        assert told.data["wait_seconds"] == seconds


def test_an_error_that_is_fatal_is_not_tried_again(engine: ExecutionEngine) -> None:
    step = Step("a", action="test.refuse", retry={"attempts": 9})

    result = engine.execute(Plan("fatal", steps=[step]), timeout_seconds=60)

    assert result.error is not None
    assert result.error.message == "FatalError: no such customer"
    assert engine.list_steps(result.execution_id)[0].attempt == 1


def test_a_cancel_does_not_wait_for_a_retry(engine: ExecutionEngine) -> None:
    step = Step(
        "a",
        action="test.fail_until",
        with_={"attempt": 9},
        retry={"attempts": 9, "wait": "fixed", "initial": "1900ms", "jitter": "0s"},
    )
    execution_id = engine.submit(Plan("interrupted", steps=[step]))
    wait_until(
        lambda: find_events(engine, execution_id, "step.retrying"),
        what="the first failure",
    )

    engine.cancel(execution_id)
    engine.wait(execution_id, timeout_seconds=60)

    (cancelled,) = find_events(engine, execution_id, "step.cancelled")
    (ending,) = find_events(engine, execution_id, "execution.ending")
    assert cancelled.at - ending.at < timedelta(seconds=1.9)
    assert engine.list_steps(execution_id)[0].attempt == 2
    check_timeline(engine, execution_id)


def test_a_plan_beyond_its_deadline_is_timed_out_with_all_that_runs(
    engine: ExecutionEngine,
) -> None:
    steps = [
        Step("slow", action="test.sleep", with_={"seconds": 100}),
        Step("never", action="test.nothing"),
    ]

    execution_id = engine.submit(Plan("late", steps=steps, deadline="5s"))
    result = engine.wait(execution_id, timeout_seconds=60)

    assert result.status is ExecutionStatus.TIMED_OUT
    assert [s.status for s in engine.list_steps(execution_id)] == [
        StepStatus.TIMED_OUT,
        StepStatus.CANCELLED,
    ]
    check_timeline(engine, execution_id)


def test_a_step_beyond_its_deadline_ends_whatever_attempts_are_left(
    engine: ExecutionEngine,
) -> None:
    step = Step(
        "a",
        action="test.fail_until",
        with_={"attempt": 99},
        deadline="1s",
        on_failure="skip",
        retry={"attempts": 99, "wait": "fixed", "initial": "1h"},
    )
    after = Step("b", action="test.nothing")

    result = engine.execute(Plan("parked", steps=[step, after]), timeout_seconds=60)

    skipped, completed = engine.list_steps(result.execution_id)
    assert (skipped.status, skipped.reason) == (StepStatus.SKIPPED, "failed")
    assert skipped.error is not None
    assert skipped.error.code == "E002"
    assert completed.status is StepStatus.COMPLETED


def test_a_submit_by_sql_is_sent_at_once(settings: Settings) -> None:
    # without word of it, it would be found at a tick, one in a hundred seconds
    rare = replace(
        settings, schema="healing_rarely", queue="rare", lease_seconds=1200.0
    )
    assert rare.database_url is not None
    upgrade(rare.database_url, rare.schema)
    alchemy = sa.create_engine(rare.database_url)
    waits = []
    with (
        WorkerProcess.start(rare, slots=1),
        ExecutionEngine(Installation(rare, None)) as engine,
    ):
        engine.publish(Plan("by-sql", steps=[Step("a", action="test.nothing")]))
        for _ in range(5):
            with alchemy.begin() as connection:
                execution_id = connection.scalar(
                    sa.text(f"SELECT {rare.schema}.submit('by-sql')::text")
                )
            engine.wait(execution_id, timeout_seconds=60)
            events = read_timeline(engine, execution_id)
            waits.append((events[-1].at - events[0].at).total_seconds())
    alchemy.dispose()

    assert sorted(waits)[2] < 0.3 * rare.tick_seconds, waits


def test_rounds_and_what_they_did_can_be_seen(
    engine: ExecutionEngine, settings: Settings, shared_worker: WorkerProcess
) -> None:
    def find_worker() -> list[WorkerSummary]:
        return [
            worker
            for worker in engine.list_workers()
            if worker.pid == shared_worker.process.pid
            and worker.deeds.get("sent_executions", 0) > 0
        ]

    engine.publish(Plan("seen", steps=[Step("a", action="test.nothing")]))
    assert settings.database_url is not None
    alchemy = sa.create_engine(settings.database_url)
    with alchemy.begin() as connection:
        execution_id = engine.submit("seen", transaction=connection)
    alchemy.dispose()
    engine.wait(execution_id, timeout_seconds=60)

    (worker,) = wait_until(find_worker, what="the worker to tell of its rounds")

    assert worker.round_seconds is not None
    assert worker.round_age_seconds is not None
    assert worker.last_deeds_age_seconds is not None
    assert sum(worker.last_deeds.values()) > 0
    assert worker.beat_age_seconds < 30
