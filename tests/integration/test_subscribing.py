"""Callbacks that are told of executions: what they cost others, and how they end."""

import logging
import threading
from collections.abc import Iterator
from queue import SimpleQueue

import pytest

from execution import ExecutionEngine, ExecutionFilter, Plan, Settings, Step
from execution.errors import CursorError, ExecutionNotFoundError
from execution.installation import Installation
from execution.liveness import LivenessRecords
from execution.records import StepRecords
from execution.states import ExecutionStatus
from execution.updates import ExecutionUpdate
from tests.playing import PlayedWorker
from tests.polling import wait_until
from tests.timeline import read_timeline

PLAN = Plan(
    "t", steps=[Step(name, action="test.nothing") for name in ("first", "last")]
)
SOON = 60.0


@pytest.fixture(scope="module")
def worker(
    records: StepRecords, liveness: LivenessRecords, settings: Settings
) -> PlayedWorker:
    return PlayedWorker(records, liveness, settings)


@pytest.fixture
def execution_id(engine: ExecutionEngine) -> str:
    """An execution of two steps, of which none has begun."""
    return engine.submit(PLAN)


@pytest.fixture
def told() -> SimpleQueue[ExecutionUpdate]:
    """What a callback was told."""
    return SimpleQueue()


@pytest.fixture(autouse=True)
def _no_thread_is_left(engine: ExecutionEngine) -> Iterator[None]:
    yield
    for subscription_id in list(engine._subscriptions._running):
        engine.unsubscribe(subscription_id)
    assert count_threads() == 0


def count_threads() -> int:
    return sum(t.name == "plans-subscription" for t in threading.enumerate())


def test_a_callback_is_told_all_of_an_execution_until_its_end(
    engine: ExecutionEngine,
    worker: PlayedWorker,
    execution_id: str,
    told: SimpleQueue[ExecutionUpdate],
) -> None:
    subscription_id = engine.subscribe(execution_id, told.put)
    updates = [told.get(timeout=SOON)]
    worker.run(execution_id, steps=2)
    while updates[-1].status is not ExecutionStatus.COMPLETED:
        updates.append(told.get(timeout=SOON))

    events = [event for update in updates for event in update.events]
    assert tuple(events) == read_timeline(engine, execution_id)
    wait_until(lambda: count_threads() == 0, what="the subscription to end by itself")
    assert not engine.unsubscribe(subscription_id)


def test_a_callback_continues_after_a_cursor(
    engine: ExecutionEngine, execution_id: str, told: SimpleQueue[ExecutionUpdate]
) -> None:
    whole = read_timeline(engine, execution_id)

    engine.subscribe(execution_id, told.put, after=1)

    assert told.get(timeout=SOON).events == whole[1:]


@pytest.mark.parametrize("has_filter", [True, False], ids=["some", "all"])
def test_a_callback_of_many_is_told_what_comes(
    engine: ExecutionEngine,
    execution_id: str,
    told: SimpleQueue[ExecutionUpdate],
    has_filter: bool,
) -> None:
    engine.subscribe(ExecutionFilter(plan="t") if has_filter else None, told.put)

    new = engine.submit(PLAN)

    update = told.get(timeout=SOON)
    assert update.execution_id == new
    assert update.events == read_timeline(engine, new)


def test_a_callback_that_raises_is_told_more(
    engine: ExecutionEngine,
    worker: PlayedWorker,
    execution_id: str,
    told: SimpleQueue[ExecutionUpdate],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(update: ExecutionUpdate) -> None:
        told.put(update)
        raise LookupError("not today")

    engine.subscribe(execution_id, refuse)
    first = told.get(timeout=SOON)
    worker.begin(execution_id)
    second = told.get(timeout=SOON)

    assert second.events[0].seq == first.last_seq + 1
    (record,) = caplog.records[:1]
    assert (record.levelno, record.message) == (logging.ERROR, "a callback has failed")
    assert record.__dict__["execution_id"] == execution_id
    assert record.exc_info is not None


def test_a_slow_callback_holds_no_other_up(
    engine: ExecutionEngine,
    worker: PlayedWorker,
    execution_id: str,
    told: SimpleQueue[ExecutionUpdate],
) -> None:
    gate = threading.Event()
    slow: list[ExecutionUpdate] = []

    def wait_at_gate(update: ExecutionUpdate) -> None:
        slow.append(update)
        assert gate.wait(60)

    engine.subscribe(execution_id, wait_at_gate)
    engine.subscribe(execution_id, told.put)
    wait_until(lambda: slow, what="the slow one to be called")
    worker.run(execution_id, steps=2)
    while told.get(timeout=SOON).status is not ExecutionStatus.COMPLETED:
        pass
    assert len(slow) == 1
    gate.set()

    # what it has missed comes in one piece
    wait_until(lambda: count_threads() == 0, what="the slow one to be told the rest")
    events = [event for update in slow for event in update.events]
    assert tuple(events) == read_timeline(engine, execution_id)
    assert len(slow) == 2


def test_nobody_is_called_after_the_end_of_a_subscription(
    engine: ExecutionEngine,
    worker: PlayedWorker,
    execution_id: str,
    told: SimpleQueue[ExecutionUpdate],
) -> None:
    subscription_id = engine.subscribe(execution_id, told.put)
    told.get(timeout=SOON)

    assert engine.unsubscribe(subscription_id)

    worker.begin(execution_id)
    assert count_threads() == 0
    assert told.empty()
    assert not engine.unsubscribe(subscription_id)


def test_a_callback_can_end_its_own_subscription(
    engine: ExecutionEngine, execution_id: str, told: SimpleQueue[ExecutionUpdate]
) -> None:
    ids: SimpleQueue[str] = SimpleQueue()

    def leave(update: ExecutionUpdate) -> None:
        assert engine.unsubscribe(ids.get(timeout=SOON))
        told.put(update)

    ids.put(engine.subscribe(execution_id, leave))

    told.get(timeout=SOON)
    wait_until(lambda: count_threads() == 0, what="the thread to end")


def test_no_thread_outlives_its_engine(
    settings: Settings, execution_id: str, told: SimpleQueue[ExecutionUpdate]
) -> None:
    with ExecutionEngine(Installation(settings, None)) as engine:
        for watched in (execution_id, None, ExecutionFilter()):
            engine.subscribe(watched, told.put)
        told.get(timeout=SOON)

    assert count_threads() == 0


def test_a_callback_that_does_not_return_is_left_behind(
    settings: Settings,
    execution_id: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("execution.subscribing._MOST_CLOSING_SECONDS", 0.1)
    gate, called = threading.Event(), threading.Event()

    def hang(update: ExecutionUpdate) -> None:
        called.set()
        gate.wait(60)

    with ExecutionEngine(Installation(settings, None)) as engine:
        engine.subscribe(execution_id, hang)
        assert called.wait(SOON)
    gate.set()

    messages = [record.message for record in caplog.records]
    assert messages == ["a callback does not return; its thread is left behind"]
    wait_until(lambda: count_threads() == 0, what="the thread to end at last")


def test_an_execution_that_is_deleted_ends_its_subscription(
    engine: ExecutionEngine,
    worker: PlayedWorker,
    execution_id: str,
    told: SimpleQueue[ExecutionUpdate],
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = threading.Event()

    def wait_at_gate(update: ExecutionUpdate) -> None:
        told.put(update)
        gate.wait(60)

    engine.subscribe(execution_id, wait_at_gate)
    told.get(timeout=SOON)
    worker.run(execution_id, steps=2)
    engine.delete_execution(execution_id)
    gate.set()

    wait_until(lambda: count_threads() == 0, what="the subscription to end")
    assert [record.message for record in caplog.records] == ["a subscription has ended"]


def test_what_cannot_be_watched_is_refused_at_once(
    engine: ExecutionEngine, execution_id: str
) -> None:
    with pytest.raises(ExecutionNotFoundError):
        engine.subscribe("nobody", print)
    with pytest.raises(CursorError):
        engine.subscribe(execution_id, print, after="yesterday")
    with pytest.raises(CursorError):
        engine.subscribe(None, print, after=17)
