"""One execution watched: what a look tells, and what a cursor continues after."""

import uuid
from datetime import timedelta

import pytest

from execution import ExecutionEngine, Plan, Settings, Step
from execution.errors import CursorError, ExecutionNotFoundError
from execution.liveness import LivenessRecords
from execution.records import StepRecords
from execution.states import ExecutionStatus
from execution.updates import ExecutionUpdate
from tests.backups import back_up
from tests.playing import PlayedWorker
from tests.rows import committed
from tests.timeline import read_timeline

PLAN = Plan(
    "watched", steps=[Step(name, action="test.nothing") for name in ("first", "last")]
)


@pytest.fixture(scope="module")
def worker(
    records: StepRecords, liveness: LivenessRecords, settings: Settings
) -> PlayedWorker:
    return PlayedWorker(records, liveness, settings)


@pytest.fixture
def execution_id(engine: ExecutionEngine) -> str:
    """An execution of two steps, of which none has begun."""
    return engine.submit(PLAN)


def list_numbers(*updates: ExecutionUpdate) -> list[int]:
    return [event.seq for update in updates for event in update.events]


def test_a_look_tells_where_an_execution_stands(
    engine: ExecutionEngine, worker: PlayedWorker, execution_id: str
) -> None:
    worker.complete(worker.begin(execution_id))
    worker.tell(worker.begin(execution_id, 1), 50, "halfway")

    update, execution = engine.look(execution_id)

    assert update.status is execution.status is ExecutionStatus.RUNNING
    assert update.events == read_timeline(engine, execution_id)
    assert update.last_seq == execution.last_seq == len(update.events)
    progress = update.progress
    assert (progress.percentage, progress.phase) == (75.0, "running")
    assert (progress.completed_steps, progress.total_steps) == (1, 2)
    assert progress.current_steps == ("last",)
    assert progress.eta_seconds is not None


def test_a_look_tells_what_is_new(
    engine: ExecutionEngine, worker: PlayedWorker, execution_id: str
) -> None:
    before, _ = engine.look(execution_id)
    worker.begin(execution_id)

    update, _ = engine.look(execution_id, before.cursor)
    again, _ = engine.look(execution_id, update.cursor)

    assert list_numbers(before, update) == list(range(1, update.last_seq + 1))
    assert again.events == ()
    assert again.cursor == update.cursor


def test_a_number_continues_like_a_cursor(
    engine: ExecutionEngine, execution_id: str
) -> None:
    whole, _ = engine.look(execution_id)

    rest, _ = engine.look(execution_id, 1)

    assert rest.events == whole.events[1:]
    assert rest.cursor == whole.cursor


def test_messages_are_those_of_the_new_events(
    engine: ExecutionEngine, worker: PlayedWorker, execution_id: str
) -> None:
    begun = worker.begin(execution_id)
    worker.tell(begun, 10, "one")
    before, _ = engine.look(execution_id)
    worker.tell(begun, 20)
    worker.tell(begun, 30, "two")
    worker.tell(begun, 40, "three")

    update, _ = engine.look(execution_id, before.cursor)

    assert [m.message for m in before.messages] == ["one"]
    assert [(m.step, m.message) for m in update.messages] == [
        ("first", "two"),
        ("first", "three"),
    ]
    assert update.messages[0].at == update.events[1].at


def test_metrics_are_the_latest_of_each_step_and_name(
    engine: ExecutionEngine, worker: PlayedWorker, execution_id: str
) -> None:
    first = worker.begin(execution_id)
    worker.report(first, ("rows", 1), ("quality", 0.5), ("rows", 7))
    worker.complete(first)
    worker.report(worker.begin(execution_id, 1), ("rows", 2.5))

    metrics = engine.look(execution_id)[0].metrics

    found = [(metric.step, metric.name, metric.value) for metric in metrics]
    assert found == [
        ("first", "quality", 0.5),
        ("first", "rows", 7),
        ("last", "rows", 2.5),
    ]
    assert metrics[0].at.utcoffset() == timedelta(0)


def test_metrics_are_bounded_however_many_were_reported(
    engine: ExecutionEngine, worker: PlayedWorker, execution_id: str
) -> None:
    begun = worker.begin(execution_id)
    worker.report(begun, ("long ago", 1))
    worker.report(begun, *[(f"m{n % 150:03}", n) for n in range(1_000)])

    metrics = engine.look(execution_id)[0].metrics

    assert [metric.name for metric in metrics] == [f"m{n:03}" for n in range(100)]
    assert metrics[0].value == 900


def test_more_events_than_are_told_at_once_follow(
    engine: ExecutionEngine, settings: Settings, worker: PlayedWorker, execution_id: str
) -> None:
    add_progress(settings, worker, execution_id, 2_300)
    worker.run(execution_id, steps=2, since=1)

    updates = list(engine.monitor(execution_id))

    assert [len(update.events) for update in updates[:2]] == [1_000, 1_000]
    assert list_numbers(*updates) == list(range(1, updates[-1].last_seq + 1))


def add_progress(
    settings: Settings, worker: PlayedWorker, execution_id: str, count: int
) -> None:
    """Run the first step with so many reports, which are written by one statement."""
    begun = worker.begin(execution_id)
    with committed(str(settings.database_url), settings.schema) as cursor:
        cursor.execute(
            "SELECT count(report_progress(%s, 0, %s, n / 100.0, 'on', NULL, NULL))"
            " FROM generate_series(1, %s) n",
            (execution_id, begun.held.token, count),
        )
    worker.complete(begun)


@pytest.mark.parametrize("has_cursor", [True, False], ids=["cursor", "number"])
def test_a_restored_backup_is_read_from_its_start(
    engine: ExecutionEngine,
    settings: Settings,
    worker: PlayedWorker,
    execution_id: str,
    has_cursor: bool,
) -> None:
    restore = back_up(settings)
    worker.begin(execution_id)
    seen, _ = engine.look(execution_id)
    restore()

    update, _ = engine.look(execution_id, seen.cursor if has_cursor else seen.last_seq)

    assert update.events == read_timeline(engine, execution_id)
    assert len(update.events) < len(seen.events)


def test_a_restored_backup_that_went_on_is_read_from_its_start(
    engine: ExecutionEngine, settings: Settings, worker: PlayedWorker, execution_id: str
) -> None:
    restore = back_up(settings)
    worker.begin(execution_id)
    seen, _ = engine.look(execution_id)
    restore()
    # the numbers that were seen are given to other events
    engine.pause(execution_id)
    engine.resume(execution_id)

    update, _ = engine.look(execution_id, seen.cursor)

    assert update.last_seq >= seen.last_seq
    assert update.events == read_timeline(engine, execution_id)


def test_a_restored_backup_that_lacks_nothing_is_read_on(
    engine: ExecutionEngine, settings: Settings, worker: PlayedWorker, execution_id: str
) -> None:
    worker.begin(execution_id)
    seen, _ = engine.look(execution_id)
    back_up(settings)()

    update, _ = engine.look(execution_id, seen.cursor)

    assert update.events == ()


@pytest.mark.parametrize("after", ["yesterday", -1])
def test_a_malformed_cursor_is_refused_at_once(
    engine: ExecutionEngine, execution_id: str, after: int | str
) -> None:
    with pytest.raises(CursorError, match="is no cursor"):
        engine.look(execution_id, after)
    with pytest.raises(CursorError, match="is no cursor"):
        engine.monitor(execution_id, after=after)


@pytest.mark.parametrize("unknown", ["nonsense", str(uuid.UUID(int=7))])
def test_who_is_not_there_cannot_be_watched(
    engine: ExecutionEngine, unknown: str
) -> None:
    with pytest.raises(ExecutionNotFoundError, match="there is no execution"):
        engine.look(unknown)
    with pytest.raises(ExecutionNotFoundError, match="there is no execution"):
        next(engine.monitor(unknown))


def test_who_is_deleted_while_watched_is_not_found(
    engine: ExecutionEngine, worker: PlayedWorker, execution_id: str
) -> None:
    worker.run(execution_id, steps=2)
    update, _ = engine.look(execution_id)
    engine.delete_execution(execution_id)

    with pytest.raises(ExecutionNotFoundError, match=execution_id):
        engine.look(execution_id, update.cursor)
