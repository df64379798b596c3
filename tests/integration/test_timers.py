"""What the database wakes and ends by its own clock: waits, deadlines, timeouts.

Played by hand: time is moved by writing back the moments that are stored, so that
nothing has to be waited for.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step, StepStatus
from execution.answers import ClaimOutcome, Completion, HeldStep, Retried, Saved
from execution.database import Database
from execution.ending import finish_execution
from execution.events import ExecutionEventEmitter
from execution.liveness import LivenessRecords
from execution.records import StepRecords
from tests.integration.test_protocol import claim, fail, register, try_claim
from tests.integration.test_random_plans import ERROR
from tests.sweeping import look
from tests.timeline import check_timeline, heads, read_timeline

QUIET = ExecutionEventEmitter(None, "")
STUBBORN: Mapping[str, object] = {"attempts": 3, "wait": "fixed", "initial": "1h"}


@pytest.fixture(scope="module")
def worker_id(liveness: LivenessRecords, settings: Settings) -> str:
    """A worker that is only a row."""
    return register(liveness, settings)


def plan_of(*steps: Step, deadline: str | None = None) -> Plan:
    return Plan("timers", steps=steps, deadline=deadline)


def step_of(name: str, **fields: Any) -> Step:
    return Step(name, action="test.nothing", **fields)


def let_pass(database: Database, execution_id: str, table: str, *columns: str) -> None:
    """Move the moments in `columns` two hours back."""
    key = "id" if table == "executions" else "execution_id"
    moved = ", ".join(f"{name} = {name} - interval '2 hours'" for name in columns)
    database.query(
        f"UPDATE {{schema}}.{table} SET {moved} WHERE {key} = %s RETURNING 1",  # noqa: S608  # names of our own
        (execution_id,),
    )


def park(
    engine: ExecutionEngine, records: StepRecords, worker_id: str, **fields: Any
) -> tuple[str, HeldStep]:
    """Begin a plan whose first step fails and waits; return the attempt that did."""
    plan = plan_of(step_of("a", retry=STUBBORN, **fields), step_of("b"))
    execution_id = engine.submit(plan)
    held = claim(records, worker_id, execution_id, 0).held
    assert fail(records, held, parks=True).outcome is Retried.WAITING
    return execution_id, held


def statuses(engine: ExecutionEngine, execution_id: str) -> list[StepStatus]:
    return [step.status for step in engine.list_steps(execution_id)]


# waits


def test_a_waiting_step_holds_nothing(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id, held = park(engine, records, worker_id)

    step = engine.list_steps(execution_id)[0]

    assert (step.status, step.attempt, step.failures) == (StepStatus.WAITING, 1, 1)
    assert step.worker_id is None
    assert records.save_checkpoint(held, "{}") is Saved.STALE
    check_timeline(engine, execution_id)


def test_a_wait_whose_commit_was_unknown_is_counted_once(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id, held = park(engine, records, worker_id)

    again = fail(records, held, parks=True)

    assert again.outcome is Retried.WAITING
    assert engine.list_steps(execution_id)[0].failures == 1


def test_nothing_wakes_before_its_time(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    worker_id: str,
) -> None:
    execution_id, _ = park(engine, records, worker_id)

    assert execution_id not in look(liveness).due_executions
    assert liveness.wake_steps(execution_id) is None
    answer = try_claim(records, worker_id, execution_id, 0)
    assert answer.outcome is ClaimOutcome.DROPPED


def test_a_step_whose_time_has_come_is_sent_once(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    database: Database,
    worker_id: str,
) -> None:
    execution_id, _ = park(engine, records, worker_id)
    let_pass(database, execution_id, "execution_steps", "wake_at")

    found = look(liveness).due_executions
    woken = liveness.wake_steps(execution_id)
    again = liveness.wake_steps(execution_id)

    assert execution_id in found
    assert woken is not None
    assert heads(woken.windows) == ["a"]
    assert again is None
    assert claim(records, worker_id, execution_id, 0).attempt == 2
    check_timeline(engine, execution_id)


def test_a_step_that_wakes_in_a_pause_is_sent_by_the_resume(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    database: Database,
    worker_id: str,
) -> None:
    execution_id, _ = park(engine, records, worker_id)
    engine.pause(execution_id)
    let_pass(database, execution_id, "execution_steps", "wake_at")

    woken = liveness.wake_steps(execution_id)

    assert woken is not None
    assert woken.windows == ()
    engine.resume(execution_id)
    assert try_claim(records, worker_id, execution_id, 0, epoch=2).claim is not None


def test_a_cancel_ends_what_waits(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id, _ = park(engine, records, worker_id)

    engine.cancel(execution_id)

    assert engine.get_status(execution_id).status is ExecutionStatus.CANCELLED
    assert statuses(engine, execution_id) == [StepStatus.CANCELLED] * 2
    check_timeline(engine, execution_id)


def test_a_step_that_waits_leaves_its_lane_to_a_sibling(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    siblings = [step_of(f"s{n}", needs=[], retry=STUBBORN) for n in range(40)]
    execution_id = engine.submit(plan_of(*siblings))
    held = claim(records, worker_id, execution_id, 0).held

    answer = fail(records, held, parks=True)

    assert heads(answer.windows) == ["s16"]


# deadlines of steps


def test_a_step_that_waits_beyond_its_deadline_is_timed_out(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    database: Database,
    worker_id: str,
) -> None:
    execution_id, _ = park(engine, records, worker_id, deadline="1h")
    let_pass(database, execution_id, "execution_steps", "deadline")

    (expired,) = (
        s for s in look(liveness).expired_steps if s.execution_id == execution_id
    )
    completion = liveness.expire_step(expired)

    assert completion is not None
    assert completion.is_last
    assert liveness.expire_step(expired) is None
    assert statuses(engine, execution_id) == [
        StepStatus.TIMED_OUT,
        StepStatus.CANCELLED,
    ]
    error = engine.list_steps(execution_id)[0].error
    assert error is not None
    assert error.code == "E002"
    assert finish_execution(records, QUIET, execution_id)
    assert engine.get_status(execution_id).status is ExecutionStatus.FAILED
    check_timeline(engine, execution_id)


def test_a_step_that_never_got_a_slot_is_timed_out_and_may_be_skipped(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    database: Database,
    worker_id: str,
) -> None:
    plan = plan_of(step_of("a", deadline="1h", on_failure="skip"), step_of("b"))
    execution_id = engine.submit(plan)
    let_pass(database, execution_id, "execution_steps", "deadline")

    completion = expire_all(liveness, execution_id)

    assert heads(completion.windows) == ["b"]
    assert statuses(engine, execution_id) == [StepStatus.SKIPPED, StepStatus.READY]
    claim(records, worker_id, execution_id, 1)
    check_timeline(engine, execution_id)


def expire_all(liveness: LivenessRecords, execution_id: str) -> Completion:
    (completion,) = (
        liveness.expire_step(step)
        for step in look(liveness).expired_steps
        if step.execution_id == execution_id
    )
    assert completion is not None
    return completion


def test_a_deadline_begins_when_the_step_is_ready(
    engine: ExecutionEngine, records: StepRecords, database: Database, worker_id: str
) -> None:
    plan = plan_of(step_of("a"), step_of("b", deadline="1h"))
    execution_id = engine.submit(plan)
    read = (
        "SELECT deadline - ready_at AS left FROM {schema}.execution_steps"
        " WHERE execution_id = %s AND position = 1"
    )
    before = database.query(read, (execution_id,))[0]["left"]

    held = claim(records, worker_id, execution_id, 0).held
    records.complete(held, StepStatus.COMPLETED, epoch=1)

    after = database.query(read, (execution_id,))[0]["left"]
    assert before is None
    assert timedelta(minutes=59) < after < timedelta(minutes=61)


def test_a_pause_stops_the_deadline_of_what_does_not_run(
    engine: ExecutionEngine,
    liveness: LivenessRecords,
    database: Database,
) -> None:
    execution_id = engine.submit(plan_of(step_of("a", deadline="1h")))
    engine.pause(execution_id)
    let_pass(database, execution_id, "executions", "paused_at")
    let_pass(database, execution_id, "execution_steps", "deadline", "ready_at")
    while_paused = {s.execution_id for s in look(liveness).expired_steps}

    engine.resume(execution_id)

    afterwards = {s.execution_id for s in look(liveness).expired_steps}
    assert execution_id not in while_paused | afterwards


def test_an_attempt_is_cut_by_the_deadline_of_its_step(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    database: Database,
    worker_id: str,
) -> None:
    plan = plan_of(step_of("a", deadline="1h", retry={"attempts": 3}))
    execution_id = engine.submit(plan)
    claim(records, worker_id, execution_id, 0)
    let_pass(database, execution_id, "execution_steps", "attempt_deadline", "deadline")

    completion = take_overdue(liveness, worker_id, execution_id)

    assert completion.is_last
    assert statuses(engine, execution_id) == [StepStatus.TIMED_OUT]


def take_overdue(
    liveness: LivenessRecords,
    worker_id: str,
    execution_id: str,
    *,
    wait_seconds: float = 0.0,
) -> Completion:
    (overdue,) = (
        s
        for s in look(liveness, worker_id=worker_id).overdue_steps
        if s.execution_id == execution_id
    )
    completion = liveness.take_overdue(overdue, wait_seconds=wait_seconds)
    assert completion is not None
    return completion


# timeouts


def test_an_attempt_that_outlived_its_timeout_is_tried_again_after_a_wait(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    database: Database,
    worker_id: str,
) -> None:
    execution_id = engine.submit(plan_of(step_of("a", timeout="1h", retry=STUBBORN)))
    held = claim(records, worker_id, execution_id, 0).held
    let_pass(database, execution_id, "execution_steps", "attempt_deadline")

    completion = take_overdue(liveness, worker_id, execution_id, wait_seconds=3600)

    assert completion.windows == ()
    assert statuses(engine, execution_id) == [StepStatus.WAITING]
    assert records.save_checkpoint(held, "{}") is Saved.STALE
    check_timeline(engine, execution_id)


def test_a_timeout_that_the_policy_does_not_retry_is_the_last(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    database: Database,
    worker_id: str,
) -> None:
    retry = {"attempts": 3, "not_on": ["E002"]}
    execution_id = engine.submit(plan_of(step_of("a", timeout="1h", retry=retry)))
    claim(records, worker_id, execution_id, 0)
    let_pass(database, execution_id, "execution_steps", "attempt_deadline")

    assert take_overdue(liveness, worker_id, execution_id).is_last


def test_others_take_what_its_own_worker_does_not_end(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    settings: Settings,
    database: Database,
    worker_id: str,
) -> None:
    other_id = register(liveness, settings)
    execution_id = engine.submit(plan_of(step_of("a", timeout="1h")))
    claim(records, worker_id, execution_id, 0)
    let_pass(database, execution_id, "execution_steps", "attempt_deadline")

    def is_found(grace_seconds: float) -> bool:
        found = look(
            liveness, worker_id=other_id, grace_seconds=grace_seconds
        ).overdue_steps
        return execution_id in {step.execution_id for step in found}

    assert not is_found(grace_seconds=7200)
    assert is_found(grace_seconds=3600)


# the deadline of a plan


@pytest.mark.parametrize("act", ["nothing", "pause"])
def test_an_execution_ends_at_its_deadline(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    database: Database,
    act: str,
) -> None:
    execution_id = engine.submit(plan_of(step_of("a"), deadline="1h"))
    if act == "pause":
        engine.pause(execution_id)
    let_pass(database, execution_id, "executions", "deadline")

    found = look(liveness).expired_executions
    expiry = liveness.expire_execution(execution_id)

    assert execution_id in found
    assert expiry is not None
    assert expiry.open_steps == 0
    assert liveness.expire_execution(execution_id) is None
    assert finish_execution(records, QUIET, execution_id)
    execution = engine.get_status(execution_id)
    assert execution.status is ExecutionStatus.TIMED_OUT
    assert execution.error is not None
    assert execution.error.code == "E002"
    check_timeline(engine, execution_id)


def test_what_runs_at_the_deadline_is_cut_and_the_deadline_is_the_reason(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    database: Database,
    worker_id: str,
) -> None:
    plan = plan_of(step_of("a", retry=STUBBORN), step_of("b"), deadline="1h")
    execution_id = engine.submit(plan)
    held = claim(records, worker_id, execution_id, 0).held
    let_pass(database, execution_id, "executions", "deadline")
    let_pass(database, execution_id, "execution_steps", "attempt_deadline")

    completion = take_overdue(liveness, worker_id, execution_id, wait_seconds=3600)

    assert completion.is_last
    assert records.is_unwanted(held)
    assert statuses(engine, execution_id) == [
        StepStatus.TIMED_OUT,
        StepStatus.CANCELLED,
    ]
    assert engine.get_status(execution_id).reason == "deadline"
    (ending,) = (
        e for e in read_timeline(engine, execution_id) if e.type == "execution.ending"
    )
    assert ending.data == {"reason": "deadline"}


def test_a_failure_beyond_the_deadline_ends_the_execution_for_the_deadline(
    engine: ExecutionEngine, records: StepRecords, database: Database, worker_id: str
) -> None:
    plan = plan_of(step_of("a", retry=STUBBORN), deadline="1h")
    execution_id = engine.submit(plan)
    held = claim(records, worker_id, execution_id, 0).held
    let_pass(database, execution_id, "executions", "deadline")

    refused = fail(records, held)
    records.complete(held, StepStatus.FAILED, error=ERROR, epoch=1)

    assert refused.outcome is Retried.REFUSED
    assert finish_execution(records, QUIET, execution_id)
    execution = engine.get_status(execution_id)
    assert execution.status is ExecutionStatus.TIMED_OUT
    assert execution.error is not None
    assert execution.error.message == "the deadline has passed"
    check_timeline(engine, execution_id)


def test_a_step_that_wakes_in_a_pause_keeps_all_of_its_time(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    database: Database,
    worker_id: str,
) -> None:
    execution_id, _ = park(engine, records, worker_id, deadline="3h")
    engine.pause(execution_id)
    # as if the pause had begun two hours ago, right after the submit
    let_pass(database, execution_id, "executions", "paused_at")
    let_pass(database, execution_id, "execution_steps", "wake_at", "deadline")
    liveness.wake_steps(execution_id)

    engine.resume(execution_id)

    left = database.query(
        "SELECT deadline - {schema}.plans_now() AS left FROM {schema}.execution_steps"
        " WHERE execution_id = %s AND position = 0",
        (execution_id,),
    )[0]["left"]
    assert timedelta(hours=2.9) < left < timedelta(hours=3.1)


def test_before_the_deadline_nothing_expires(
    engine: ExecutionEngine, liveness: LivenessRecords
) -> None:
    execution_id = engine.submit(plan_of(step_of("a", deadline="1h"), deadline="1h"))

    assert execution_id not in look(liveness).expired_executions
    assert liveness.expire_execution(execution_id) is None
    assert all(s.execution_id != execution_id for s in look(liveness).expired_steps)
