"""Who watches, beside real workers: nobody waits for them, and they miss nothing."""

import socket
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from execution import ExecutionEngine, ExecutionFilter, Plan, Settings, Step
from execution.local import LocalStack
from tests.integration.test_docs import read_blocks
from tests.polling import wait_until
from tests.timeline import read_timeline
from tests.worker_process import WorkerProcess

pytestmark = pytest.mark.usefixtures("shared_worker")

CHAIN = Plan("chain", steps=[Step(f"s{n}", action="test.nothing") for n in range(20)])
INNER = Plan("inner", steps=[Step("s", action="test.nothing")])
OUTER = Plan("outer", steps=[Step("run", plan="inner")])


@contextmanager
def never_reading(stack: LocalStack) -> Iterator[None]:
    """Subscribe to every hint there is, and read none."""
    path = str(stack.urls.redis_url).removeprefix("unix://").partition("?")[0]
    with socket.socket(socket.AF_UNIX) as deaf:
        # so small that the server soon has to keep what is not read
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        deaf.connect(path)
        deaf.sendall(b"PSUBSCRIBE plans:*\r\n")
        assert deaf.recv(1)
        yield


def test_readers_that_stand_still_hold_no_worker_up(
    stack: LocalStack, engine: ExecutionEngine
) -> None:
    watched = engine.submit(CHAIN)
    one, many = engine.monitor(watched), engine.monitor_all()
    seen = [*next(one).events]
    next(many)
    with never_reading(stack):
        execution_ids = engine.submit_many(CHAIN, [{} for _ in range(20)])
        for execution_id in execution_ids:
            assert engine.wait(execution_id, timeout_seconds=60).is_success

    # and when they read on, nothing is missing
    seen += [event for update in one for event in update.events]
    assert tuple(seen) == read_timeline(engine, watched)


def test_plans_within_plans_are_told_like_others(
    engine: ExecutionEngine, settings: Settings, shared_worker: WorkerProcess
) -> None:
    engine.publish(INNER)
    seen: dict[str, list[int]] = defaultdict(list)
    cursor = engine.get_cursor()

    subscription = engine.subscribe(
        None,
        lambda u: seen[u.execution_id].extend(event.seq for event in u.events),
        after=cursor,
    )
    outer = engine.submit(OUTER)
    assert engine.wait(outer, timeout_seconds=60).is_success
    (inner,) = engine.list_executions(ExecutionFilter(parent_id=outer)).items

    told = {
        execution_id: [event.seq for event in read_timeline(engine, execution_id)]
        for execution_id in (outer, inner.id)
    }
    wait_until(lambda: seen == told, what="both to be told")
    assert engine.unsubscribe(subscription)


def test_the_page_shows_what_runs(
    engine: ExecutionEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one, many, called = read_blocks("docs/watching.md", "python")
    names: dict[str, Any] = {"engine": engine, "plan": CHAIN}

    # one's own page, run as it is written
    names["execution_id"] = engine.submit(CHAIN)
    exec(one, names)  # noqa: S102
    assert names["kept"].read_text() == names["update"].cursor
    exec(many, names)  # noqa: S102
    assert names["update"].execution_id == names["execution_id"]
    exec(called, names)  # noqa: S102
    wait_until(lambda: names["told"], what="the callback to be called")
    assert names["told"][0].execution_id == names["execution_id"]
    engine.unsubscribe(names["subscription"])
