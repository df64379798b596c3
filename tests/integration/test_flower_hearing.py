"""What Flower keeps of what it hears, however much that is, and for how long."""

import gc
import time
from typing import Any

import pytest
from flower.events import EventsState
from prometheus_client import generate_latest
from tornado.ioloop import IOLoop

from execution.celery.ride_events import STEP_SHOWN
from execution.dispatcher import create_app
from execution.flower.choices import FlowerChoices, choose
from execution.flower.hearing import _MOST_WAITING, StepEvents
from execution.settings import Settings
from tests.polling import look_until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("own_flower_options")]

AWAY = Settings(broker_url="redis://127.0.0.1:1/0")
MOST_TASKS = 200


def build_events() -> StepEvents:
    choice = choose(FlowerChoices(max_tasks=MOST_TASKS, is_unauthenticated=True))
    return StepEvents(create_app(AWAY), IOLoop.current(), choice.options)


def tell(kind: str, hostname: str = "w@here", **fields: Any) -> dict[str, Any]:
    """Return an event as it comes from a broker."""
    now = time.time()
    usual = {"clock": 1, "pid": 1, "timestamp": now, "local_received": now}
    return {"type": kind, "hostname": hostname, **usual, **fields}


def tell_received(uuid: str, **fields: Any) -> dict[str, Any]:
    return tell(
        "task-received", uuid=uuid, name="a.b", args="s of x", kwargs="{}", **fields
    )


async def test_a_flood_of_events_is_kept_within_bounds() -> None:
    events = build_events()
    for number in range(_MOST_WAITING + 2_000):
        events.on_event(tell_received(f"t{number}"))

    assert len(events._waiting) == _MOST_WAITING
    last = f"t{_MOST_WAITING + 1_999}"
    await look_until(lambda: last in events.state.tasks, what="the last to be taken in")

    assert len(events.state.tasks) == MOST_TASKS
    assert len(events.state.search_engine.documents) == MOST_TASKS
    assert len(events.state._taskheap) <= 4 * MOST_TASKS
    gc.collect()
    assert len(events.state.tasks_by_type["a.b"]) == MOST_TASKS


async def test_what_is_no_event_hides_none_that_follow() -> None:
    events = build_events()
    for none in (tell(STEP_SHOWN, uuid="t"), tell(STEP_SHOWN, uuid="t", shown="x")):
        events.on_event(none)
    events.on_event(tell("task-received"))
    events.on_event(tell_received("good"))

    await look_until(lambda: "good" in events.state.tasks, what="the good one")


async def test_pages_have_their_turn_in_a_flood() -> None:
    events = build_events()
    for number in range(5_000):
        events.on_event(tell_received(f"t{number}"))
    left: list[int] = []

    IOLoop.current().add_callback(lambda: left.append(len(events._waiting)))
    await look_until(lambda: left, what="a turn")

    assert left[0] > 3_000


@pytest.mark.parametrize("is_early", [False, True], ids=["in order", "claim first"])
async def test_a_claim_says_as_what_a_step_runs(is_early: bool) -> None:
    events = build_events()
    said = "prepare/sort of x, attempt 2"
    pair = [tell_received("t"), tell(STEP_SHOWN, uuid="t", shown={"args": said})]
    for event in pair[::-1] if is_early else pair:
        events.on_event(event)

    await look_until(lambda: "t" in events.state.tasks, what="the events")

    assert events.state.tasks["t"].args == said
    assert events.state.search_engine.search(
        events.state.tasks, "prepare/sort"
    ).task_ids == ["t"]


@pytest.mark.parametrize("is_early", [False, True], ids=["after", "before Celery"])
async def test_a_step_that_failed_is_no_success_though_its_message_is(
    is_early: bool,
) -> None:
    events = build_events()
    failed = {"state": "FAILURE", "exception": "no such customer", "worker": "forged"}
    pair = [
        tell("task-succeeded", uuid="t", result="None", runtime=1.0),
        tell(STEP_SHOWN, uuid="t", shown=failed),
    ]
    for event in (tell_received("t"), *(pair[::-1] if is_early else pair)):
        events._take(event)

    task = events.state.tasks["t"]
    assert (task.state, task.exception) == ("FAILURE", "no such customer")
    assert task.worker.hostname == "w@here"
    page = events.state.search_engine.search(events.state.tasks, state="FAILURE")
    assert page.task_ids == ["t"]


async def test_flower_as_it_is_passes_over_what_is_ours() -> None:
    state = EventsState(max_tasks_in_memory=MOST_TASKS)

    state.event(tell(STEP_SHOWN, uuid="t", shown={"args": "p/s"}))

    assert (list(state.tasks), list(state.workers)) == ([], [])


async def test_claims_of_what_is_never_heard_of_are_not_piled_up() -> None:
    events = build_events()
    for number in range(3_000):
        events.on_event(tell(STEP_SHOWN, uuid=f"t{number}", shown={"args": "p/s"}))

    await look_until(lambda: not events._waiting, what="the events")

    assert len(events._shown) == 1_000


async def test_workers_that_are_gone_are_forgotten_with_what_was_counted() -> None:
    events = build_events()
    long_ago = time.time() - 7200
    old = {"timestamp": long_ago, "local_received": long_ago}
    beat = {"freq": 2, "active": 0, "processed": 1, "sw_ident": "py"}
    for number in range(50):
        gone = f"gone-{number}@there"
        events._take(tell("worker-heartbeat", gone, **beat, **old))
        events._take(tell_received(f"t{number}", **old) | {"hostname": gone})
    events._take(tell("worker-heartbeat", "signed-off@there", **beat))
    events._take(tell("worker-offline", "signed-off@there", **beat))
    events._take(tell("worker-heartbeat", "alive@here", **beat))

    forgotten = events.forget_workers(silent_seconds=3600)

    assert len(forgotten) == 50
    kept = {"alive@here", "signed-off@there"}
    assert set(events.state.workers) == set(events.state.counter) == kept
    assert not any(name.startswith("gone") for name in events.state.tasks_by_worker)
    counted = generate_latest().decode()
    assert "alive@here" in counted
    assert "gone-7@there" not in counted
