"""All executions watched at once: each event once, whatever moves or goes back."""

import random
import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import pytest
import sqlalchemy as sa

from execution import ExecutionEngine, ExecutionFilter, Plan, Settings, Step
from execution.cursors import Horizon
from execution.database import name_driver
from execution.errors import CursorError
from execution.installation import Installation
from execution.liveness import LivenessRecords
from execution.records import StepRecords
from execution.states import ExecutionStatus
from execution.updates import ExecutionUpdate
from tests.backups import back_up
from tests.playing import PlayedWorker
from tests.polling import wait_until
from tests.rows import committed
from tests.timeline import read_timeline

PLAN = Plan(
    "s", steps=[Step(name, action="test.nothing") for name in ("first", "last")]
)


@pytest.fixture(scope="module")
def worker(
    records: StepRecords, liveness: LivenessRecords, settings: Settings
) -> PlayedWorker:
    return PlayedWorker(records, liveness, settings)


@pytest.fixture
def tag(request: pytest.FixtureRequest) -> str:
    """A tag for the executions of this test alone."""
    return str(request.node.name)


@pytest.fixture
def submit(engine: ExecutionEngine, tag: str) -> Any:
    """Begin an execution of this test."""
    return partial(engine.submit, PLAN, tags=[tag])


@dataclass
class Reader:
    """Someone who reads, remembers what came, and may begin anew at any time."""

    engine: ExecutionEngine
    wanted: ExecutionFilter
    cursor: str | None = None
    seen: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        """Begin to read."""
        self.restart()

    def restart(self) -> None:
        """Begin anew after the cursor, as another process would."""
        self._updates = self.engine.monitor_all(self.wanted, after=self.cursor)

    def read(self, count: int) -> list[ExecutionUpdate]:
        """Read so many updates."""
        updates = list(islice(self._updates, count))
        for update in updates:
            self.note(update)
        return updates

    def note(self, update: ExecutionUpdate) -> None:
        """Remember an update."""
        self.seen[update.execution_id] += [event.seq for event in update.events]
        self.cursor = update.cursor

    def await_all(self, *execution_ids: str) -> None:
        """Read on, until the timelines of these and nothing else have come."""
        timelines = {e: list_numbers(self.engine, e) for e in execution_ids}
        subscription = self.engine.subscribe(
            self.wanted,
            self.note,
            after=self.cursor or str(Horizon(self._installation)),
        )
        wait_until(lambda: self.seen == timelines, what="all that happened to be told")
        assert self.engine.unsubscribe(subscription)
        assert self.seen == timelines

    @property
    def _installation(self) -> str:
        return self.engine.installation_id[:8]


@pytest.fixture
def reader(engine: ExecutionEngine, tag: str) -> Reader:
    """A reader of this test's executions."""
    return Reader(engine, ExecutionFilter(tag=tag))


def list_numbers(engine: ExecutionEngine, execution_id: str) -> list[int]:
    return [event.seq for event in read_timeline(engine, execution_id)]


def test_what_is_there_is_told_and_what_comes(
    engine: ExecutionEngine, worker: PlayedWorker, submit: Any, reader: Reader
) -> None:
    done, begun = submit(), submit()
    engine.submit(PLAN, tags=["another"])
    worker.run(done, steps=2)

    first = reader.read(2)
    new = submit()
    worker.begin(begun)
    later = reader.read(2)

    assert [update.execution_id for update in first] == [done, begun]
    assert first[0].status is ExecutionStatus.COMPLETED
    assert {update.execution_id for update in later} == {begun, new}
    reader.await_all(done, begun, new)


def test_without_a_filter_all_are_told(
    engine: ExecutionEngine, worker: PlayedWorker
) -> None:
    cursor = engine.get_cursor()
    execution_id = engine.submit(PLAN)

    update = next(engine.monitor_all(after=cursor))

    assert update.execution_id == execution_id


def test_what_there_is_now_can_be_left_out(
    engine: ExecutionEngine, worker: PlayedWorker, submit: Any, reader: Reader
) -> None:
    done, begun = submit(), submit()
    worker.run(done, steps=2)
    known = len(list_numbers(engine, begun))
    reader.cursor = engine.get_cursor(reader.wanted)
    reader.restart()
    worker.begin(begun)

    (update,) = reader.read(1)

    assert update.execution_id == begun
    assert update.events == read_timeline(engine, begun)[known:]


@dataclass
class World:
    """Executions, and what of them may be run next."""

    worker: PlayedWorker
    submit: Callable[[], str]
    chance: random.Random
    execution_ids: list[str] = field(default_factory=list)
    next_steps: dict[str, int] = field(default_factory=dict)

    def begin(self) -> None:
        """Begin an execution."""
        self.execution_ids.append(self.submit())
        self.next_steps[self.execution_ids[-1]] = 0

    def run(self) -> None:
        """Run a step, most often to its end."""
        if not self.next_steps:
            return
        execution_id = self.chance.choice(list(self.next_steps))
        begun = self.worker.begin(execution_id, self.next_steps[execution_id])
        self.next_steps[execution_id] += 1
        if is_left := self.chance.random() < 0.2:
            self.worker.tell(begun, 50, "held up")
        else:
            self.worker.complete(begun)
        if is_left or self.next_steps[execution_id] == 2:
            del self.next_steps[execution_id]

    def restart(self, reader: Reader) -> None:
        """Let a reader begin anew, and read some of what is to be told."""
        unread = [
            execution_id
            for execution_id in self.execution_ids
            if reader.seen.get(execution_id, [])
            != list_numbers(reader.engine, execution_id)
        ]
        reader.restart()
        reader.read(self.chance.randint(0, len(unread)))


@pytest.mark.parametrize("seed", range(5))
def test_whoever_restarts_at_any_time_has_read_all_once(
    worker: PlayedWorker, submit: Any, reader: Reader, seed: int
) -> None:
    chance = random.Random(f"restarts {seed}")
    world = World(worker, submit, chance)
    moves: list[Callable[[], None]] = [
        world.begin,
        world.run,
        world.run,
        partial(world.restart, reader),
    ]

    for _ in range(40):
        chance.choice(moves)()

    reader.restart()
    reader.await_all(*world.execution_ids)


def test_many_ends_are_told_a_page_at_a_time(
    worker: PlayedWorker, submit: Any, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("execution.overseeing._MOST_ENDS", 3)
    execution_ids = [submit() for _ in range(10)]
    for execution_id in execution_ids[:8]:
        worker.run(execution_id, steps=2)

    updates = reader.read(5)
    reader.restart()
    updates += reader.read(5)

    ended = [e.execution_id for e in updates if e.status is ExecutionStatus.COMPLETED]
    assert ended == execution_ids[:8]
    reader.await_all(*execution_ids)


def test_an_end_that_is_seen_late_is_told(
    settings: Settings,
    engine: ExecutionEngine,
    worker: PlayedWorker,
    submit: Any,
    reader: Reader,
) -> None:
    late, soon = submit(), submit()
    begun = [worker.begin(late), worker.begin(soon)]
    worker.complete(begun[0])
    last = worker.begin(late, 1)
    reader.read(2)
    with committed(str(settings.database_url), settings.schema) as cursor:
        # it takes its time now, and commits when the block ends
        cursor.execute(
            "SELECT outcome FROM complete_step(%s, 1, %s, 'completed', NULL, '{}',"
            " NULL, '{}', NULL, 1)",
            (late, last.held.token),
        )
        worker.complete(begun[1])
        worker.run(soon, steps=2, since=1)
        while engine.get_status(soon).last_seq != (reader.seen[soon] or [0])[-1]:
            reader.read(1)

    reader.await_all(late, soon)


def test_a_submit_that_is_committed_late_is_told(
    settings: Settings,
    engine: ExecutionEngine,
    worker: PlayedWorker,
    tag: str,
    submit: Any,
    reader: Reader,
) -> None:
    others = sa.create_engine(name_driver(str(settings.database_url)))
    with others.begin() as transaction:
        late = engine.submit(PLAN, tags=[tag], transaction=transaction)
        soon = submit()
        worker.run(soon, steps=2)
        reader.read(1)
    others.dispose()
    # so that nothing but the end of it is left to be found
    worker.run(late, steps=2)

    reader.restart()
    reader.await_all(late, soon)


def test_one_that_was_taken_back_is_told_from_its_end_on(
    settings: Settings,
    engine: ExecutionEngine,
    worker: PlayedWorker,
    submit: Any,
    reader: Reader,
) -> None:
    execution_id = submit()
    worker.run(execution_id, steps=2)
    with committed(str(settings.database_url), settings.schema) as cursor:
        # it was over before a reader began
        for table, column in (("executions", "ended_at"), ("execution_states", "at")):
            cursor.execute(
                f"UPDATE {table} SET {column} = {column} - interval '1 hour'"  # noqa: S608  # our own tables
                f" WHERE {'id' if table == 'executions' else 'execution_id'} = %s",
                (execution_id,),
            )
    reader.cursor = engine.get_cursor(reader.wanted)
    reader.restart()
    last_seq = engine.get_status(execution_id).last_seq
    take_back(settings, execution_id)

    (update,) = reader.read(1)

    assert [event.seq for event in update.events] == [last_seq + 1]
    assert update.events[0].type == "checkpoint.restored"


def take_back(settings: Settings, execution_id: str) -> None:
    """Let an execution that has ended run again, as whoever may do so would."""
    with committed(str(settings.database_url), settings.schema) as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(
            "INSERT INTO execution_events (execution_id, seq, type, data, at)"
            " SELECT id, next_seq, 'checkpoint.restored', '{}', plans_now()"
            "   FROM executions WHERE id = %s",
            (execution_id,),
        )
        cursor.execute(
            "UPDATE executions SET status = 'running', reason = NULL, ended_at = NULL,"
            " next_seq = next_seq + 1 WHERE id = %s",
            (execution_id,),
        )


def test_one_that_is_deleted_holds_nobody_up(
    engine: ExecutionEngine, worker: PlayedWorker, submit: Any, reader: Reader
) -> None:
    deleted, kept = submit(), submit()
    reader.read(2)
    worker.run(deleted, steps=2)
    engine.delete_execution(deleted)
    worker.begin(kept)

    (update,) = reader.read(1)

    assert update.execution_id == kept
    assert reader.seen[kept] == list_numbers(engine, kept)


@pytest.mark.parametrize("restarts", [True, False], ids=["restarted", "reading"])
@pytest.mark.parametrize("goes_on", [True, False], ids=["went_on", "stood_still"])
def test_a_restored_backup_is_told_anew(
    engine: ExecutionEngine,
    settings: Settings,
    worker: PlayedWorker,
    submit: Any,
    reader: Reader,
    restarts: bool,
    goes_on: bool,
) -> None:
    kept, undone = submit(), submit()
    reader.read(2)
    restore = back_up(settings)
    worker.begin(undone)
    reader.read(1)
    restore()
    if goes_on:
        # as many events as were read, and others
        engine.pause(undone)
        engine.resume(undone)
    if restarts:
        reader.restart()

    (update,) = reader.read(1)

    assert update.execution_id == undone
    assert update.events == read_timeline(engine, undone)
    assert reader.seen[kept] == list_numbers(engine, kept)


def test_one_is_told_while_it_is_in_the_state_that_is_asked_for(
    engine: ExecutionEngine, worker: PlayedWorker, tag: str, submit: Any
) -> None:
    wanted = ExecutionFilter(tag=tag, status=ExecutionStatus.COMPLETED)
    reader = Reader(engine, wanted)
    done, begun = submit(), submit()
    worker.run(done, steps=2)
    worker.begin(begun)

    (update,) = reader.read(1)

    assert update.execution_id == done
    assert update.events == read_timeline(engine, done)
    reader.await_all(done)


def test_an_expression_chooses_who_is_told(
    engine: ExecutionEngine, worker: PlayedWorker, tag: str, submit: Any
) -> None:
    submit()
    urgent = submit(tags=[tag, "urgent"])
    reader = Reader(engine, ExecutionFilter(tag=tag, where='"urgent" in tags'))

    reader.read(1)
    worker.begin(urgent)

    reader.await_all(urgent)


@pytest.mark.parametrize("after", ["", "17", "nonsense"])
def test_a_malformed_cursor_is_refused_at_once(
    engine: ExecutionEngine, after: str
) -> None:
    with pytest.raises(CursorError, match="is no cursor of all executions"):
        engine.monitor_all(after=after)


def test_a_cursor_of_another_installation_begins_at_the_start(
    engine: ExecutionEngine, submit: Any, reader: Reader
) -> None:
    execution_id = submit()
    reader.cursor = "0" * 8 + engine.get_cursor()[8:]
    reader.restart()

    (update,) = reader.read(1)

    assert update.events == read_timeline(engine, execution_id)


def test_a_cursor_leads_another_engine_on(
    settings: Settings, worker: PlayedWorker, submit: Any, reader: Reader
) -> None:
    execution_id = submit()
    reader.read(1)
    with ExecutionEngine(Installation(settings, None)) as engine:
        other = Reader(engine, reader.wanted, reader.cursor, reader.seen)
        worker.begin(execution_id)

        other.await_all(execution_id)


def test_forged_hints_do_no_harm(
    engine: ExecutionEngine, worker: PlayedWorker, submit: Any, reader: Reader
) -> None:
    execution_id = submit()
    reader.read(1)
    engine._emitter.emit("nobody", 7, is_last=True)
    engine._emitter.emit(str(uuid.uuid4()), 7, is_last=True)
    engine._emitter.emit(execution_id, 999, is_last=True)
    worker.begin(execution_id)

    reader.await_all(execution_id)
