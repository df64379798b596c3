"""Executions that begin later: what they are until then, and how they begin.

Played by hand: time is moved by writing back the moments that are stored.
"""

import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from functools import partial

import psycopg2
import pytest
from psycopg2 import errors

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step
from execution.database import Database
from execution.dispatcher import ExecutionDispatcher, create_app
from execution.errors import ParameterError, SubmissionConflictError
from execution.events import ExecutionEventEmitter
from execution.liveness import LivenessRecords
from execution.reconciler import Reconciler
from execution.records import StepRecords
from tests.integration.test_protocol import claim, register
from tests.racing import run_at_once
from tests.rows import connect
from tests.sweeping import NOBODY, look, run_round
from tests.timeline import check_timeline, replay

SOON = datetime.now(UTC) + timedelta(hours=1)
PLAN = Plan(
    "delayed",
    steps=[
        Step("a", action="test.nothing", needs=[]),
        Step("b", action="test.nothing", needs=["a"]),
    ],
)


def keyed(on_conflict: str) -> Plan:
    return Plan(
        f"delayed-{uuid.uuid4()}",
        concurrency={"key": "one", "on_conflict": on_conflict},
        steps=[Step("a", action="test.nothing")],
    )


@pytest.fixture(scope="module")
def worker_id(liveness: LivenessRecords, settings: Settings) -> str:
    """A worker that is only a row: these tests claim in its name."""
    return register(liveness, settings)


@pytest.fixture(scope="module")
def reconciler(
    liveness: LivenessRecords, records: StepRecords, settings: Settings
) -> Reconciler:
    """A reconciler that looks when it is asked to."""
    dispatcher = ExecutionDispatcher(create_app(settings))
    quiet = ExecutionEventEmitter(None, "")
    return Reconciler(liveness, records, dispatcher, quiet, settings)


def let_come(database: Database, execution_id: str) -> None:
    """Make the time of a delayed execution now."""
    database.query(
        "UPDATE {schema}.executions SET starts_at = clock_timestamp()"
        " WHERE id = %s RETURNING 1",
        (execution_id,),
    )


def stands(engine: ExecutionEngine, execution_id: str) -> tuple[str, str, bool]:
    execution = engine.get_status(execution_id)
    step = engine.list_steps(execution_id)[0]
    return execution.status.value, step.status.value, execution.is_delayed


def test_nothing_begins_before_its_time(
    engine: ExecutionEngine, reconciler: Reconciler, liveness: LivenessRecords
) -> None:
    execution_id = engine.submit(PLAN, at=SOON)

    run_round(reconciler)

    assert stands(engine, execution_id) == ("pending", "pending", True)
    assert engine.get_status(execution_id).starts_at == SOON
    assert execution_id not in look(liveness).delayed_executions


def test_it_begins_once_its_time_has_come(
    engine: ExecutionEngine,
    reconciler: Reconciler,
    records: StepRecords,
    database: Database,
    worker_id: str,
) -> None:
    execution_id = engine.submit(PLAN, at=SOON)
    let_come(database, execution_id)

    begun = run_round(reconciler)

    assert begun.started_executions == 1
    assert stands(engine, execution_id) == ("pending", "ready", False)
    claim(records, worker_id, execution_id, 0)
    check_timeline(engine, execution_id)
    assert [e.type for e in engine.list_events(execution_id)][:3] == [
        "execution.state_changed",
        "execution.delayed",
        "step.ready",
    ]


def test_of_many_reconcilers_one_begins_it(
    engine: ExecutionEngine,
    reconciler: Reconciler,
    database: Database,
    settings: Settings,
) -> None:
    execution_id = engine.submit(PLAN, at=SOON)
    let_come(database, execution_id)

    started = run_at_once(
        [partial(start_alone, settings, execution_id) for _ in range(5)]
    )

    assert sorted(started) == [False] * 4 + [True]
    assert len([e for e in engine.list_events(execution_id) if e.step]) == 1


def start_alone(settings: Settings, execution_id: str) -> bool:
    assert settings.database_url is not None
    database = Database(settings.database_url, settings.schema)
    with closing(database):
        return LivenessRecords(database).start_delayed(execution_id) is not None


def test_a_moment_that_is_past_delays_nothing(engine: ExecutionEngine) -> None:
    execution_id = engine.submit(PLAN, at=SOON - timedelta(days=1))

    execution = engine.get_status(execution_id)

    assert stands(engine, execution_id) == ("pending", "ready", False)
    assert execution.starts_at is None


def test_a_moment_without_a_time_zone_is_refused(engine: ExecutionEngine) -> None:
    naive = datetime(2100, 1, 1, 8)  # noqa: DTZ001  # what is refused

    with pytest.raises(
        ParameterError, match=r"^at: is 2100-01-01 08:00:00, and nobody"
    ):
        engine.submit(PLAN, at=naive)
    with pytest.raises(ParameterError, match=r"^at: must be a datetime"):
        engine.submit_many(PLAN, [{}], at="tomorrow")  # type: ignore[arg-type]  # what is refused


def test_the_moment_belongs_to_the_body_of_a_key(engine: ExecutionEngine) -> None:
    key = str(uuid.uuid4())
    first = engine.submit(PLAN, at=SOON, idempotency_key=key)

    elsewhere = SOON.astimezone(timezone(timedelta(hours=9)))
    again = engine.submit(PLAN, at=elsewhere, idempotency_key=key)

    assert again == first
    for other in (None, SOON + timedelta(seconds=1)):
        with pytest.raises(SubmissionConflictError, match="moment"):
            engine.submit(PLAN, at=other, idempotency_key=key)


def test_a_repeat_after_its_time_answers_the_same(
    engine: ExecutionEngine, database: Database, reconciler: Reconciler
) -> None:
    key = str(uuid.uuid4())
    first = engine.submit(PLAN, at=SOON, idempotency_key=key)
    let_come(database, first)
    run_round(reconciler)

    assert engine.submit(PLAN, at=SOON, idempotency_key=key) == first


def test_many_begin_at_their_time(
    engine: ExecutionEngine, database: Database, reconciler: Reconciler
) -> None:
    ids = engine.submit_many(PLAN, [{}, {}], at=SOON)
    assert {stands(engine, i) for i in ids} == {("pending", "pending", True)}
    for execution_id in ids:
        let_come(database, execution_id)

    run_round(reconciler)

    assert {stands(engine, i) for i in ids} == {("pending", "ready", False)}


def test_the_deadline_counts_from_the_moment(
    engine: ExecutionEngine, liveness: LivenessRecords, database: Database
) -> None:
    plan = Plan("d", steps=[Step("a", action="test.nothing")], deadline="30m")
    execution_id = engine.submit(plan, at=SOON)

    row = database.query(
        "SELECT deadline FROM {schema}.executions WHERE id = %s", (execution_id,)
    )[0]

    assert row["deadline"] == SOON + timedelta(minutes=30)
    assert execution_id not in look(liveness).expired_executions


def test_one_that_is_cancelled_meanwhile_never_begins(
    engine: ExecutionEngine, database: Database, reconciler: Reconciler
) -> None:
    execution_id = engine.submit(PLAN, at=SOON)
    engine.cancel(execution_id)
    let_come(database, execution_id)

    run_round(reconciler)

    assert engine.get_status(execution_id).status is ExecutionStatus.CANCELLED
    check_timeline(engine, execution_id)


def test_one_that_is_paused_begins_after_it_is_resumed(
    engine: ExecutionEngine,
    database: Database,
    reconciler: Reconciler,
) -> None:
    execution_id = engine.submit(PLAN, at=SOON)
    engine.pause(execution_id)
    let_come(database, execution_id)
    run_round(reconciler)
    assert stands(engine, execution_id) == ("paused", "pending", True)

    engine.resume(execution_id)
    run_round(reconciler)

    assert stands(engine, execution_id) == ("pending", "ready", False)
    check_timeline(engine, execution_id)


def test_one_that_is_resumed_before_its_time_goes_on_waiting(
    engine: ExecutionEngine,
) -> None:
    execution_id = engine.submit(PLAN, at=SOON)
    engine.pause(execution_id)

    engine.resume(execution_id)

    assert stands(engine, execution_id) == ("pending", "pending", True)
    events = engine.list_events(execution_id)
    assert replay(events)[1] is ExecutionStatus.PENDING
    assert engine.get_status(execution_id).started_at is None


def test_what_is_delayed_says_until_when(engine: ExecutionEngine) -> None:
    execution_id = engine.submit(PLAN, at=SOON)

    (first,) = engine.why(execution_id, step="a").steps

    assert [obstacle.until for obstacle in first.obstacles] == [SOON]


# keys: it asks for its own when its time has come


@pytest.mark.parametrize("on_conflict", ["queue", "reject", "cancel_older"])
def test_it_has_no_key_before_its_time(
    engine: ExecutionEngine, on_conflict: str
) -> None:
    plan = keyed(on_conflict)
    delayed = engine.submit(plan, at=SOON)

    other = engine.submit(plan)

    assert engine.get_status(delayed).concurrency_key is None
    assert stands(engine, other) == ("pending", "ready", False)


def test_it_waits_for_its_key_from_its_time_on(
    engine: ExecutionEngine, database: Database, reconciler: Reconciler
) -> None:
    plan = keyed("queue")
    delayed = engine.submit(plan, at=SOON)
    running, later = engine.submit(plan), engine.submit(plan)
    let_come(database, delayed)

    run_round(reconciler)

    assert engine.get_status(delayed).waits_for_key
    engine.cancel(running)
    run_round(reconciler)
    # who came earlier, though submitted later, goes first
    assert not engine.get_status(later).waits_for_key
    assert engine.get_status(delayed).waits_for_key
    engine.cancel(later)
    run_round(reconciler)
    assert stands(engine, delayed) == ("pending", "ready", False)
    engine.cancel(delayed)
    check_timeline(engine, delayed)


def test_it_replaces_those_that_began_before_its_time(
    engine: ExecutionEngine, database: Database, reconciler: Reconciler
) -> None:
    plan = keyed("cancel_older")
    delayed = engine.submit(plan, at=SOON)
    older = engine.submit(plan)
    let_come(database, delayed)

    run_round(reconciler)

    assert engine.get_status(older).status is ExecutionStatus.CANCELLED
    assert stands(engine, delayed) == ("pending", "ready", False)


def test_it_ends_where_its_plan_rejects_it(
    engine: ExecutionEngine, database: Database, reconciler: Reconciler
) -> None:
    plan = keyed("reject")
    delayed = engine.submit(plan, at=SOON)
    holder = engine.submit(plan)
    let_come(database, delayed)

    run_round(reconciler)

    ended = engine.get_result(delayed)
    assert ended.status is ExecutionStatus.CANCELLED
    assert ended.error is not None
    assert holder in ended.error.message
    check_timeline(engine, delayed)


def test_it_begins_where_its_plan_rejects_and_nobody_has_the_key(
    engine: ExecutionEngine, database: Database, reconciler: Reconciler
) -> None:
    delayed = engine.submit(keyed("reject"), at=SOON)
    let_come(database, delayed)

    run_round(reconciler)

    assert stands(engine, delayed) == ("pending", "ready", False)
    assert engine.get_status(delayed).concurrency_key == "one"


# SQL


def test_sql_submits_for_a_moment(engine: ExecutionEngine, settings: Settings) -> None:
    engine.publish(PLAN)
    assert settings.database_url is not None

    with (
        closing(connect(settings.database_url, settings.schema)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT submit('delayed', at => now() + interval '2 hours')")
        execution_id = str(cursor.fetchall()[0][0])

    assert stands(engine, execution_id) == ("pending", "pending", True)


def test_sql_submits_for_no_moment_that_never_comes(
    engine: ExecutionEngine, settings: Settings
) -> None:
    engine.publish(PLAN)
    assert settings.database_url is not None
    connection: psycopg2.extensions.connection
    with (
        closing(connect(settings.database_url, settings.schema)) as connection,
        connection.cursor() as cursor,
        pytest.raises(errors.CheckViolation, match="not at infinity"),
    ):
        cursor.execute("SELECT submit('delayed', at => 'infinity')")


def test_workers_stay_awake_for_what_begins_soon(
    engine: ExecutionEngine, liveness: LivenessRecords, database: Database
) -> None:
    execution_id = engine.submit(PLAN, at=SOON)
    database.query(
        "UPDATE {schema}.executions SET starts_at = now() + interval '3 seconds'"
        " WHERE id = %s RETURNING 1",
        (execution_id,),
    )

    found = liveness.sweep(
        NOBODY, tick_seconds=1, lease_seconds=3600, beat_seconds=1, most=1
    )

    engine.cancel(execution_id)
    assert found.comes_soon
