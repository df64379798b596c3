"""How often a worker looks that has nothing to do, and who counts as one that looks."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from execution import ExecutionEngine, Plan, Settings, Step
from execution.celery.board import WorkerBoard
from execution.celery.facts import WorkerFacts
from execution.celery.watch import Watch
from execution.database import Database
from execution.dispatcher import ExecutionDispatcher, create_app
from execution.events import ExecutionEventEmitter
from execution.liveness import LivenessRecords
from execution.reconciler import Reconciler
from execution.records import StepRecords
from tests.integration.test_liveness import pulse_value
from tests.integration.test_protocol import claim, register
from tests.integration.test_timers import park
from tests.rows import connect
from tests.sweeping import look

FACTS = WorkerFacts("h", "prefork", lambda: 1, set, set)
SOON = 60.0


@pytest.fixture
def watch(
    liveness: LivenessRecords, records: StepRecords, settings: Settings
) -> Iterator[Watch]:
    """The watch of a worker that is only a row; its chance is always the same."""
    board = WorkerBoard.create()
    board.worker_id = register(liveness, settings)
    reconciler = Reconciler(
        liveness,
        records,
        ExecutionDispatcher(create_app(settings)),
        ExecutionEventEmitter(None, ""),
        settings,
    )
    yield Watch(liveness, reconciler, board, FACTS, settings, lambda least, _: least)
    liveness.end_worker(board.worker_id)
    board.remove()


@pytest.fixture
def enter(
    liveness: LivenessRecords, settings: Settings, database: Database
) -> Iterator[Callable[..., None]]:
    """Let workers enter that have just beaten and say how long ago they looked."""
    entered = []

    def enter_some(number: int, *, looked_ago: float | None = 0.1) -> None:
        for _ in range(number):
            worker_id = register(liveness, settings)
            entered.append(worker_id)
            told = {} if looked_ago is None else {"age": looked_ago}
            database.query(
                "UPDATE {schema}.workers SET rounds = %s, beat_at = clock_timestamp()"
                " WHERE id = %s RETURNING 1",
                (json.dumps(told), worker_id),
            )

    yield enter_some
    for worker_id in entered:
        liveness.end_worker(worker_id)


def count_rest_ticks(watch: Watch, settings: Settings) -> float:
    """Return for how many ticks the watch rests after the look that it just made."""
    assert watch._looked_at is not None
    return (watch._rests_until - watch._looked_at) / settings.tick_seconds


@pytest.mark.parametrize(
    ("others", "ticks"), [(0, 1.0), (4, 1.0), (8, 1.8), (16, 3.6), (60, 3.6)]
)
def test_the_more_look_the_less_often_each_of_them_does(
    watch: Watch,
    settings: Settings,
    enter: Callable[..., None],
    others: int,
    ticks: float,
) -> None:
    enter(others)

    watch.look()

    assert count_rest_ticks(watch, settings) == pytest.approx(ticks)


def test_a_worker_that_rests_comes_again_each_tick_and_does_not_ask(
    watch: Watch, settings: Settings, enter: Callable[..., None]
) -> None:
    enter(16)
    watch.look()
    looked_at = watch._looked_at

    seconds = watch.look()

    assert watch._looked_at == looked_at
    assert seconds == settings.tick_seconds


def test_a_worker_that_shows_a_token_does_not_rest(
    watch: Watch, settings: Settings, enter: Callable[..., None]
) -> None:
    enter(16)
    watch.look()
    looked_at = watch._looked_at

    watch.heed(["token"])
    watch.look()

    assert watch._looked_at != looked_at
    assert count_rest_ticks(watch, settings) == pytest.approx(1.0)


def test_who_found_something_looks_again_a_tick_later(
    watch: Watch,
    engine: ExecutionEngine,
    settings: Settings,
    records: StepRecords,
    liveness: LivenessRecords,
    enter: Callable[..., None],
) -> None:
    enter(16)
    gone = register(liveness, settings)
    execution_id = engine.submit(Plan("one", steps=[Step("a", action="test.nothing")]))
    claim(records, gone, execution_id, 0)
    liveness.end_worker(gone)

    watch.look()

    assert engine.list_steps(execution_id)[0].losses == 1
    assert count_rest_ticks(watch, settings) == pytest.approx(1.0)
    engine.cancel(execution_id)


@pytest.mark.parametrize(
    "change",
    [
        "deadline = clock_timestamp() + interval '0.5 s'",
        "published_at = clock_timestamp() - interval '0.3 s'",
    ],
    ids=["a deadline", "a late message"],
)
def test_who_hears_that_something_comes_does_not_rest(
    watch: Watch,
    engine: ExecutionEngine,
    settings: Settings,
    database: Database,
    enter: Callable[..., None],
    change: str,
) -> None:
    enter(16)
    execution_id = engine.submit(Plan("one", steps=[Step("a", action="test.nothing")]))
    database.query(
        f"UPDATE {{schema}}.execution_steps SET {change}"  # noqa: S608  # of our own
        " WHERE execution_id = %s RETURNING 1",
        (execution_id,),
    )

    watch.look()

    assert count_rest_ticks(watch, settings) == pytest.approx(1.0)
    engine.cancel(execution_id)


def test_who_hears_that_a_time_comes_does_not_rest(
    watch: Watch,
    engine: ExecutionEngine,
    settings: Settings,
    records: StepRecords,
    database: Database,
    enter: Callable[..., None],
) -> None:
    enter(16)
    execution_id, _ = park(engine, records, watch._board.worker_id)
    watch.look()
    rested_ticks = count_rest_ticks(watch, settings)
    database.query(
        "UPDATE {schema}.execution_steps"
        " SET wake_at = clock_timestamp() + interval '0.5 s'"
        " WHERE execution_id = %s AND status = 'waiting' RETURNING 1",
        (execution_id,),
    )
    watch._rests_until = 0.0

    watch.look()

    assert rested_ticks == pytest.approx(3.6)
    assert count_rest_ticks(watch, settings) == pytest.approx(1.0)
    engine.cancel(execution_id)


def test_who_does_not_look_does_not_count(
    liveness: LivenessRecords,
    settings: Settings,
    database: Database,
    enter: Callable[..., None],
) -> None:
    beat_seconds = settings.beat_seconds
    before = look(liveness, beat_seconds=beat_seconds).looking_workers
    enter(3)
    enter(5, looked_ago=None)
    enter(7, looked_ago=4 * beat_seconds)

    assert look(liveness, beat_seconds=beat_seconds).looking_workers == before + 3


@pytest.mark.parametrize("beats_ago", [2, -2])
def test_who_does_not_beat_does_not_count_whatever_the_clock_says(
    liveness: LivenessRecords,
    settings: Settings,
    database: Database,
    enter: Callable[..., None],
    beats_ago: float,
) -> None:
    enter(3)
    database.query(
        "UPDATE {schema}.workers SET beat_at = clock_timestamp()"
        " - make_interval(secs => %s) WHERE ended_at IS NULL RETURNING 1",
        (beats_ago * settings.beat_seconds,),
    )

    assert look(liveness, beat_seconds=settings.beat_seconds).looking_workers == 0


@pytest.mark.parametrize(
    "held",
    [
        "SELECT FROM pulse FOR UPDATE",
        "SELECT FROM workers WHERE ended_at IS NULL FOR UPDATE",
    ],
)
def test_a_look_waits_for_nobody(
    liveness: LivenessRecords,
    settings: Settings,
    database: Database,
    held: str,
) -> None:
    worker_id = register(liveness, settings)
    before = pulse_value(database)
    with closing(connect(str(settings.database_url), settings.schema)) as stranger:
        stranger.cursor().execute(held)
        database.query("SET lock_timeout = '200ms'; SELECT 1")

        found = look(liveness, grace_seconds=-1e6)

        stranger.rollback()
    database.query("SET lock_timeout = '10s'; SELECT 1")
    assert pulse_value(database) == before
    if "workers" in held:
        assert found.dead_workers == 0
    liveness.end_worker(worker_id)


def test_who_listens_is_stirred(liveness: LivenessRecords) -> None:
    reader, writer = os.pipe()
    answers: list[bool] = []
    thread = threading.Thread(
        target=lambda: answers.append(liveness.wait_for_unsent(60, reader))
    )
    thread.start()

    os.write(writer, b"!")
    thread.join(SOON)

    assert answers == [False]
    for file in (reader, writer):
        os.close(file)
