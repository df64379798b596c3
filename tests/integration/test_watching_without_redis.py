"""Readers beside a Redis that comes and goes: hints are lost, events are not."""

import random
import signal
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from execution import ExecutionEngine, Plan, Settings, Step
from execution.installation import Installation
from execution.local import LocalStack
from execution.updates import ExecutionUpdate
from tests.outages import end_server
from tests.polling import wait_until
from tests.timeline import read_timeline

PLAN = Plan("u", steps=[Step("s", action="test.nothing")])


@pytest.fixture
def home() -> Path:
    # a socket's path must be short
    return Path(tempfile.mkdtemp(prefix="plans-redis-", dir="/tmp"))


@pytest.fixture
def engine(settings: Settings, home: Path) -> Iterator[ExecutionEngine]:
    """An engine whose hints go through a Redis of this test's own."""
    with LocalStack.start(home, postgres=False) as redis_only:
        flaky = replace(settings, redis_url=redis_only.urls.redis_url)
        with ExecutionEngine(Installation(flaky, None)) as opened:
            yield opened


@pytest.mark.parametrize("seed", range(2))
def test_what_readers_saw_is_the_timeline_whatever_becomes_of_redis(
    engine: ExecutionEngine, home: Path, seed: int
) -> None:
    chance = random.Random(f"redis {seed}")
    of_one: list[ExecutionUpdate] = []
    of_all: dict[str, list[int]] = defaultdict(list)

    def note(update: ExecutionUpdate) -> None:
        of_all[update.execution_id] += [event.seq for event in update.events]

    engine.subscribe(None, note)
    execution_ids = [engine.submit(PLAN)]
    engine.subscribe(execution_ids[0], of_one.append)
    for _ in range(3):
        with LocalStack.start(home, postgres=False) as redis_only:
            for _ in range(chance.randint(1, 4)):
                execution_ids.append(engine.submit(PLAN))
                engine.pause(execution_ids[-1])
            assert redis_only.valkey is not None
            end_server(redis_only.valkey.server_pid, signal.SIGKILL)
            engine.resume(execution_ids[-1])
            for _ in range(chance.randint(0, 2)):
                engine.pause(execution_ids[0])
                engine.resume(execution_ids[0])
    for execution_id in execution_ids:
        engine.cancel(execution_id)

    timelines = {
        execution_id: [event.seq for event in read_timeline(engine, execution_id)]
        for execution_id in execution_ids
    }
    wait_until(lambda: of_all == timelines, what="all of them to be told")
    first = read_timeline(engine, execution_ids[0])
    wait_until(lambda: of_one and of_one[-1].last_seq == first[-1].seq, what="the one")
    assert tuple(e for update in of_one for e in update.events) == first
