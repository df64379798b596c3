"""Who is alive: silence is measured in the pulse, not in hours."""

from functools import partial

import pytest

from execution import ExecutionEngine, Plan, Settings, Step, StepStatus
from execution.database import Database
from execution.dispatcher import ExecutionDispatcher, create_app
from execution.events import ExecutionEventEmitter
from execution.liveness import LivenessRecords
from execution.reconciler import Reconciler
from execution.records import StepRecords
from tests.beating import Hands, beat
from tests.integration.test_protocol import claim, register
from tests.rows import committed
from tests.sweeping import look, run_round

PLAN = Plan("one", steps=[Step("only", action="test.nothing")])


@pytest.fixture
def reconciler(
    liveness: LivenessRecords, records: StepRecords, settings: Settings
) -> Reconciler:
    return Reconciler(
        liveness,
        records,
        ExecutionDispatcher(create_app(settings)),
        ExecutionEventEmitter(None, ""),
        settings,
    )


def shift_clock(database: Database, by: str) -> None:
    """Set the database's clock, as everything here reads it, forward or back."""
    with database._connect().cursor() as cursor:
        cursor.execute(
            f"CREATE OR REPLACE FUNCTION {database._schema}.plans_now()"
            " RETURNS timestamptz LANGUAGE sql VOLATILE AS"
            f" $$ SELECT clock_timestamp() + interval '{by}' $$"
        )


def pulse_value(database: Database) -> float:
    return float(database.query("SELECT value FROM {schema}.pulse")[0]["value"])


@pytest.mark.parametrize("jump", ["2 hours", "-2 hours"])
def test_a_jump_of_the_clock_declares_nobody_dead(
    database: Database,
    reconciler: Reconciler,
    settings: Settings,
    liveness: LivenessRecords,
    jump: str,
) -> None:
    worker_id = register(liveness, settings)
    shift_clock(database, jump)
    try:
        done = [run_round(reconciler) for _ in range(3)]

        assert [r.dead_workers for r in done] == [0, 0, 0]
        assert beat(database, worker_id, [settings.queue]) is not None
    finally:
        shift_clock(database, "0")
        liveness.end_worker(worker_id)


def test_the_pulse_moves_by_no_more_than_a_step_after_an_outage(
    database: Database, reconciler: Reconciler, settings: Settings
) -> None:
    run_round(reconciler)
    before = pulse_value(database)
    shift_clock(database, "10 minutes")
    try:
        run_round(reconciler)
    finally:
        shift_clock(database, "0")

    assert pulse_value(database) - before <= settings.tick_seconds + 0.01


def test_a_silent_worker_is_declared_dead_for_good(
    database: Database,
    reconciler: Reconciler,
    settings: Settings,
    liveness: LivenessRecords,
) -> None:
    worker_id = register(liveness, settings)
    database.query(
        "UPDATE {schema}.pulse SET value = value + %s RETURNING value",
        (settings.lease_seconds + 1,),
    )

    assert run_round(reconciler).dead_workers >= 1
    assert beat(database, worker_id, [settings.queue]) is None


def test_a_worker_with_a_longer_lease_may_be_silent_for_longer(
    database: Database,
    reconciler: Reconciler,
    settings: Settings,
    liveness: LivenessRecords,
) -> None:
    patient = 2 * settings.lease_seconds + 2
    worker_id = register(liveness, settings, lease_seconds=patient)
    statement = "UPDATE {schema}.pulse SET value = value + %s RETURNING value"

    database.query(statement, (settings.lease_seconds + 1,))
    run_round(reconciler)
    early = beat(database, worker_id, [settings.queue])
    database.query(statement, (patient + 1,))
    run_round(reconciler)
    late = beat(database, worker_id, [settings.queue])

    assert early is not None
    assert late is None


def test_a_step_in_hand_is_not_lost(
    engine: ExecutionEngine,
    records: StepRecords,
    settings: Settings,
    liveness: LivenessRecords,
    database: Database,
) -> None:
    worker_id = register(liveness, settings)
    execution_id = engine.submit(PLAN)
    held = claim(records, worker_id, execution_id, 0).held

    beat(database, worker_id, [settings.queue], hands=Hands(tokens=(held.token,)))
    by_token = look(liveness).lost_steps
    beat(database, worker_id, [settings.queue], hands=Hands(deliveries=("by-hand",)))
    by_delivery = look(liveness).lost_steps

    assert not [s for s in (*by_token, *by_delivery) if s.execution_id == execution_id]
    liveness.end_worker(worker_id)


def test_a_step_that_left_its_workers_hands_is_lost(
    engine: ExecutionEngine,
    records: StepRecords,
    settings: Settings,
    liveness: LivenessRecords,
    database: Database,
) -> None:
    worker_id = register(liveness, settings)
    execution_id = engine.submit(PLAN)
    claim(records, worker_id, execution_id, 0)

    beat(database, worker_id, [settings.queue])

    assert [s for s in look(liveness).lost_steps if s.execution_id == execution_id]
    liveness.end_worker(worker_id)


def test_a_sample_from_before_the_claim_proves_nothing(
    engine: ExecutionEngine,
    records: StepRecords,
    settings: Settings,
    liveness: LivenessRecords,
    database: Database,
) -> None:
    worker_id = register(liveness, settings)
    beat(database, worker_id, [settings.queue])
    execution_id = engine.submit(PLAN)

    claim(records, worker_id, execution_id, 0)

    assert not [s for s in look(liveness).lost_steps if s.execution_id == execution_id]
    liveness.end_worker(worker_id)


def test_the_first_beat_after_the_claim_proves_nothing(
    engine: ExecutionEngine,
    records: StepRecords,
    settings: Settings,
    liveness: LivenessRecords,
    database: Database,
) -> None:
    worker_id = register(liveness, settings)
    beat(database, worker_id, [settings.queue])
    execution_id = engine.submit(PLAN)
    claim(records, worker_id, execution_id, 0)

    # its sample may have been begun before the claim
    beat(database, worker_id, [settings.queue], times=1)

    assert execution_id not in {s.execution_id for s in look(liveness).lost_steps}
    liveness.end_worker(worker_id)


def test_a_beat_whose_predecessor_was_not_answered_is_not_counted(
    settings: Settings, liveness: LivenessRecords, database: Database
) -> None:
    worker_id = register(liveness, settings)
    first = beat(database, worker_id, [settings.queue], times=1)
    assert first is not None
    again = partial(
        liveness.beat,
        worker_id,
        slots=8,
        in_hand=0,
        queues=[settings.queue],
        deliveries=[],
        tokens=[],
        previous=first,
    )

    answers = [again(), again()]

    assert [answer and answer.beats for answer in answers] == [2, 2]
    liveness.end_worker(worker_id)


@pytest.mark.parametrize("jump", ["2 hours", "-2 hours"])
def test_a_jump_of_the_clock_takes_no_step_from_the_living(
    engine: ExecutionEngine,
    records: StepRecords,
    settings: Settings,
    liveness: LivenessRecords,
    database: Database,
    jump: str,
) -> None:
    worker_id = register(liveness, settings)
    beat(database, worker_id, [settings.queue])
    shift_clock(database, jump)
    try:
        execution_id = engine.submit(PLAN)
        claim(records, worker_id, execution_id, 0)

        lost = {s.execution_id for s in look(liveness).lost_steps}
    finally:
        shift_clock(database, "0 seconds")

    assert execution_id not in lost
    liveness.end_worker(worker_id)


def test_two_reconcilers_take_a_lost_step_once(
    engine: ExecutionEngine,
    records: StepRecords,
    settings: Settings,
    liveness: LivenessRecords,
) -> None:
    worker_id = register(liveness, settings)
    execution_id = engine.submit(PLAN)
    claim(records, worker_id, execution_id, 0)
    liveness.end_worker(worker_id)
    (lost,) = [s for s in look(liveness).lost_steps if s.execution_id == execution_id]

    taken = [liveness.take_lost(lost, is_patient=True) for _ in range(2)]

    assert taken[0] is not None
    assert taken[1] is None
    assert engine.list_steps(execution_id)[0].losses == 1


def test_a_step_whose_message_was_lost_is_sent_once_by_many(
    engine: ExecutionEngine,
    settings: Settings,
    liveness: LivenessRecords,
    database: Database,
) -> None:
    execution_id = engine.submit(PLAN)
    worker_id = register(liveness, settings)
    database.query(
        "UPDATE {schema}.execution_steps SET published_at = published_at"
        " - interval '1 hour' WHERE execution_id = %s RETURNING 1",
        (execution_id,),
    )
    beat(database, worker_id, [settings.queue])
    (unsent,) = [
        s
        for s in look(liveness, beat_seconds=settings.beat_seconds).unsent_steps
        if s.execution_id == execution_id
    ]

    windows = [liveness.mark_resent(unsent) for _ in range(2)]

    assert [len(w) for w in windows] == [1, 0]
    liveness.end_worker(worker_id)


def test_a_backlog_behind_busy_workers_is_not_sent_again(
    engine: ExecutionEngine,
    settings: Settings,
    liveness: LivenessRecords,
    database: Database,
) -> None:
    execution_id = engine.submit(PLAN)
    worker_id = register(liveness, settings)
    database.query(
        "UPDATE {schema}.execution_steps SET published_at = published_at"
        " - interval '1 hour' WHERE execution_id = %s RETURNING 1",
        (execution_id,),
    )

    beat(database, worker_id, [settings.queue], hands=Hands(waiting=8))

    unsent = look(liveness, beat_seconds=settings.beat_seconds).unsent_steps
    assert not [s for s in unsent if s.execution_id == execution_id]
    liveness.end_worker(worker_id)


def test_an_execution_whose_last_runner_died_is_finished(
    engine: ExecutionEngine,
    records: StepRecords,
    reconciler: Reconciler,
    settings: Settings,
    liveness: LivenessRecords,
) -> None:
    worker_id = register(liveness, settings)
    # its result is to be evaluated, and so is not in the hands of the database
    steps = [Step("only", action="test.nothing")]
    plan = Plan("evaluated", steps=steps, result="${steps.only.result}")
    execution_id = engine.submit(plan)
    held = claim(records, worker_id, execution_id, 0).held
    from_last = records.complete(held, StepStatus.COMPLETED, result="7", epoch=1)

    assert from_last.is_last
    assert run_round(reconciler).finished_executions >= 1
    assert engine.get_result(execution_id).unwrap() == 7
    liveness.end_worker(worker_id)


def test_one_held_row_does_not_stop_the_others(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    reconciler: Reconciler,
    settings: Settings,
) -> None:
    worker_id = register(liveness, settings)
    held_id, other_id = engine.submit(PLAN), engine.submit(PLAN)
    for execution_id in (held_id, other_id):
        claim(records, worker_id, execution_id, 0)
    liveness.end_worker(worker_id)
    with committed(str(settings.database_url), settings.schema) as stranger:
        stranger.execute("SELECT FROM executions WHERE id = %s FOR UPDATE", (held_id,))
        for _ in range(5):
            run_round(reconciler)

        losses = engine.list_steps(other_id)[0].losses

    assert losses == 1
    assert engine.list_steps(held_id)[0].losses == 0
    run_round(reconciler)
    assert engine.list_steps(held_id)[0].losses == 1
