"""Schedules and delays with a real worker: in time, never early, never twice."""

from datetime import timedelta
from itertools import pairwise

from execution import ExecutionEngine, Plan, Step
from execution.timing import RunOutcome
from tests.polling import wait_until
from tests.worker_process import WorkerProcess

PLAN = Plan("every-second", steps=[Step("a", action="test.nothing")])
COUNT = 3


def test_times_come_in_time_and_once(
    engine: ExecutionEngine, shared_worker: WorkerProcess
) -> None:
    engine.publish(PLAN)
    engine.create_schedule(
        "seconds", "every-second", every="2s", overlap="allow", catch_up="all"
    )

    def list_started() -> list[str]:
        runs = engine.list_schedule_runs("seconds")
        started = [str(run.execution_id) for run in runs if run.execution_id]
        return started if len(started) >= COUNT else []

    started = wait_until(list_started, what="three times", timeout_seconds=60)

    engine.delete_schedule("seconds")
    for execution_id in started:
        engine.wait(execution_id, timeout_seconds=60).unwrap()
    begun = sorted(
        (e.scheduled_at, e.created_at)
        for e in map(engine.get_status, started)
        if e.scheduled_at is not None
    )
    assert all(scheduled <= created for scheduled, created in begun)
    assert all(
        later - earlier == timedelta(seconds=2)
        for (earlier, _), (later, _) in pairwise(begun)
    )


def test_a_delayed_execution_begins_at_its_moment(
    engine: ExecutionEngine, shared_worker: WorkerProcess
) -> None:
    at = engine.read_clock() + timedelta(seconds=2)

    result = engine.execute(PLAN, at=at, timeout_seconds=60)

    begun = engine.get_status(result.execution_id).started_at
    assert begun is not None
    assert begun >= at


def test_a_run_that_a_person_asks_for_is_carried_out(
    engine: ExecutionEngine, shared_worker: WorkerProcess
) -> None:
    engine.publish(PLAN)
    engine.create_schedule("yearly", "every-second", cron="0 0 1 1 *")

    run = engine.run_schedule_now("yearly")

    assert run.outcome is RunOutcome.STARTED
    assert run.execution_id is not None
    assert engine.wait(run.execution_id, timeout_seconds=60).is_success
