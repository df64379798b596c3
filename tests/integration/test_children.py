"""Executions within executions, by hand: doubtful commits, races, dead carriers."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from typing import TypeVar

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class with a small name

from execution import (
    ExecutionEngine,
    ExecutionStatus,
    Plan,
    Settings,
    Step,
    StepStatus,
)
from execution.answers import Claim
from execution.children import BeginAnswer, Begun
from execution.database import Database
from execution.dispatcher import ExecutionDispatcher, create_app
from execution.events import ExecutionEventEmitter
from execution.liveness import LivenessRecords
from execution.reconciler import Reconciler
from execution.records import StepRecords
from execution.relay import ExecutionRelay
from execution.repository import ExecutionRepository
from tests.integration.test_protocol import claim, nothing, register, try_claim
from tests.integration.test_random_plans import ERROR
from tests.polling import wait_until
from tests.racing import run_at_once
from tests.rows import connect
from tests.sweeping import look
from tests.timeline import check_timeline, heads

_T = TypeVar("_T")

QUIET = ExecutionEventEmitter(None, "")
INNER = Plan("inner", steps=[nothing("first"), nothing("second")])


@pytest.fixture(scope="module")
def worker_id(liveness: LivenessRecords, settings: Settings) -> str:
    """A worker that is only a row."""
    return register(liveness, settings)


@pytest.fixture(scope="module")
def relay(records: StepRecords, settings: Settings) -> ExecutionRelay:
    """Who carries word, as a process that has just moved or finished something."""
    return ExecutionRelay(records, ExecutionDispatcher(create_app(settings)), QUIET)


@pytest.fixture(scope="module")
def reconciler(
    records: StepRecords, liveness: LivenessRecords, settings: Settings
) -> Reconciler:
    """Who carries word that somebody has left, and died."""
    dispatcher = ExecutionDispatcher(create_app(settings))
    return Reconciler(liveness, records, dispatcher, QUIET, settings)


@pytest.fixture
def begun(engine: ExecutionEngine, records: StepRecords, worker_id: str) -> Claim:
    """The claimed step of an execution whose plan runs `inner` and one step more."""
    engine.publish(INNER)
    plan = Plan(
        "outer",
        steps=[
            Step("inside", plan="inner", needs=[]),
            nothing("after", ["inside"]),
            nothing("beside", []),
        ],
    )
    return claim(records, worker_id, engine.submit(plan), 0)


def begin(
    records: StepRecords, begun: Claim, child_id: str | None = None
) -> tuple[str, BeginAnswer]:
    subplan = records.children.find_subplan("inner")
    assert subplan is not None
    child_id = child_id or str(uuid.uuid4())
    answer = records.children.begin(
        begun.held, subplan, child_id=child_id, parameters="{}", recorded_input="{}"
    )
    return child_id, answer


def end(
    records: StepRecords, worker_id: str, child_id: str, status: StepStatus
) -> None:
    """Let both steps of a child end, and so the child; nobody tells its parent."""
    for position in (0, 1):
        held = claim(records, worker_id, child_id, position).held
        records.complete(held, status, result="7", epoch=1)


def race(*calls: Callable[[], object]) -> None:
    run_at_once(calls)


def get_step(engine: ExecutionEngine, begun: Claim, position: int = 0) -> StepStatus:
    return engine.list_steps(begun.held.execution_id)[position].status


def test_a_begin_whose_commit_was_unknown_begins_one(
    engine: ExecutionEngine, records: StepRecords, begun: Claim
) -> None:
    child_id, first = begin(records, begun)

    _, again = begin(records, begun, child_id)

    assert (first.outcome, again.outcome) == (Begun.BEGUN, Begun.REPEATED)
    # nobody knows whether it was sent
    assert heads(first.windows) == heads(again.windows) == ["first"]
    assert get_step(engine, begun) is StepStatus.WAITING
    check_timeline(engine, begun.held.execution_id)


def test_who_does_not_hold_the_step_begins_nothing(
    engine: ExecutionEngine, records: StepRecords, begun: Claim
) -> None:
    begin(records, begun)

    other_id, answer = begin(records, begun)

    assert answer.outcome is Begun.STALE
    assert engine._repository.get_by_id(other_id) is None


def test_nothing_begins_in_an_execution_that_ends(
    engine: ExecutionEngine, records: StepRecords, begun: Claim
) -> None:
    engine.cancel(begun.held.execution_id)

    child_id, answer = begin(records, begun)

    assert answer.outcome is Begun.REFUSED
    assert engine._repository.get_by_id(child_id) is None


def test_what_begins_in_a_pause_begins_paused(
    engine: ExecutionEngine, records: StepRecords, begun: Claim
) -> None:
    engine.pause(begun.held.execution_id)

    child_id, answer = begin(records, begun)

    assert (answer.outcome, answer.windows) == (Begun.BEGUN, ())
    assert engine.get_status(child_id).status is ExecutionStatus.PAUSED
    engine.resume(begun.held.execution_id)
    assert engine.get_status(child_id).status is ExecutionStatus.RUNNING
    check_timeline(engine, child_id)


def test_an_end_that_nobody_told_is_told_by_a_reconciler(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    reconciler: Reconciler,
    worker_id: str,
    begun: Claim,
) -> None:
    child_id, _ = begin(records, begun)
    end(records, worker_id, child_id, StepStatus.COMPLETED)
    assert get_step(engine, begun) is StepStatus.WAITING

    found = look(liveness)
    assert child_id in found.relaying_executions
    reconciler.mend(found)

    assert get_step(engine, begun) is StepStatus.COMPLETED
    assert get_step(engine, begun, 1) is StepStatus.READY
    assert child_id not in look(liveness).relaying_executions
    check_timeline(engine, begun.held.execution_id)


def test_of_several_that_tell_an_end_one_does(
    engine: ExecutionEngine, records: StepRecords, worker_id: str, begun: Claim
) -> None:
    child_id, _ = begin(records, begun)
    end(records, worker_id, child_id, StepStatus.COMPLETED)

    told = [records.children.end(child_id) for _ in range(3)]

    assert [one is not None for one in told] == [True, False, False]
    assert told[0] is not None
    assert heads(told[0].completion.windows) == ["after"]


def test_an_end_waits_until_the_pause_of_the_parent_is_over(
    engine: ExecutionEngine, records: StepRecords, worker_id: str, begun: Claim
) -> None:
    execution_id = begun.held.execution_id
    child_id, _ = begin(records, begun)
    end(records, worker_id, child_id, StepStatus.COMPLETED)
    engine.pause(execution_id)

    told = records.children.end(child_id)

    assert told is not None
    assert told.completion.windows == ()
    assert get_step(engine, begun, 1) is StepStatus.READY
    engine.resume(execution_id)
    check_timeline(engine, execution_id)


@pytest.mark.parametrize(
    ("target", "child_status"),
    [
        (ExecutionStatus.PAUSED, ExecutionStatus.PAUSED),
        (ExecutionStatus.ENDING, ExecutionStatus.CANCELLED),
    ],
)
def test_a_move_whose_owner_died_reaches_those_within(
    engine: ExecutionEngine,
    repository: ExecutionRepository,
    records: StepRecords,
    liveness: LivenessRecords,
    reconciler: Reconciler,
    begun: Claim,
    target: ExecutionStatus,
    child_status: ExecutionStatus,
) -> None:
    child_id, _ = begin(records, begun)

    assert repository.update_state(begun.held.execution_id, target).landed
    reconciler.mend(look(liveness))

    assert engine.get_status(child_id).status is child_status


def test_an_abort_lets_what_runs_within_end_first(
    engine: ExecutionEngine,
    records: StepRecords,
    relay: ExecutionRelay,
    worker_id: str,
    begun: Claim,
) -> None:
    execution_id = begun.held.execution_id
    child_id, _ = begin(records, begun)
    beside = claim(records, worker_id, execution_id, 2).held

    records.complete(beside, StepStatus.FAILED, error=ERROR, epoch=1)
    relay.carry(execution_id)

    # as a step that runs beside one that fails
    assert engine.get_status(child_id).status is ExecutionStatus.PENDING
    assert engine.get_status(execution_id).status is ExecutionStatus.ENDING
    end(records, worker_id, child_id, StepStatus.COMPLETED)
    relay.tell_parent(child_id)
    assert get_step(engine, begun) is StepStatus.COMPLETED
    assert engine.get_status(execution_id).status is ExecutionStatus.FAILED
    check_timeline(engine, execution_id)


def test_an_abort_in_a_pause_cancels_what_stands_still_within(
    engine: ExecutionEngine,
    records: StepRecords,
    relay: ExecutionRelay,
    worker_id: str,
    begun: Claim,
) -> None:
    execution_id = begun.held.execution_id
    child_id, _ = begin(records, begun)
    beside = claim(records, worker_id, execution_id, 2).held
    engine.pause(execution_id)

    records.complete(beside, StepStatus.FAILED, error=ERROR, epoch=1)
    relay.carry(execution_id)

    assert engine.get_status(child_id).status is ExecutionStatus.CANCELLED
    assert engine.get_status(execution_id).status is ExecutionStatus.FAILED


def test_what_runs_within_is_deleted_with_its_parent_only(
    engine: ExecutionEngine,
    repository: ExecutionRepository,
    records: StepRecords,
    relay: ExecutionRelay,
    worker_id: str,
    begun: Claim,
) -> None:
    child_id, _ = begin(records, begun)
    end(records, worker_id, child_id, StepStatus.COMPLETED)

    assert not repository.delete_execution(child_id)
    relay.tell_parent(child_id)
    assert not repository.delete_execution(child_id)


def test_pause_and_begin_never_leave_one_running(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    engine.publish(INNER)
    plan = Plan("race", steps=[Step("inside", plan="inner")])
    for _ in range(15):
        begun = claim(records, worker_id, engine.submit(plan), 0)
        pause = partial(engine.pause, begun.held.execution_id)

        child_id = str(uuid.uuid4())

        race(pause, partial(begin, records, begun, child_id))

        assert engine.get_status(child_id).status is ExecutionStatus.PAUSED


def test_pause_and_resume_leave_those_within_as_the_last_one_says(
    engine: ExecutionEngine, records: StepRecords, relay: ExecutionRelay, begun: Claim
) -> None:
    execution_id = begun.held.execution_id
    child_id, _ = begin(records, begun)
    for _ in range(15):
        engine.pause(execution_id)

        race(partial(engine.resume, execution_id), partial(relay.carry, execution_id))

        relay.carry(execution_id)
        assert engine.get_status(child_id).status is ExecutionStatus.RUNNING


def test_word_that_was_read_before_is_not_taken_for_a_later_one(
    engine: ExecutionEngine,
    repository: ExecutionRepository,
    records: StepRecords,
    relay: ExecutionRelay,
    liveness: LivenessRecords,
    reconciler: Reconciler,
    begun: Claim,
) -> None:
    execution_id = begun.held.execution_id
    child_id, _ = begin(records, begun)
    repository.update_state(execution_id, ExecutionStatus.PAUSED)
    read = records.children.read_word(execution_id).number
    assert read is not None
    relay.carry(execution_id)
    repository.update_state(execution_id, ExecutionStatus.RUNNING)

    assert not records.children.forget_word(execution_id, read)

    reconciler.mend(look(liveness))
    assert engine.get_status(child_id).status is ExecutionStatus.RUNNING


def test_an_end_stays_told_of_when_the_one_that_told_it_failed(
    engine: ExecutionEngine,
    settings: Settings,
    records: StepRecords,
    liveness: LivenessRecords,
    relay: ExecutionRelay,
    reconciler: Reconciler,
    worker_id: str,
    begun: Claim,
) -> None:
    child_id, _ = begin(records, begun)
    end(records, worker_id, child_id, StepStatus.COMPLETED)

    with undecided(settings, "SELECT end_child(%s)", child_id) as teller:
        other = until_it_waits(records, partial(relay.carry, child_id))
        teller.rollback()
        other.result()

    reconciler.mend(look(liveness))
    assert get_step(engine, begun) is StepStatus.COMPLETED


def test_a_pause_waits_for_a_child_that_is_being_resumed(
    engine: ExecutionEngine,
    settings: Settings,
    repository: ExecutionRepository,
    records: StepRecords,
    relay: ExecutionRelay,
    begun: Claim,
) -> None:
    execution_id = begun.held.execution_id
    child_id, _ = begin(records, begun)
    engine.pause(execution_id)
    repository.update_state(execution_id, ExecutionStatus.RUNNING)

    with undecided(settings, "SELECT move_child(%s)", child_id) as mover:
        repository.update_state(execution_id, ExecutionStatus.PAUSED)
        other = until_it_waits(records, partial(relay.carry, execution_id))
        mover.commit()
        other.result()

    assert engine.get_status(child_id).status is ExecutionStatus.PAUSED


def test_what_nobody_waits_for_any_more_hears_so_after_the_end_of_its_parent(
    engine: ExecutionEngine,
    repository: ExecutionRepository,
    records: StepRecords,
    liveness: LivenessRecords,
    relay: ExecutionRelay,
    reconciler: Reconciler,
    worker_id: str,
) -> None:
    engine.publish(INNER)
    plan = Plan(
        "restoring",
        steps=[
            nothing("first", []),
            Step("inside", plan="inner", needs=["first"]),
            Step(
                "last",
                action="test.nothing",
                needs=["first"],
                on_failure={"restore": "first", "times": 1},
            ),
        ],
    )
    execution_id = engine.submit(plan)
    held = claim(records, worker_id, execution_id, 0).held
    records.complete(held, StepStatus.COMPLETED, result="1", epoch=1)
    child_id, _ = begin(records, claim(records, worker_id, execution_id, 1))
    held = claim(records, worker_id, execution_id, 2).held
    records.complete(held, StepStatus.FAILED, error=ERROR, epoch=1)
    again = try_claim(records, worker_id, execution_id, 0, epoch=2).claim
    assert again is not None
    records.complete(again.held, StepStatus.FAILED, error=ERROR, epoch=2)

    assert relay.finish(execution_id)
    assert engine.get_status(execution_id).status is ExecutionStatus.FAILED
    assert not repository.delete_execution(execution_id)
    reconciler.mend(look(liveness))

    assert engine.get_status(child_id).status is ExecutionStatus.CANCELLED
    reconciler.mend(look(liveness))
    assert execution_id not in look(liveness).relaying_executions


def test_the_attempt_whose_child_failed_is_kept(
    engine: ExecutionEngine,
    database: Database,
    records: StepRecords,
    relay: ExecutionRelay,
    worker_id: str,
) -> None:
    engine.publish(INNER)
    again = {"restore": "inside", "times": 1}
    plan = Plan("again", steps=[Step("inside", plan="inner", on_failure=again)])
    begun = claim(records, worker_id, engine.submit(plan), 0)
    child_id, _ = begin(records, begun)
    held = claim(records, worker_id, child_id, 0).held
    records.complete(held, StepStatus.FAILED, error=ERROR, epoch=1)
    relay.finish(child_id)

    rows = database.query(
        "SELECT outcome, error ->> 'code' AS code FROM {schema}.step_attempts"
        " WHERE execution_id = %s",
        (begun.held.execution_id,),
    )
    assert [(row["outcome"], row["code"]) for row in rows] == [("failed", "E003")]


@pytest.mark.parametrize("on_conflict", ["queue", "cancel_older", "reject"])
def test_what_would_wait_for_the_key_of_its_own_parent_is_refused(
    engine: ExecutionEngine,
    records: StepRecords,
    worker_id: str,
    on_conflict: str,
) -> None:
    concurrency = {"key": "only", "limit": 1, "on_conflict": on_conflict}
    name = f"inner_{on_conflict}"
    plan = Plan(name, steps=[Step("inside", plan=name)], concurrency=concurrency)
    engine.publish(Plan(name, steps=[nothing("first")]))
    engine.publish(plan)
    execution_id = engine.submit(plan)
    begun = claim(records, worker_id, execution_id, 0)
    subplan = records.children.find_subplan(name)
    assert subplan is not None
    child_id = str(uuid.uuid4())

    answer = records.children.begin(
        begun.held, subplan, child_id=child_id, parameters="{}", recorded_input="{}"
    )

    assert answer.outcome is Begun.REFUSED_KEY
    assert execution_id in str(answer.detail)
    assert engine._repository.get_by_id(child_id) is None


def test_the_deadline_of_a_step_stands_still_within_whoever_paused_what(
    engine: ExecutionEngine, database: Database, records: StepRecords, worker_id: str
) -> None:
    engine.publish(INNER)
    plan = Plan("timed", steps=[Step("inside", plan="inner", deadline="1h")])
    begun = claim(records, worker_id, engine.submit(plan), 0)
    child_id, _ = begin(records, begun)

    def is_due_with_its_step() -> object:
        (row,) = database.query(
            "SELECT c.deadline = s.deadline AS is_due FROM {schema}.executions c"
            " JOIN {schema}.execution_steps s ON s.child_id = c.id WHERE c.id = %s",
            (child_id,),
        )
        return row["is_due"]

    engine.pause(child_id)
    assert is_due_with_its_step()
    engine.pause(begun.held.execution_id)
    assert is_due_with_its_step() is None
    engine.resume(begun.held.execution_id)
    assert is_due_with_its_step()
    assert engine.get_status(child_id).status is ExecutionStatus.PAUSED


def test_a_plan_that_runs_itself_has_each_tag_once(
    engine: ExecutionEngine, database: Database, records: StepRecords, worker_id: str
) -> None:
    engine.publish(Plan("inner", steps=[nothing("first")], tags=["both", "inner"]))
    plan = Plan("outer", steps=[Step("inside", plan="inner")], tags=["outer", "both"])

    child_id, _ = begin(records, claim(records, worker_id, engine.submit(plan), 0))

    (row,) = database.query(
        "SELECT tags FROM {schema}.executions WHERE id = %s", (child_id,)
    )
    assert row["tags"] == ["both", "inner", "outer"]


def test_a_key_that_a_restore_has_left_with_another_one_is_waited_for(
    engine: ExecutionEngine,
    records: StepRecords,
    relay: ExecutionRelay,
    worker_id: str,
) -> None:
    concurrency = {"key": "only", "on_conflict": "reject"}
    engine.publish(Plan("inner", steps=[nothing("first")], concurrency=concurrency))
    plan = Plan(
        "restoring_keys",
        steps=[
            nothing("first", []),
            Step("inside", plan="inner", needs=["first"]),
            Step(
                "last",
                action="test.nothing",
                needs=["first"],
                on_failure={"restore": "first", "times": 1},
            ),
        ],
    )
    execution_id = engine.submit(plan)
    held = claim(records, worker_id, execution_id, 0).held
    records.complete(held, StepStatus.COMPLETED, result="1", epoch=1)
    left_id, _ = begin(records, claim(records, worker_id, execution_id, 1))
    running = claim(records, worker_id, left_id, 0).held
    held = claim(records, worker_id, execution_id, 2).held
    records.complete(held, StepStatus.FAILED, error=ERROR, epoch=1)
    relay.carry(execution_id)
    again = try_claim(records, worker_id, execution_id, 0, epoch=2).claim
    assert again is not None
    records.complete(again.held, StepStatus.COMPLETED, result="1", epoch=2)
    inside = try_claim(records, worker_id, execution_id, 1, epoch=2).claim
    assert inside is not None

    _, answer = begin(records, inside)

    assert answer.outcome is Begun.POSTPONED
    assert get_step(engine, inside, 1) is StepStatus.WAITING
    check_timeline(engine, execution_id)
    records.complete(running, StepStatus.CANCELLED, epoch=1)
    relay.finish(left_id)
    assert engine.get_status(left_id).status is ExecutionStatus.CANCELLED


@contextmanager
def undecided(
    settings: Settings, statement: str, parameter: str
) -> Iterator[Connection]:
    """Give a connection whose transaction has done something, and not ended yet."""
    with closing(connect(str(settings.database_url), settings.schema)) as connection:
        with connection.cursor() as cursor:
            cursor.execute(statement, (parameter,))
        yield connection


def until_it_waits(records: StepRecords, call: Callable[[], _T]) -> "Future[_T]":
    """Begin a call on a thread; return when it waits for a lock, or has ended."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(call)
    pool.shutdown(wait=False)

    def has_met() -> bool:
        (row,) = records.children._database.query(
            "SELECT count(*) AS n FROM pg_locks WHERE NOT granted"
        )
        return future.done() or row["n"] > 0

    wait_until(has_met, what="the call to wait, or to end")
    return future
