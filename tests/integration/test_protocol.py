"""The protocol, driven by hand: claims, ends, and what comes too late."""

import uuid
from functools import partial

import pytest

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step, StepStatus
from execution.answers import (
    Claim,
    ClaimAnswer,
    ClaimOutcome,
    Completion,
    HeldStep,
    Recorded,
    Retried,
    RetryAnswer,
    Rider,
    Saved,
)
from execution.database import Database
from execution.liveness import LivenessRecords
from execution.overdue import OverdueStep
from execution.records import StepRecords
from tests.racing import run_at_once
from tests.sweeping import look
from tests.timeline import check_timeline, heads, read_timeline

ACTIONS = '[{"name": "test.nothing"}, {"name": "test.echo"}]'


def nothing(name: str, needs: list[str] | None = None) -> Step:
    return Step(name, action="test.nothing", needs=needs)


SEQUENCE = Plan("sequence", steps=[nothing(f"s{n}") for n in range(4)])
DIAMOND = Plan(
    "diamond",
    steps=[
        nothing("root", []),
        nothing("left", ["root"]),
        nothing("right", ["root"]),
        nothing("join", ["left", "right"]),
    ],
)


@pytest.fixture(scope="module")
def worker_id(liveness: LivenessRecords, settings: Settings) -> str:
    """A worker that is only a row: these tests claim in its name."""
    return register(liveness, settings)


def register(
    liveness: LivenessRecords,
    settings: Settings,
    *other_queues: str,
    actions: str = ACTIONS,
    lease_seconds: float | None = None,
) -> str:
    worker_id = str(uuid.uuid4())
    liveness.register_worker(
        worker_id,
        hostname="by-hand",
        pid=1,
        pool="none",
        slots=8,
        queues=[settings.queue, *other_queues],
        actions=actions,
        lease_seconds=lease_seconds,
    )
    return worker_id


def try_claim(
    records: StepRecords,
    worker_id: str,
    execution_id: str,
    *positions: int,
    epoch: int = 1,
) -> ClaimAnswer:
    return records.claim(
        execution_id,
        positions,
        epoch=epoch,
        token=str(uuid.uuid4()),
        worker_id=worker_id,
        delivery="by-hand",
    )


def claim(
    records: StepRecords, worker_id: str, execution_id: str, *positions: int
) -> Claim:
    answer = try_claim(records, worker_id, execution_id, *positions)
    assert answer.claim is not None, answer
    return answer.claim


def ride(
    records: StepRecords, worker_id: str, begun: Claim, *, covered: int
) -> Completion:
    """Record a success, and go on to what follows."""
    rider = Rider(begun.run, str(uuid.uuid4()), worker_id, delivery="by-hand")
    return records.complete(
        begun.held, StepStatus.COMPLETED, covered=covered, epoch=1, rider=rider
    )


def test_who_rides_on_from_an_overdue_step_is_not_killed_for_it(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    worker_id: str,
) -> None:
    execution_id = engine.submit(SEQUENCE)
    begun = claim(records, worker_id, execution_id, 0)
    overdue = OverdueStep(execution_id, 0, begun.held.token, 1, 1, begun.retry)

    assert ride(records, worker_id, begun, covered=1).next_claim is not None

    # its token may be shown still, beside that of the next step
    assert liveness.is_held(overdue)


def test_the_same_claim_again_answers_the_same(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(SEQUENCE)
    token = str(uuid.uuid4())

    answers = [
        records.claim(
            execution_id,
            [0, 1],
            epoch=1,
            token=token,
            worker_id=worker_id,
            delivery="d",
        )
        for _ in range(2)
    ]

    assert [a.claim and a.claim.attempt for a in answers] == [1, 1]


def test_a_held_step_is_not_claimed_again(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(SEQUENCE)
    claim(records, worker_id, execution_id, 0)

    answer = try_claim(records, worker_id, execution_id, 0)

    assert answer.outcome is ClaimOutcome.DROPPED
    assert answer.detail == "step s0 is running"


def test_one_of_many_claims_at_once_wins(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    for _ in range(10):
        execution_id = engine.submit(SEQUENCE)

        answers = run_at_once(
            [partial(try_claim, records, worker_id, execution_id, 0)] * 4
        )

        outcomes = [answer.outcome for answer in answers]
        assert outcomes.count(ClaimOutcome.CLAIMED) == 1


def test_a_repeated_message_skips_what_is_settled(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(SEQUENCE)
    for position in (0, 1):
        held = claim(records, worker_id, execution_id, position).held
        records.complete(held, StepStatus.COMPLETED, result="1", epoch=1)

    answer = try_claim(records, worker_id, execution_id, 0, 1, 2, 3)

    assert answer.skipped == 2
    assert answer.claim is not None
    assert answer.claim.step == "s2"


def test_a_message_never_skips_past_a_change_of_queue(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    plan = Plan(
        "queues",
        steps=[
            nothing("here"),
            Step("there", action="test.nothing", queue="elsewhere"),
        ],
    )
    execution_id = engine.submit(plan)
    held = claim(records, worker_id, execution_id, 0).held
    records.complete(held, StepStatus.COMPLETED, epoch=1)

    answer = try_claim(records, worker_id, execution_id, 0, 1)

    assert (answer.outcome, answer.skipped) == (ClaimOutcome.SATISFIED, 1)


def fail(
    records: StepRecords, held: HeldStep, *, attempt: int = 1, parks: bool = False
) -> RetryAnswer:
    """Say that an attempt failed and another one is to follow."""
    return records.retry(
        held,
        attempt=attempt,
        recorded_input="{}",
        error="{}",
        wait_seconds=3600 if parks else 0,
        parks=parks,
    )


def test_a_late_result_is_dropped(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    settings: Settings,
    worker_id: str,
) -> None:
    zombie_worker = register(liveness, settings)
    execution_id = engine.submit(SEQUENCE)
    zombie = claim(records, zombie_worker, execution_id, 0).held
    liveness.end_worker(zombie_worker)
    (lost,) = [s for s in look(liveness).lost_steps if s.execution_id == execution_id]
    assert liveness.take_lost(lost, is_patient=True) is not None
    heir = claim(records, worker_id, execution_id, 0).held

    late = records.complete(zombie, StepStatus.COMPLETED, result='"late"', epoch=1)
    landed = records.complete(heir, StepStatus.COMPLETED, result='"heir"', epoch=1)

    assert (late.outcome, landed.outcome) == (Recorded.STALE, Recorded.RECORDED)
    assert records.report_progress(zombie, 10, None, chunks=None, records=None) is None
    assert records.save_checkpoint(zombie, "{}") is Saved.STALE
    for parks in (False, True):
        assert fail(records, zombie, parks=parks).outcome is Retried.REFUSED
    assert not records.append_observations(
        zombie, '[{"level":"info","message":"x"}]', "[]"
    )
    assert records.is_unwanted(zombie)


def test_a_completion_whose_commit_was_unknown_answers_the_same_again(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(DIAMOND)
    held = claim(records, worker_id, execution_id, 0).held

    first = records.complete(held, StepStatus.COMPLETED, result="1", epoch=1)
    again = records.complete(held, StepStatus.COMPLETED, result="1", epoch=1)

    assert (first.outcome, again.outcome) == (Recorded.RECORDED, Recorded.REPEATED)
    assert heads(first.windows) == heads(again.windows) == ["left", "right"]
    assert [e.type for e in read_timeline(engine, execution_id)].count(
        "step.completed"
    ) == 1


def test_a_join_waits_for_its_last_need_whoever_ends_last(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    for _ in range(20):
        execution_id = engine.submit(DIAMOND)
        held = claim(records, worker_id, execution_id, 0).held
        records.complete(held, StepStatus.COMPLETED, epoch=1)
        branches = [claim(records, worker_id, execution_id, p).held for p in (1, 2)]

        ends = run_at_once(
            [
                partial(records.complete, b, StepStatus.COMPLETED, epoch=1)
                for b in branches
            ]
        )

        assert [head for end in ends for head in heads(end.windows)] == ["join"]


def test_a_chain_covers_only_in_its_own_epoch(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(SEQUENCE)
    held = claim(records, worker_id, execution_id, 0).held
    engine.pause(execution_id)
    engine.resume(execution_id)

    done = records.complete(held, StepStatus.COMPLETED, covered=1, epoch=1)

    assert done.epoch == 2
    assert heads(done.windows) == ["s1"]


def test_a_message_of_an_older_epoch_is_dropped(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(SEQUENCE)
    engine.pause(execution_id)
    engine.resume(execution_id)

    answer = try_claim(records, worker_id, execution_id, 0)

    assert answer.outcome is ClaimOutcome.DROPPED
    assert answer.detail == "the message is of another epoch"


def test_nothing_is_claimed_while_paused_and_what_runs_is_recorded(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(SEQUENCE)
    held = claim(records, worker_id, execution_id, 0).held
    engine.pause(execution_id, by="ann", reason="lunch")

    done = records.complete(held, StepStatus.COMPLETED, covered=1, epoch=1)
    answer = try_claim(records, worker_id, execution_id, 1)

    assert done.outcome is Recorded.RECORDED
    assert done.windows == ()
    assert answer.outcome is ClaimOutcome.DROPPED
    assert engine.list_steps(execution_id)[1].status is StepStatus.READY
    check_timeline(engine, execution_id)


def test_a_cancel_ends_when_the_running_step_has_ended(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(SEQUENCE)
    held = claim(records, worker_id, execution_id, 0).held

    assert engine.cancel(execution_id, by="ann") is ExecutionStatus.ENDING
    assert records.is_unwanted(held)
    done = records.complete(held, StepStatus.COMPLETED, epoch=1)

    assert done.is_last
    statuses = [step.status for step in engine.list_steps(execution_id)]
    assert statuses == [StepStatus.COMPLETED, *[StepStatus.CANCELLED] * 3]


def test_a_cancel_before_the_start_ends_at_once(engine: ExecutionEngine) -> None:
    execution_id = engine.submit(SEQUENCE)

    engine.cancel(execution_id)

    assert engine.get_status(execution_id).status is ExecutionStatus.CANCELLED
    check_timeline(engine, execution_id)


def test_what_the_wrong_worker_got_is_sent_again_at_the_next_look(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    settings: Settings,
    worker_id: str,
) -> None:
    other_id = register(liveness, settings, actions='[{"name": "elsewhere.only"}]')
    plan = Plan("mixed", steps=[Step("s", action="elsewhere.only")])
    execution_id = engine.submit(plan)

    answer = try_claim(records, worker_id, execution_id, 0)

    assert answer.outcome is ClaimOutcome.REFUSED
    assert execution_id in look(liveness).unsent_executions
    assert liveness.mark_sent(execution_id)
    assert claim(records, other_id, execution_id, 0).attempt == 1
    liveness.end_worker(other_id)


def test_a_worker_that_lacks_the_action_refuses_before_anything_is_counted(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    settings: Settings,
    worker_id: str,
) -> None:
    other_id = register(liveness, settings, actions='[{"name": "somebody.elses"}]')
    liveness.end_worker(other_id)
    plan = Plan("foreign", steps=[Step("s", action="somebody.elses")])
    execution_id = engine.submit(plan)

    answer = try_claim(records, worker_id, execution_id, 0)

    assert answer.outcome is ClaimOutcome.REFUSED
    assert answer.detail == "has no action somebody.elses"
    assert engine.list_steps(execution_id)[0].attempt == 0


def test_a_worker_that_was_declared_dead_cannot_claim(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    settings: Settings,
) -> None:
    dead = register(liveness, settings)
    liveness.end_worker(dead)
    execution_id = engine.submit(SEQUENCE)

    answer = try_claim(records, dead, execution_id, 0)

    assert answer.outcome is ClaimOutcome.UNREGISTERED


def test_an_unknown_execution_is_dropped(records: StepRecords, worker_id: str) -> None:
    answer = try_claim(records, worker_id, str(uuid.uuid4()), 0)

    assert (answer.outcome, answer.detail) == (
        ClaimOutcome.DROPPED,
        "no such execution",
    )


def test_a_wide_fan_out_is_sent_a_lane_at_a_time(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    plan = Plan(
        "wide",
        steps=[nothing("root", []), *[nothing(f"b{n}", ["root"]) for n in range(100)]],
    )
    execution_id = engine.submit(plan)
    held = claim(records, worker_id, execution_id, 0).held

    fanned = records.complete(held, StepStatus.COMPLETED, epoch=1)
    held = claim(records, worker_id, execution_id, 1).held
    followed = records.complete(held, StepStatus.COMPLETED, epoch=1)

    assert 16 <= len(fanned.windows) < 100
    assert heads(followed.windows) == [f"b{len(fanned.windows)}"]


def test_the_same_claim_again_answers_the_same_after_a_pause(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(SEQUENCE)
    token = str(uuid.uuid4())
    call = partial(
        records.claim,
        execution_id,
        [0, 1],
        epoch=1,
        token=token,
        worker_id=worker_id,
        delivery="by-hand",
    )
    call()
    engine.pause(execution_id)
    paused = call()
    engine.resume(execution_id)
    resumed = call()

    assert [a.outcome for a in (paused, resumed)] == [ClaimOutcome.CLAIMED] * 2
    assert resumed.claim is not None
    assert resumed.claim.attempt == 1


def test_the_same_ride_again_answers_the_same_after_a_pause(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(SEQUENCE)
    begun = claim(records, worker_id, execution_id, 0)
    rider = Rider(begun.run, str(uuid.uuid4()), worker_id, delivery="by-hand")
    call = partial(
        records.complete,
        begun.held,
        StepStatus.COMPLETED,
        covered=1,
        epoch=1,
        rider=rider,
    )
    call()
    engine.pause(execution_id)
    paused = call()
    engine.resume(execution_id)
    resumed = call()

    assert [a.next_claim and a.next_claim.step for a in (paused, resumed)] == ["s1"] * 2


def test_a_retry_whose_commit_was_unknown_counts_once(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(SEQUENCE)
    held = claim(records, worker_id, execution_id, 0).held
    answers = [fail(records, held), fail(records, held)]

    assert [(a.outcome, a.attempt) for a in answers] == [(Retried.RETRYING, 2)] * 2
    step = engine.list_steps(execution_id)[0]
    assert (step.attempt, step.failures) == (2, 1)


def test_a_fan_out_over_two_queues_sends_to_both(
    engine: ExecutionEngine, records: StepRecords, worker_id: str, settings: Settings
) -> None:
    plan = Plan(
        "queues",
        steps=[
            nothing("root", []),
            *[
                Step(f"{queue}{n}", action="test.nothing", queue=queue, needs=["root"])
                for queue in ("left", "right")
                for n in range(40)
            ],
        ],
    )
    execution_id = engine.submit(plan)
    held = claim(records, worker_id, execution_id, 0).held

    done = records.complete(held, StepStatus.COMPLETED, epoch=1)

    sent = heads(done.windows)
    assert {name.rstrip("0123456789") for name in sent} == {"left", "right"}


def test_a_branch_that_goes_to_another_queue_leaves_its_lane_to_the_next(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    branches = [
        step
        for n in range(20)
        for step in (
            nothing(f"a{n}", []),
            Step(f"b{n}", action="test.nothing", queue="elsewhere", needs=[f"a{n}"]),
        )
    ]
    execution_id = engine.submit(Plan("branches", steps=branches))
    held = claim(records, worker_id, execution_id, 0).held

    done = records.complete(held, StepStatus.COMPLETED, covered=1, epoch=1)

    assert heads(done.windows) == ["a16"]


def test_a_ride_to_another_queue_leaves_its_lane_to_the_next(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    settings: Settings,
) -> None:
    worker_id = register(liveness, settings, "elsewhere")
    branches = [
        step
        for n in range(80)
        for step in (
            nothing(f"a{n}", []),
            Step(f"b{n}", action="test.nothing", queue="elsewhere", needs=[f"a{n}"]),
        )
    ]
    execution_id = engine.submit(Plan("branches", steps=branches))
    begun = claim(records, worker_id, execution_id, 0)

    done = ride(records, worker_id, begun, covered=1)

    liveness.end_worker(worker_id)
    assert done.next_claim is not None
    assert done.next_claim.step == "b0"
    assert [name[0] for name in heads(done.windows)] == ["a"]


def test_a_zombie_rides_nowhere(
    engine: ExecutionEngine, records: StepRecords, worker_id: str, database: Database
) -> None:
    execution_id = engine.submit(SEQUENCE)
    begun = claim(records, worker_id, execution_id, 0)
    # as if it had been taken back, and claimed by somebody else
    database.query(
        "UPDATE {schema}.execution_steps SET lease_token = gen_random_uuid()"
        " WHERE execution_id = %s AND position = 0 RETURNING 1",
        (execution_id,),
    )

    late = ride(records, worker_id, begun, covered=1)

    assert late.outcome is Recorded.STALE
    assert late.next_claim is None
    assert [s.status for s in engine.list_steps(execution_id)][:2] == [
        StepStatus.RUNNING,
        StepStatus.PENDING,
    ]


def test_nobody_rides_on_in_an_execution_that_is_paused(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(SEQUENCE)
    begun = claim(records, worker_id, execution_id, 0)
    engine.pause(execution_id)

    done = ride(records, worker_id, begun, covered=1)

    assert done.outcome is Recorded.RECORDED
    assert done.next_claim is None
    assert engine.list_steps(execution_id)[1].status is StepStatus.READY


def test_a_ride_writes_what_a_claim_does(
    engine: ExecutionEngine, records: StepRecords, worker_id: str, database: Database
) -> None:
    timed = Step("b", action="test.nothing", timeout="7s", deadline="1m", priority=3)
    steps = [nothing("a"), timed]
    plan = Plan("compared", steps=steps, deadline="1h")
    ridden_id, claimed_id = engine.submit(plan), engine.submit(plan)

    ride(records, worker_id, claim(records, worker_id, ridden_id, 0), covered=1)
    held = claim(records, worker_id, claimed_id, 0).held
    records.complete(held, StepStatus.COMPLETED, covered=1, epoch=1)
    claim(records, worker_id, claimed_id, 1)

    ridden, claimed = (read_rows(database, i) for i in (ridden_id, claimed_id))
    told, also_told = (
        [(e.type, e.step) for e in read_timeline(engine, i)]
        for i in (ridden_id, claimed_id)
    )
    assert ridden == claimed
    assert told == also_told


def read_rows(database: Database, execution_id: str) -> list[dict[str, object]]:
    """Return what both ways must agree in; times as how far they are apart."""
    return database.query(
        "SELECT status, attempt, pending_deps, priority, worker_id::text, result,"
        " input,"
        " round(extract(epoch FROM attempt_deadline - claimed_at)) AS most,"
        " round(extract(epoch FROM deadline - ready_at)) AS deadline,"
        " ready_at IS NULL AS unready, ended_at IS NULL AS open, failures, losses"
        " FROM {schema}.execution_steps WHERE execution_id = %s ORDER BY position",
        (execution_id,),
    )


def test_a_completion_repeated_begins_its_lane_again(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    plan = Plan("lanes", steps=[nothing(f"s{n}", []) for n in range(40)])
    held = claim(records, worker_id, engine.submit(plan), 0).held
    first = records.complete(held, StepStatus.COMPLETED, epoch=1)

    again = records.complete(held, StepStatus.COMPLETED, epoch=1)

    assert again.outcome is Recorded.REPEATED
    assert len(first.windows) == len(again.windows) == 1


def test_a_fan_out_whose_lanes_all_run_is_sent_on(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    worker_id: str,
) -> None:
    plan = Plan("lanes", steps=[nothing(f"s{n}", []) for n in range(20)])
    execution_id = engine.submit(plan)
    for position in range(15):
        claim(records, worker_id, execution_id, position)
    before = liveness.find_unsent_executions(100)

    claim(records, worker_id, execution_id, 15)

    assert execution_id not in before
    assert execution_id in liveness.find_unsent_executions(100)
    assert heads(liveness.mark_sent(execution_id)) == ["s16", "s17", "s18", "s19"]


def test_a_success_of_a_step_that_was_skipped_is_stale(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    step = Step("a", action="test.nothing", on_failure="skip")
    execution_id = engine.submit(Plan("skipped", steps=[step]))
    held = claim(records, worker_id, execution_id, 0).held
    records.complete(held, StepStatus.TIMED_OUT, error="{}", epoch=1)

    late = records.complete(held, StepStatus.COMPLETED, result="1", epoch=1)
    again = records.complete(held, StepStatus.TIMED_OUT, error="{}", epoch=1)

    assert late.outcome is Recorded.STALE
    assert again.outcome is Recorded.REPEATED


def test_a_long_line_of_skips_is_recorded_in_time(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    line = [nothing(f"s{n}", [f"s{n - 1}"]) for n in range(1, 3000)]
    first = Step("s0", action="test.nothing", needs=[], on_failure="skip")
    execution_id = engine.submit(Plan("line", steps=[first, *line]))
    held = claim(records, worker_id, execution_id, 0).held

    done = records.complete(held, StepStatus.FAILED, error="{}", epoch=1)

    assert done.has_ended


def test_a_ride_to_a_fallback_that_was_never_sent_tells_it_of_the_failure(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    failing = Step("a", action="test.nothing", needs=[], on_failure={"fallback": "b"})
    others = [nothing(f"s{n}", []) for n in range(17)]
    plan = Plan("p", steps=[failing, *others, nothing("b")])
    execution_id = engine.submit(plan)
    held = claim(records, worker_id, execution_id, 0).held
    engine.pause(execution_id)
    records.complete(held, StepStatus.FAILED, error='{"code": "E003"}', epoch=1)
    # so many others are sent that the fallback waits
    engine.resume(execution_id)

    begun = try_claim(records, worker_id, execution_id, 1, epoch=2).claim
    while begun is not None and begun.step != "b":
        rider = Rider(begun.run, str(uuid.uuid4()), worker_id, delivery="by-hand")
        begun = records.complete(
            begun.held, StepStatus.COMPLETED, epoch=2, rider=rider
        ).next_claim

    assert begun is not None
    assert begun.scope["failure"] == {"code": "E003"}


def test_an_item_is_not_told_of_the_list_that_it_is_of(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    each = Step(
        "each", action="test.nothing", for_each="steps.list.result", max_parallel=1
    )
    execution_id = engine.submit(Plan("p", steps=[nothing("list"), each]))
    held = claim(records, worker_id, execution_id, 0).held
    records.complete(held, StepStatus.COMPLETED, result="[1, 2]", epoch=1)
    expanding = claim(records, worker_id, execution_id, 1)
    records.expand(expanding.held, attempt=1, items="[1, 2]")

    first = claim(records, worker_id, execution_id, 2)
    second = ride(records, worker_id, first, covered=0).next_claim

    assert second is not None
    assert expanding.scope["steps"]["list"]["result"] == [1, 2]
    assert (first.scope["steps"], second.scope["steps"]) == ({}, {})
