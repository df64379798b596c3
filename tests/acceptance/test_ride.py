"""A worker that rides on: what it may go on to, when it must not, and who sees it."""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from celery import Celery

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step
from execution.database import Database
from execution.dispatcher import create_app
from tests.outages import read_lines
from tests.polling import wait_until
from tests.timeline import check_timeline
from tests.worker_process import WorkerProcess

pytestmark = pytest.mark.rides

_STEPS = """
SELECT position, claimed_by_ride, publishes, queue, lease_token::text AS token,
       worker_id::text AS worker
  FROM {schema}.execution_steps WHERE execution_id = %s ORDER BY position
"""


def read_steps(database: Database, execution_id: str) -> list[dict[str, Any]]:
    return database.query(_STEPS, (execution_id,))


def chain(length: int, **inputs: object) -> Plan:
    action = "test.work" if inputs else "test.nothing"
    steps = [Step(f"s{n}", action=action, with_=inputs) for n in range(length)]
    return Plan(f"chain-{uuid.uuid4()}", steps=steps)


@pytest.mark.usefixtures("shared_worker")
def test_a_chain_takes_one_message(engine: ExecutionEngine, database: Database) -> None:
    execution_id = engine.submit(chain(20))

    assert engine.wait(execution_id, timeout_seconds=60).is_success

    steps = read_steps(database, execution_id)
    # a machine that stands still for a tenth of a second ends a ride
    assert sum(step["claimed_by_ride"] for step in steps) > 10
    assert all(step["claimed_by_ride"] != bool(step["publishes"]) for step in steps)
    assert len({step["token"] for step in steps}) == len(steps)
    check_timeline(engine, execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_a_fan_out_rides_in_lanes(engine: ExecutionEngine, database: Database) -> None:
    branches = [Step(f"b{n}", action="test.nothing", needs=["a"]) for n in range(100)]
    join = Step("z", action="test.nothing", needs=[step.id for step in branches])
    first = Step("a", action="test.nothing", needs=[])
    execution_id = engine.submit(Plan("lanes", steps=[first, *branches, join]))

    assert engine.wait(execution_id, timeout_seconds=60).is_success

    steps = read_steps(database, execution_id)
    assert sum(step["publishes"] for step in steps) < len(steps) / 2
    check_timeline(engine, execution_id)


def test_without_riding_each_step_has_a_message(
    engine: ExecutionEngine, settings: Settings, database: Database
) -> None:
    # a message that is unread for a beat is sent again: ten seconds
    alone = replace(settings, queue="alone", ride=False, lease_seconds=60.0)
    steps = [Step(f"s{n}", action="test.nothing", queue="alone") for n in range(5)]
    with WorkerProcess.start(alone):
        execution_id = engine.submit(Plan("alone", steps=steps))
        assert engine.wait(execution_id, timeout_seconds=60).is_success

    found = read_steps(database, execution_id)
    assert [step["publishes"] for step in found] == [1] * 5
    assert not any(step["claimed_by_ride"] for step in found)


def test_a_ride_ends_where_another_worker_serves_the_queue(
    engine: ExecutionEngine, settings: Settings, database: Database
) -> None:
    queues = ["left", "left", "right", "left"]
    steps = [
        Step(f"s{n}", action="test.nothing", queue=queue)
        for n, queue in enumerate(queues)
    ]
    with (
        WorkerProcess.start(replace(settings, queue="left"), slots=1),
        WorkerProcess.start(replace(settings, queue="right"), slots=1),
    ):
        execution_id = engine.submit(Plan("sides", steps=steps))
        assert engine.wait(execution_id, timeout_seconds=60).is_success

    workers = [step["worker"] for step in read_steps(database, execution_id)]
    assert workers[0] == workers[1] == workers[3] != workers[2]


def test_others_have_their_turn_beside_a_long_chain(
    engine: ExecutionEngine, settings: Settings, ledger: Path
) -> None:
    only = replace(settings, queue="only")
    inputs = {"ledger": str(ledger), "seconds": 0.05}
    long = [
        Step(f"s{n}", action="test.work", queue="only", with_=inputs)
        for n in range(100)
    ]
    short = [Step("s", action="test.work", queue="only", with_=inputs)]
    with WorkerProcess.start(only, slots=1):
        long_id = engine.submit(Plan("long", steps=long))
        wait_until(lambda: read_lines(ledger), what="the long chain to run")
        short_id = engine.submit(Plan("short", steps=short))
        for execution_id in (long_id, short_id):
            assert engine.wait(execution_id, timeout_seconds=60).is_success

    short_end = engine.get_status(short_id).ended_at
    long_end = engine.get_status(long_id).ended_at
    assert short_end is not None
    assert long_end is not None
    assert short_end < long_end


@pytest.mark.usefixtures("shared_worker")
def test_a_pause_stops_a_ride_and_a_resume_goes_on(
    engine: ExecutionEngine, ledger: Path
) -> None:
    execution_id = engine.submit(chain(40, ledger=str(ledger), seconds=0.1))
    wait_until(lambda: len(read_lines(ledger)) > 3, what="the ride to be under way")

    engine.pause(execution_id)
    begun = len(read_lines(ledger))
    wait_until(
        lambda: all(s.status != "running" for s in engine.list_steps(execution_id)),
        what="the step that ran to be recorded",
    )

    # at the pause one step was running, and may not have noted it yet
    assert len(read_lines(ledger)) <= begun + 1
    engine.resume(execution_id)
    assert engine.wait(execution_id, timeout_seconds=60).is_success
    assert len(read_lines(ledger)) == 40
    check_timeline(engine, execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_a_cancel_stops_a_ride(engine: ExecutionEngine, ledger: Path) -> None:
    execution_id = engine.submit(chain(200, ledger=str(ledger), seconds=0.1))
    wait_until(lambda: len(read_lines(ledger)) > 3, what="the ride to be under way")

    engine.cancel(execution_id)

    result = engine.wait(execution_id, timeout_seconds=60)
    assert result.status is ExecutionStatus.CANCELLED
    assert len(read_lines(ledger)) < 200
    check_timeline(engine, execution_id)


def test_a_child_killed_in_a_ride_costs_one_attempt(
    engine: ExecutionEngine, settings: Settings, ledger: Path
) -> None:
    killed = replace(settings, queue="killed")
    steps = [
        Step(
            f"s{n}",
            action="test.work",
            queue="killed",
            with_={"ledger": str(ledger), "seconds": 0.01},
        )
        for n in range(30)
    ]
    with WorkerProcess.start(killed, slots=1) as worker:
        execution_id = engine.submit(Plan("killed", steps=steps))
        wait_until(lambda: len(read_lines(ledger)) > 3, what="the ride to be under way")
        for pid in worker.list_children():
            psutil.Process(pid).kill()
        assert engine.wait(execution_id, timeout_seconds=60).is_success

    assert len(read_lines(ledger)) <= 31
    assert sum(step.losses for step in engine.list_steps(execution_id)) <= 1
    check_timeline(engine, execution_id)


@contextmanager
def listen_to_tasks(app: Celery) -> Iterator[list[dict[str, Any]]]:
    """Collect the events of tasks, as Flower does, while the block runs."""
    heard: list[dict[str, Any]] = []
    stopping = threading.Event()

    def listen() -> None:
        with app.connection_for_read() as connection:
            receiver = app.events.Receiver(connection, handlers={"*": heard.append})
            consumer = receiver.itercapture(limit=None, timeout=0.2, wakeup=False)
            while not stopping.is_set():
                try:
                    next(consumer)
                except TimeoutError:
                    consumer = receiver.itercapture(timeout=0.2, wakeup=False)
                except StopIteration:
                    consumer = receiver.itercapture(timeout=0.2, wakeup=False)

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield heard
    finally:
        stopping.set()
        thread.join(10)


def test_each_ridden_step_is_shown_to_who_watches_tasks(
    engine: ExecutionEngine, settings: Settings
) -> None:
    watched = replace(settings, queue="watched")
    app = create_app(watched)
    steps = [
        *(Step(f"s{n}", action="test.nothing", queue="watched") for n in range(8)),
        Step("last", action="test.refuse", queue="watched"),
    ]
    with listen_to_tasks(app) as heard, WorkerProcess.start(watched, slots=1):

        def run() -> str:
            # each time: a worker that has signed on may not listen to broadcasts yet
            app.control.enable_events()
            execution_id = engine.submit(Plan("watched", steps=steps))
            engine.wait(execution_id, timeout_seconds=60)
            return execution_id

        wait_until(
            # the worker hears that it is watched, and shows it to its child at a beat
            lambda: count(heard, run(), "task-failed"),
            what="ridden steps to be shown",
            timeout_seconds=60,
        )
        execution_id = run()
        shown = {"received": 9, "started": 9, "succeeded": 8, "failed": 1}
        wait_until(
            lambda: (
                {kind: count(heard, execution_id, f"task-{kind}") for kind in shown}
                == shown
            ),
            what="all steps to be shown",
        )

    failed = next(
        e
        for e in heard
        if e["type"] == "task-failed" and e["uuid"].startswith(execution_id)
    )
    assert "no such customer" in failed["exception"]


def test_celerys_own_time_limit_is_reported_and_shortens_rides(
    engine: ExecutionEngine, settings: Settings, database: Database, ledger: Path
) -> None:
    limited = replace(settings, queue="limited")
    inputs = {"ledger": str(ledger), "seconds": 0.5}
    steps = [
        Step(f"s{n}", action="test.work", queue="limited", with_=inputs)
        for n in range(5)
    ]
    limits = ("--time-limit", "60", "--soft-time-limit", "4")
    with WorkerProcess.start(limited, slots=1, options=limits) as worker:
        execution_id = engine.submit(Plan("limited", steps=steps))
        assert engine.wait(execution_id, timeout_seconds=60).is_success
        assert "against plans: task_soft_time_limit = 4.0" in worker.log.read_text()

    # a step takes half a second, and a tenth of the shorter limit is less
    ridden = [step["claimed_by_ride"] for step in read_steps(database, execution_id)]
    assert not any(ridden)


def count(events: list[dict[str, Any]], execution_id: str, kind: str) -> int:
    return len(
        {
            e["uuid"]
            for e in list(events)
            if e["type"] == kind and e["uuid"].startswith(execution_id)
        }
    )
