"""Loops, driven by hand: one iteration after the other, whatever is told twice."""

import uuid
from typing import Any

import pytest

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step, StepStatus
from execution.answers import Claim, HeldStep, Recorded, RepeatAnswer, Repeated, Rider
from execution.database import Database
from execution.liveness import LivenessRecords
from execution.records import StepRecords
from execution.sweeps import ExpiredStep, LostStep
from tests.integration.test_protocol import claim, nothing, register, ride, try_claim
from tests.sweeping import look
from tests.timeline import check_timeline, heads

_ERROR = (
    '{"code": "E003", "message": "no", "step": "a[0]", "recoverable": true,'
    ' "timestamp": "2030-01-01T00:00:00+00:00", "context": {}}'
)
LOOP, AFTER, FIRST = 0, 1, 2
"""Positions: the first iteration comes after all steps of the plan."""


@pytest.fixture(scope="module")
def worker_id(liveness: LivenessRecords, settings: Settings) -> str:
    """A worker that is only a row: these tests claim in its name."""
    return register(liveness, settings)


def loop(*others: Step, **fields: Any) -> Plan:
    repeat = {"action": "test.nothing", "times": 5, **fields.pop("repeat", {})}
    steps = [Step("a", repeat=repeat, **fields), nothing("b"), *others]
    return Plan("loop", steps=steps)


def begin(
    records: StepRecords, worker_id: str, execution_id: str
) -> tuple[Claim, RepeatAnswer]:
    """Claim the loop, and let it wait for its next iteration."""
    claimed = claim(records, worker_id, execution_id, LOOP)
    assert claimed.loop is not None
    index = claimed.loop.begun
    return claimed, records.repeat(claimed.held, index=index, epoch=1)


def end(
    records: StepRecords,
    worker_id: str,
    execution_id: str,
    position: int,
    result: str | None = "1",
) -> HeldStep:
    """Run an iteration; without a result it fails."""
    held = claim(records, worker_id, execution_id, position).held
    status = StepStatus.FAILED if result is None else StepStatus.COMPLETED
    error = _ERROR if result is None else None
    records.complete(held, status, result=result, error=error, epoch=1)
    return held


def statuses(engine: ExecutionEngine, execution_id: str) -> dict[str, str]:
    return {s.name: str(s.status) for s in engine.list_steps(execution_id)}


def rider_of(claimed: Claim, worker_id: str) -> Rider:
    return Rider(claimed.run, str(uuid.uuid4()), worker_id, delivery="by-hand")


def test_an_iteration_is_told_what_the_one_before_came_to(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(loop())
    begin(records, worker_id, execution_id)
    first = claim(records, worker_id, execution_id, FIRST)
    records.complete(first.held, StepStatus.COMPLETED, result='{"n": 1}', epoch=1)

    again, _ = begin(records, worker_id, execution_id)
    second = claim(records, worker_id, execution_id, FIRST + 1)

    assert (first.scope["last"], first.scope["index"]) == (None, 0)
    assert (second.scope["last"], second.scope["index"]) == ({"n": 1}, 1)
    assert again.loop is not None
    assert (again.loop.begun, again.loop.status) == (1, StepStatus.COMPLETED)
    assert again.loop.result == {"n": 1}
    assert statuses(engine, execution_id) == {
        "a": "waiting",
        "b": "pending",
        "a[0]": "completed",
        "a[1]": "running",
    }


def test_an_iteration_that_is_begun_again_is_the_same(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(loop())
    claimed, first = begin(records, worker_id, execution_id)

    again = records.repeat(claimed.held, index=0, epoch=1)

    assert (first.outcome, again.outcome) == (Repeated.BEGUN, Repeated.REPEATED)
    assert heads(first.windows) == heads(again.windows) == ["a[0]"]
    assert len(engine.list_steps(execution_id)) == 3


def test_an_iteration_that_has_ended_is_not_sent_when_it_is_begun_again(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(loop())
    claimed, _ = begin(records, worker_id, execution_id)
    end(records, worker_id, execution_id, FIRST)

    late = records.repeat(claimed.held, index=0, epoch=1)

    assert (late.outcome, late.windows) == (Repeated.REPEATED, ())
    assert statuses(engine, execution_id)["a"] == "ready"


def test_a_ride_to_an_iteration_told_again_is_still_its_own(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(loop())
    claimed = claim(records, worker_id, execution_id, LOOP)
    rider = rider_of(claimed, worker_id)

    answers = [
        records.repeat(claimed.held, index=0, epoch=1, rider=rider) for _ in range(2)
    ]

    assert [a.outcome for a in answers] == [Repeated.BEGUN, Repeated.REPEATED]
    assert answers[0].next_claim == answers[1].next_claim
    assert answers[0].next_claim is not None
    assert answers[0].next_claim.step == "a[0]"
    assert [a.windows for a in answers] == [(), ()]


@pytest.mark.parametrize("hindrance", ["epoch", "pause", "wait"])
def test_nobody_rides_to_an_iteration_that_may_not_begin_yet(
    engine: ExecutionEngine, records: StepRecords, worker_id: str, hindrance: str
) -> None:
    waits = {"wait": "1h"} if hindrance == "wait" else {}
    execution_id = engine.submit(loop(repeat=waits))
    begin(records, worker_id, execution_id)
    if hindrance == "wait":
        end(records, worker_id, execution_id, FIRST)
    else:
        execution_id = engine.submit(loop())
    claimed = claim(records, worker_id, execution_id, LOOP)
    assert claimed.loop is not None
    if hindrance == "pause":
        engine.pause(execution_id)

    answer = records.repeat(
        claimed.held,
        index=claimed.loop.begun,
        epoch=2 if hindrance == "epoch" else 1,
        rider=rider_of(claimed, worker_id),
    )

    assert (answer.outcome, answer.next_claim) == (Repeated.BEGUN, None)
    sent = {"epoch": ["a[0]"], "pause": [], "wait": []}
    assert heads(answer.windows) == sent[hindrance]


def test_what_a_pause_holds_is_sent_by_the_resume(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(loop())
    claimed = claim(records, worker_id, execution_id, LOOP)
    engine.pause(execution_id)
    records.repeat(claimed.held, index=0, epoch=1)
    engine.resume(execution_id)

    answer = try_claim(records, worker_id, execution_id, FIRST, epoch=2)

    assert answer.claim is not None


@pytest.mark.parametrize("result", ["1", None])
def test_the_end_of_an_iteration_told_again_sends_its_loop_again(
    engine: ExecutionEngine, records: StepRecords, worker_id: str, result: str | None
) -> None:
    execution_id = engine.submit(loop())
    begin(records, worker_id, execution_id)
    held = claim(records, worker_id, execution_id, FIRST).held
    status = StepStatus.FAILED if result is None else StepStatus.COMPLETED
    error = _ERROR if result is None else None

    ends = [records.complete(held, status, error=error, epoch=1) for _ in range(2)]

    assert [e.outcome for e in ends] == [Recorded.RECORDED, Recorded.REPEATED]
    assert [heads(e.windows) for e in ends] == [["a"], ["a"]]


def test_who_ends_an_iteration_rides_on_to_the_loop(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(loop())
    begin(records, worker_id, execution_id)
    first = claim(records, worker_id, execution_id, FIRST)

    done = ride(records, worker_id, first, covered=-1)

    assert done.next_claim is not None
    assert done.next_claim.step == "a"
    assert done.next_claim.loop is not None
    assert done.next_claim.loop.begun == 1


def test_a_loop_that_fails_is_told_how_its_iteration_did(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(loop(on_failure="skip"))
    begin(records, worker_id, execution_id)
    end(records, worker_id, execution_id, FIRST, result=None)

    claimed = claim(records, worker_id, execution_id, LOOP)

    assert claimed.loop is not None
    assert claimed.loop.status is StepStatus.FAILED
    assert claimed.loop.error is not None
    assert claimed.loop.error["message"] == "no"
    # the policy is that of the loop: as an iteration, it is not skipped
    assert statuses(engine, execution_id)["a[0]"] == "failed"


def test_who_does_not_hold_a_loop_begins_nothing(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(loop())
    claim(records, worker_id, execution_id, LOOP)
    stranger = HeldStep(execution_id, LOOP, str(uuid.uuid4()))

    answer = records.repeat(stranger, index=0, epoch=1)

    assert (answer.outcome, answer.windows) == (Repeated.STALE, ())
    assert len(engine.list_steps(execution_id)) == 2


def test_nothing_begins_in_an_execution_that_was_cancelled(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(loop())
    claimed = claim(records, worker_id, execution_id, LOOP)
    engine.cancel(execution_id)

    refused = records.repeat(claimed.held, index=0, epoch=1)
    records.complete(claimed.held, StepStatus.CANCELLED, epoch=1)

    assert refused.outcome is Repeated.REFUSED
    assert statuses(engine, execution_id) == {"a": "cancelled", "b": "cancelled"}


def test_an_iteration_that_outlives_a_cancel_begins_nothing(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(loop())
    begin(records, worker_id, execution_id)
    first = claim(records, worker_id, execution_id, FIRST)
    engine.cancel(execution_id)

    done = ride(records, worker_id, first, covered=-1)

    assert (done.next_claim, done.windows) == (None, ())
    assert done.is_last
    assert statuses(engine, execution_id)["a"] == "cancelled"


def test_what_was_lost_between_two_iterations_is_forgotten_with_the_next(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    settings: Settings,
    worker_id: str,
) -> None:
    execution_id = engine.submit(loop())
    for index in range(5):
        dying = register(liveness, settings)
        lost = claim(records, dying, execution_id, LOOP).held
        liveness.end_worker(dying)
        liveness.take_lost(
            LostStep(lost.execution_id, LOOP, lost.token), is_patient=True
        )
        assert engine.list_steps(execution_id)[LOOP].losses == 1
        begin(records, worker_id, execution_id)
        end(records, worker_id, execution_id, FIRST + index)

    step = engine.list_steps(execution_id)[LOOP]
    assert (step.status, step.losses, step.iterations) == (StepStatus.READY, 0, 5)


@pytest.mark.parametrize("policy", ["abort", "skip", {"fallback": "c"}])
def test_beyond_its_deadline_a_loop_begins_nothing(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    database: Database,
    worker_id: str,
    policy: Any,
) -> None:
    others = [nothing("c")] if isinstance(policy, dict) else []
    execution_id = engine.submit(loop(*others, on_failure=policy, deadline="1h"))
    begin(records, worker_id, execution_id)
    first = len(others) + FIRST
    expire(database, execution_id)
    (expired,) = [
        s for s in look(liveness).expired_steps if s.execution_id == execution_id
    ]
    liveness.expire_step(expired)

    dropped = try_claim(records, worker_id, execution_id, first)

    found = statuses(engine, execution_id)
    loops_end = {"abort": "timed_out", "skip": "skipped"}
    is_known = isinstance(policy, str)
    assert found["a"] == (loops_end[policy] if is_known else "waiting")
    assert (found["a[0]"], dropped.claim) == ("cancelled", None)


def expire(database: Database, execution_id: str) -> None:
    database.query(
        "UPDATE {schema}.execution_steps SET deadline = {schema}.plans_now()"
        " WHERE execution_id = %s AND deadline IS NOT NULL RETURNING 1",
        (execution_id,),
    )


def test_an_iteration_that_outlives_its_loop_does_not_wake_it(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    database: Database,
    worker_id: str,
) -> None:
    plan = loop(nothing("c"), on_failure={"fallback": "c"}, deadline="1h")
    execution_id = engine.submit(plan)
    begin(records, worker_id, execution_id)
    late = claim(records, worker_id, execution_id, FIRST + 1)
    expire(database, execution_id)
    liveness.expire_step(ExpiredStep(execution_id, LOOP))

    records.complete(late.held, StepStatus.COMPLETED, result="7", epoch=1)

    assert statuses(engine, execution_id) == {
        "a": "waiting",
        "b": "pending",
        "c": "ready",
        "a[0]": "completed",
    }
    held = claim(records, worker_id, execution_id, FIRST).held
    records.complete(held, StepStatus.COMPLETED, result='"spare"', epoch=1)
    held = claim(records, worker_id, execution_id, AFTER).held
    records.complete(held, StepStatus.COMPLETED, epoch=1)
    assert engine.get_status(execution_id).status is ExecutionStatus.COMPLETED
    check_timeline(engine, execution_id)


def test_an_iteration_waits_in_the_database_for_its_time(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    database: Database,
    worker_id: str,
) -> None:
    execution_id = engine.submit(loop(repeat={"wait": "1h"}))
    _, first = begin(records, worker_id, execution_id)
    end(records, worker_id, execution_id, FIRST)
    begin(records, worker_id, execution_id)
    waiting = engine.list_steps(execution_id)[FIRST + 1]
    database.query(
        "UPDATE {schema}.execution_steps SET wake_at = wake_at - interval '1 hour'"
        " WHERE execution_id = %s AND wake_at IS NOT NULL RETURNING 1",
        (execution_id,),
    )

    woken = liveness.wake_steps(execution_id)

    assert heads(first.windows) == ["a[0]"]
    assert (waiting.status, waiting.wake_at is None) == (StepStatus.WAITING, False)
    assert woken is not None
    assert heads(woken.windows) == ["a[1]"]


def test_a_message_of_a_loop_is_missed_as_soon_as_its_first_one(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    database: Database,
    worker_id: str,
) -> None:
    execution_id = engine.submit(loop(repeat={"times": 20}))
    for index in range(12):
        begin(records, worker_id, execution_id)
        end(records, worker_id, execution_id, FIRST + index)
    database.query(
        "UPDATE {schema}.execution_steps"
        " SET published_at = {schema}.plans_now() - interval '8 seconds'"
        " WHERE execution_id = %s AND status = 'ready' RETURNING 1",
        (execution_id,),
    )
    database.query(
        "INSERT INTO {schema}.queues SELECT queue, {schema}.plans_now()"
        " FROM {schema}.execution_steps WHERE execution_id = %s LIMIT 1"
        " ON CONFLICT (name) DO UPDATE SET front = excluded.front RETURNING 1",
        (execution_id,),
    )

    (missed,) = [
        s
        for s in look(liveness, beat_seconds=5).unsent_steps
        if s.execution_id == execution_id
    ]

    assert (missed.position, missed.publishes) == (LOOP, 13)
