"""Keyed executions: no more run at once than the plan says, and all get their turn."""

import uuid
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import sqlalchemy as sa
from psycopg2 import errors

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step, StepStatus
from execution.answers import Claim
from execution.database import Database
from execution.dispatcher import ExecutionDispatcher, create_app
from execution.errors import (
    ConcurrencyConflictError,
    ExpressionError,
    InvalidExecutionStateError,
    SubmissionConflictError,
)
from execution.events import ExecutionEventEmitter
from execution.installation import Installation
from execution.liveness import LivenessRecords
from execution.reconciler import Reconciler
from execution.records import StepRecords
from execution.repository import ExecutionRepository
from tests.integration.test_protocol import claim, register
from tests.racing import run_at_once
from tests.rows import committed, rolled_back
from tests.sweeping import look, run_round
from tests.timeline import check_timeline, read_timeline


def keyed(
    name: str,
    on_conflict: str = "queue",
    *,
    limit: int = 1,
    key: str = "eu-${parameters.customer}",
    **more: object,
) -> Plan:
    return Plan(
        name,
        parameters={
            "customer": {"type": "string", "default": "acme"},
            "more": {"type": "object"},
        },
        concurrency={"key": key, "limit": limit, "on_conflict": on_conflict},
        steps=[
            Step("a", action="test.nothing", needs=[]),
            Step("b", action="test.nothing", needs=["a"]),
        ],
        **more,  # type: ignore[arg-type]  # fields of a plan
    )


@pytest.fixture
def plan_name() -> str:
    """A name of its own, and so keys of its own."""
    return f"keyed-{uuid.uuid4()}"


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


@pytest.fixture
def run(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> Callable[[str], None]:
    """Run an execution to its end, as a worker does."""

    def run_all(execution_id: str) -> None:
        for position in (0, 1):
            finish(records, claim(records, worker_id, execution_id, position))
        assert engine.get_status(execution_id).status is ExecutionStatus.COMPLETED
        check_timeline(engine, execution_id)

    return run_all


def finish(records: StepRecords, begun: Claim) -> None:
    records.complete(
        begun.held, StepStatus.COMPLETED, result="null", covered=None, epoch=1
    )


def types_of(engine: ExecutionEngine, execution_id: str) -> list[str]:
    return [event.type for event in read_timeline(engine, execution_id)]


def waits(engine: ExecutionEngine, execution_id: str) -> bool:
    return engine.get_status(execution_id).waits_for_key


# queue


def test_the_first_begins_at_once(engine: ExecutionEngine, plan_name: str) -> None:
    execution_id = engine.submit(keyed(plan_name))

    execution = engine.get_status(execution_id)
    assert not execution.waits_for_key
    assert execution.concurrency_key == "eu-acme"
    assert [s.status for s in engine.list_steps(execution_id)] == ["ready", "pending"]
    assert types_of(engine, execution_id) == [
        "execution.state_changed",
        "execution.held",
        "execution.admitted",
        "step.ready",
    ]


def test_a_second_waits_until_the_first_has_ended(
    engine: ExecutionEngine,
    reconciler: Reconciler,
    run: Callable[[str], None],
    plan_name: str,
) -> None:
    first, second = (engine.submit(keyed(plan_name)) for _ in range(2))
    assert waits(engine, second)
    assert [s.status for s in engine.list_steps(second)] == ["pending", "pending"]

    run(first)
    reconciler.answer_notice()

    assert not waits(engine, second)
    run(second)


def test_another_key_does_not_wait(engine: ExecutionEngine, plan_name: str) -> None:
    plan = keyed(plan_name)
    engine.submit(plan)

    assert not waits(engine, engine.submit(plan, {"customer": "other"}))


def test_another_plan_does_not_wait(engine: ExecutionEngine, plan_name: str) -> None:
    engine.submit(keyed(plan_name))

    assert not waits(engine, engine.submit(keyed(f"{plan_name}-2")))


def test_versions_of_a_plan_share_its_keys(
    engine: ExecutionEngine, plan_name: str
) -> None:
    engine.submit(keyed(plan_name, version="1"))

    assert waits(engine, engine.submit(keyed(plan_name, version="2")))


def test_as_many_begin_as_the_limit_says(
    engine: ExecutionEngine, plan_name: str
) -> None:
    ids = [engine.submit(keyed(plan_name, limit=2)) for _ in range(3)]

    assert [waits(engine, i) for i in ids] == [False, False, True]


def test_who_waits_goes_by_priority_then_by_submit(
    engine: ExecutionEngine,
    reconciler: Reconciler,
    run: Callable[[str], None],
    plan_name: str,
) -> None:
    plan = keyed(plan_name)
    first = engine.submit(plan)
    low, high, high_later = (engine.submit(plan, priority=p) for p in (0, 5, 5))

    for ended, expected in ((first, high), (high, high_later), (high_later, low)):
        run(ended)
        reconciler.answer_notice()
        assert not waits(engine, expected)


def test_who_runs_never_exceeds_the_limit(
    settings: Settings, engine: ExecutionEngine, plan_name: str
) -> None:
    plan = keyed(plan_name, limit=2)
    opened = [ExecutionEngine(Installation(settings, None)) for _ in range(6)]
    try:
        ids = [
            execution_id
            for _ in range(3)
            for execution_id in run_at_once([partial(e.submit, plan) for e in opened])
        ]
    finally:
        for one in opened:
            one.close()

    assert [waits(engine, i) for i in ids].count(False) == 2


def test_two_ends_at_once_let_two_begin(
    settings: Settings,
    engine: ExecutionEngine,
    run: Callable[[str], None],
    plan_name: str,
) -> None:
    plan = keyed(plan_name, limit=2)
    ids = [engine.submit(plan) for _ in range(5)]
    run(ids[0])
    run(ids[1])

    # two reconcilers hear of it
    admit = partial(settle_alone, settings, f"{plan_name}:eu-acme")
    run_at_once([admit, admit])

    assert [waits(engine, i) for i in ids[2:]] == [False, False, True]


def settle_alone(settings: Settings, key: str) -> None:
    with ExecutionEngine(Installation(settings, None)) as engine:
        engine._keyed.settle(key)


def test_what_nobody_admitted_is_found_by_a_sweep(
    repository: ExecutionRepository,
    engine: ExecutionEngine,
    liveness: LivenessRecords,
    reconciler: Reconciler,
    settings: Settings,
    plan_name: str,
) -> None:
    # the submitter died after its commit
    stored = repository.submit(
        keyed(plan_name), {"customer": "acme"}, queue=settings.queue
    )
    assert stored.windows == ()
    assert look(liveness).due_keys == (stored.held_key,)

    done = run_round(reconciler)

    assert done.settled_keys == 1
    assert not waits(engine, stored.execution_id)
    assert look(liveness).due_keys == ()


def test_an_admission_that_is_made_again_admits_nobody_else(
    repository: ExecutionRepository,
    liveness: LivenessRecords,
    settings: Settings,
    plan_name: str,
) -> None:
    for _ in range(2):
        stored = repository.submit(
            keyed(plan_name), {"customer": "acme"}, queue=settings.queue
        )
    assert stored.held_key is not None
    assert liveness.admit_next(stored.held_key).execution_id is not None

    assert liveness.admit_next(stored.held_key).execution_id is None


def test_a_submit_that_is_made_again_changes_nothing(
    engine: ExecutionEngine, plan_name: str
) -> None:
    plan, execution_id = keyed(plan_name), str(uuid.uuid4())
    engine.submit(plan, execution_id=execution_id)

    assert engine.submit(plan, execution_id=execution_id) == execution_id
    assert not waits(engine, execution_id)
    with pytest.raises(SubmissionConflictError):
        engine.submit(plan, {"customer": "other"}, execution_id=execution_id)


# what owners do to those that wait


def test_the_cancel_of_one_that_waits_lets_the_next_in(
    engine: ExecutionEngine,
    reconciler: Reconciler,
    run: Callable[[str], None],
    plan_name: str,
) -> None:
    first, second, third = (engine.submit(keyed(plan_name)) for _ in range(3))

    engine.cancel(second)
    assert engine.get_status(second).status is ExecutionStatus.CANCELLED
    assert waits(engine, third)
    run(first)
    reconciler.answer_notice()

    assert not waits(engine, third)
    check_timeline(engine, second)


def test_the_cancel_of_the_one_that_runs_lets_the_next_in(
    engine: ExecutionEngine, reconciler: Reconciler, plan_name: str
) -> None:
    first, second = (engine.submit(keyed(plan_name)) for _ in range(2))

    engine.cancel(first)
    reconciler.answer_notice()

    assert not waits(engine, second)


def test_who_is_cancelled_while_it_waits_runs_nothing_of_its_end(
    engine: ExecutionEngine, plan_name: str
) -> None:
    plan = Plan(
        plan_name,
        concurrency={"key": "all"},
        steps=[
            Step("a", action="test.nothing"),
            Step("tidy", action="test.nothing", run_on="always", deadline="1m"),
        ],
    )
    engine.submit(plan)
    held = engine.submit(plan)

    engine.cancel(held)

    assert engine.get_status(held).status is ExecutionStatus.CANCELLED
    assert [s.name for s in engine.list_steps(held)] == ["a"]


def test_who_is_paused_while_it_waits_goes_on_waiting(
    engine: ExecutionEngine,
    reconciler: Reconciler,
    run: Callable[[str], None],
    plan_name: str,
) -> None:
    first, second, third = (engine.submit(keyed(plan_name)) for _ in range(3))
    engine.pause(second)
    run(first)
    reconciler.answer_notice()
    assert waits(engine, second)
    assert not waits(engine, third)

    assert engine.resume(second) is ExecutionStatus.PENDING
    reconciler.answer_notice()

    assert waits(engine, second)
    assert engine.get_status(second).started_at is None
    assert "execution.started" not in types_of(engine, second)
    check_timeline(engine, second)
    run(third)
    reconciler.answer_notice()
    assert not waits(engine, second)


def test_a_pause_of_one_that_has_its_key_keeps_it(
    engine: ExecutionEngine, reconciler: Reconciler, plan_name: str
) -> None:
    first, second = (engine.submit(keyed(plan_name)) for _ in range(2))

    engine.pause(first)
    reconciler.answer_notice()

    assert waits(engine, second)
    with pytest.raises(InvalidExecutionStateError):
        engine.resume(second)


def test_who_waits_beyond_the_deadline_times_out(
    engine: ExecutionEngine,
    database: Database,
    reconciler: Reconciler,
    plan_name: str,
) -> None:
    plan = keyed(plan_name, deadline="1h")
    engine.submit(plan)
    held = engine.submit(plan)
    database.query(
        "UPDATE {schema}.executions SET deadline = clock_timestamp()"
        " WHERE id = %s RETURNING 1",
        (held,),
    )

    run_round(reconciler)

    assert engine.get_status(held).status is ExecutionStatus.TIMED_OUT
    check_timeline(engine, held)


# reject


def test_a_plan_that_rejects_names_who_has_the_key(
    engine: ExecutionEngine, run: Callable[[str], None], plan_name: str
) -> None:
    plan = keyed(plan_name, "reject")
    first = engine.submit(plan)
    assert types_of(engine, first) == ["execution.state_changed", "step.ready"]

    with pytest.raises(ConcurrencyConflictError, match=first) as refusal:
        engine.submit(plan, idempotency_key=plan_name)

    assert refusal.value.holders == (first,)
    assert engine.list_executions().items[0].id == first
    run(first)
    # nothing is left of the refused one, its idempotency key included
    assert engine.submit(plan, {"more": {}}, idempotency_key=plan_name)


def test_of_many_at_once_a_plan_that_rejects_begins_as_many_as_it_may(
    settings: Settings, plan_name: str
) -> None:
    plan = keyed(plan_name, "reject", limit=2)
    opened = [ExecutionEngine(Installation(settings, None)) for _ in range(6)]

    def try_submit(engine: ExecutionEngine) -> bool:
        try:
            engine.submit(plan)
        except ConcurrencyConflictError:
            return False
        return True

    try:
        begun = run_at_once([partial(try_submit, e) for e in opened])
    finally:
        for one in opened:
            one.close()

    assert begun.count(True) == 2


def test_a_repeat_of_what_was_begun_is_not_rejected(
    engine: ExecutionEngine, run: Callable[[str], None], plan_name: str
) -> None:
    plan, execution_id = keyed(plan_name, "reject"), str(uuid.uuid4())
    engine.submit(plan, execution_id=execution_id)
    assert engine.submit(plan, execution_id=execution_id) == execution_id
    run(execution_id)
    engine.submit(plan)

    assert engine.submit(plan, execution_id=execution_id) == execution_id


def test_many_at_once_are_not_submitted_of_a_plan_that_rejects(
    engine: ExecutionEngine, plan_name: str
) -> None:
    with pytest.raises(ConcurrencyConflictError, match="one by one"):
        engine.submit_many(keyed(plan_name, "reject"), [{}, {}])


# cancel_older


def test_a_newer_one_ends_the_older(
    engine: ExecutionEngine,
    records: StepRecords,
    worker_id: str,
    reconciler: Reconciler,
    plan_name: str,
) -> None:
    plan = keyed(plan_name, "cancel_older")
    first = engine.submit(plan)
    begun = claim(records, worker_id, first, 0)
    second = engine.submit(plan)
    assert engine.get_status(first).status is ExecutionStatus.ENDING
    assert waits(engine, second)
    third = engine.submit(plan)
    assert engine.get_status(second).status is ExecutionStatus.CANCELLED
    assert waits(engine, third)

    # it has to end before another one begins
    finish(records, begun)
    run_round(reconciler)
    reconciler.answer_notice()

    assert engine.get_status(first).status is ExecutionStatus.CANCELLED
    assert not waits(engine, third)
    change = engine.get_state_history(first)[-2]
    assert change.by == "concurrency"
    assert change.reason == "a newer execution has the key eu-acme"


def test_as_many_of_the_newest_stay_as_the_limit_says(
    engine: ExecutionEngine, reconciler: Reconciler, plan_name: str
) -> None:
    plan = keyed(plan_name, "cancel_older", limit=2)

    ids = [engine.submit(plan) for _ in range(4)]
    reconciler.answer_notice()

    assert [engine.get_status(i).status for i in ids] == [
        *[ExecutionStatus.CANCELLED] * 2,
        *[ExecutionStatus.PENDING] * 2,
    ]
    assert not any(waits(engine, i) for i in ids[2:])


def test_of_newer_ones_at_once_the_newest_stays(
    settings: Settings,
    engine: ExecutionEngine,
    reconciler: Reconciler,
    plan_name: str,
) -> None:
    plan = keyed(plan_name, "cancel_older")
    opened = [ExecutionEngine(Installation(settings, None)) for _ in range(4)]
    try:
        ids = run_at_once([partial(e.submit, plan) for e in opened])
    finally:
        for one in opened:
            one.close()
    reconciler.answer_notice()

    executions = sorted(map(engine.get_status, ids), key=lambda e: e.created_at)
    assert [e.status for e in executions] == [
        *[ExecutionStatus.CANCELLED] * 3,
        ExecutionStatus.PENDING,
    ]
    assert not executions[-1].waits_for_key


# other ways in


def test_a_key_that_cannot_be_made_is_refused(
    engine: ExecutionEngine, settings: Settings, plan_name: str
) -> None:
    plan = keyed(plan_name, key="${parameters.more.region}")

    with pytest.raises(ExpressionError, match=r"parameters\.more\.region is not there"):
        engine.submit(plan, idempotency_key=plan_name)
    with pytest.raises(ExpressionError, match="is a list"):
        engine.submit(plan, {"more": {"region": []}})
    with pytest.raises(ExpressionError, match=r"parameters\[1\].*is null"):
        engine.submit_many(plan, [{"more": {"region": 1}}, {"more": {"region": None}}])
    with pytest.raises(ExpressionError, match="257 characters"):
        engine.submit(plan, {"more": {"region": "x" * 257}})
    # nothing is left of what was refused
    assert engine.submit(plan, {"more": {"region": True}}, idempotency_key=plan_name)


@pytest.mark.parametrize(
    ("region", "key"), [("é:x", "é:x"), (12, "12"), (1.5, "1.5"), (True, "true")]
)
def test_values_of_parameters_stand_in_the_key(
    engine: ExecutionEngine, plan_name: str, region: object, key: str
) -> None:
    plan = keyed(plan_name, key="${parameters.more.region}")

    execution_id = engine.submit(plan, {"more": {"region": region}})

    assert engine.get_status(execution_id).concurrency_key == key


@pytest.fixture
def alchemy(settings: Settings) -> Iterator[sa.Engine]:
    """A caller's own engine on the same database."""
    opened = sa.create_engine(str(settings.database_url))
    yield opened
    opened.dispose()


def test_a_transaction_of_the_caller_keeps_nobody_waiting(
    engine: ExecutionEngine,
    reconciler: Reconciler,
    alchemy: sa.Engine,
    plan_name: str,
) -> None:
    plan = keyed(plan_name)
    with alchemy.connect() as connection:
        within = engine.submit(plan, transaction=connection)
        other = engine.submit(plan)
        assert not waits(engine, other)
        connection.commit()

    reconciler.answer_notice()

    assert waits(engine, within)


def test_sql_submits_with_a_key(
    engine: ExecutionEngine,
    settings: Settings,
    reconciler: Reconciler,
    plan_name: str,
) -> None:
    engine.publish(keyed(plan_name))
    with committed(str(settings.database_url), settings.schema) as cursor:
        ids = []
        for _ in range(2):
            cursor.execute("SELECT submit(%s)::text", (plan_name,))
            ids.append(cursor.fetchall()[0][0])

    reconciler.answer_notice()

    assert [waits(engine, i) for i in ids] == [False, True]


def test_sql_is_told_of_a_rejection(
    engine: ExecutionEngine, settings: Settings, plan_name: str
) -> None:
    plan = keyed(plan_name, "reject")
    engine.publish(plan)
    holder = engine.submit(plan)

    with (
        rolled_back(str(settings.database_url), settings.schema) as cursor,
        pytest.raises(errors.ObjectInUse, match=holder),
    ):
        cursor.execute("SELECT submit(%s)", (plan_name,))


def test_sql_is_told_of_a_key_that_cannot_be_made(
    engine: ExecutionEngine, settings: Settings, plan_name: str
) -> None:
    engine.publish(keyed(plan_name, key="${parameters.more.region}"))

    with (
        rolled_back(str(settings.database_url), settings.schema) as cursor,
        pytest.raises(errors.InvalidParameterValue, match="region is not there"),
    ):
        cursor.execute("SELECT submit(%s)", (plan_name,))


def test_many_at_once_are_admitted_by_who_submits_them(
    engine: ExecutionEngine, plan_name: str
) -> None:
    plan = keyed(plan_name)

    ids = engine.submit_many(plan, [{"customer": c} for c in ("a", "b", "a", "c")])

    assert [waits(engine, i) for i in ids] == [False, False, True, False]


def test_a_plan_without_a_key_has_none(engine: ExecutionEngine) -> None:
    plan = Plan("free", steps=[Step("a", action="test.nothing")])

    execution = engine.get_status(engine.submit(plan))

    assert execution.concurrency_key is None
    assert not execution.waits_for_key
