"""Each pool of Celery runs plans, and does what it can when things go wrong."""

import base64
import json
import pickle
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from execution import ExecutionEngine, Plan, Settings, Step, StepStatus
from execution.dispatcher import STEP_TASK
from tests.polling import wait_until
from tests.timeline import check_timeline
from tests.worker_process import WorkerProcess


@pytest.fixture(scope="module", params=["prefork", "threads", "solo"])
def pool(request: pytest.FixtureRequest) -> str:
    """A pool; every test of the module runs with each."""
    return str(request.param)


LEASE_SECONDS = 6.0
"""More than one of two workers may stand still while the other runs."""


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    """Settings with that lease."""
    return replace(settings, lease_seconds=LEASE_SECONDS)


@pytest.fixture(scope="module")
def worker(settings: Settings, pool: str) -> Iterator[WorkerProcess]:
    """A worker with one place in that pool; it lives through every test.

    `celery -A workers.app worker` starts it, and what `plans worker` starts, others.
    """
    app = "workers.app"
    with WorkerProcess.start(
        settings, slots=1, pool=pool, app=app, is_measured=True
    ) as started:
        yield started
        assert started.process.poll() is None, started.log.read_text()[-5000:]
        # for solo and threads, what was held is given up
        started.process.terminate()


def held_plan(ledger: Path, gate: Path, timeout: str | None = None) -> Plan:
    inputs = {"ledger": str(ledger), "gate": str(gate)}
    return Plan(
        "held", steps=[Step("s", action="test.hold", with_=inputs, timeout=timeout)]
    )


def read_lines(ledger: Path) -> list[str]:
    return ledger.read_text().splitlines()


def build_message(body: bytes = b"[[], {}, {}]", /, **changes: Any) -> str:
    """Return what kombu puts into Redis for a message, with some of it changed."""
    message = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": STEP_TASK, "id": "forged", "lang": "py"},
        "properties": {
            "delivery_tag": str(uuid.uuid4()),
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": "any"},
            "priority": 0,
        },
        **changes,
    }
    return json.dumps(message)


JUNK: dict[str, str | bytes] = {
    "text": "garbage",
    "bytes": b"\xff\x00\xfe",
    "number": "3",
    "list": "[]",
    "null": "null",
    "object": "{}",
    "no_properties": build_message(properties=None),
    "no_headers": build_message(headers={}),
    "headers_are_null": build_message(headers=None),
    "unknown_task": build_message(headers={"task": "no.such.task", "id": "x"}),
    "task_is_a_list": build_message(headers={"task": ["a"], "id": "x"}),
    "no_id": build_message(headers={"task": STEP_TASK}),
    "time_limit_is_text": build_message(
        headers={"task": STEP_TASK, "id": "x", "timelimit": "x"}
    ),
    "stamps_are_a_number": build_message(
        headers={"task": STEP_TASK, "id": "x", "stamps": 3, "stamped_headers": 3}
    ),
    "pickle": build_message(
        pickle.dumps([1]), **{"content-type": "application/x-python-serialize"}
    ),
    "unknown_type": build_message(**{"content-type": "x/y"}),
    "not_base64": build_message(b"x").replace('"eA=="', '"%%%"'),
    "not_json": build_message(b"{{{{"),
    "scalar": build_message(b"3"),
    "too_short": build_message(b"[1]"),
    "arguments_are_a_number": build_message(b"[3, {}, {}]"),
    "embedded_is_a_number": build_message(b"[[], {}, 3]"),
    "huge": build_message(b'["' + b"x" * 4_000_000 + b'"]'),
    "builtin": build_message(b"3", headers={"task": "celery.group", "id": "x"}),
}


def test_junk_in_the_queue_is_passed_over(
    engine: ExecutionEngine, settings: Settings, worker: WorkerProcess, ledger: Path
) -> None:
    plan = Plan("noted", steps=[Step("s", "test.note", with_={"ledger": str(ledger)})])
    with redis.Redis.from_url(str(settings.redis_url)) as client:
        for junk in JUNK.values():
            client.lpush(settings.queue, junk)
        execution_ids = [engine.submit(plan) for _ in range(5)]

        results = [engine.wait(i, timeout_seconds=60) for i in execution_ids]

        # a message that was taken for being in hand would be put back by a stop
        wait_until(
            lambda: client.llen(settings.queue) == 0, what="the queue to be empty"
        )
    assert all(result.is_success for result in results)
    assert len(read_lines(ledger)) == len(execution_ids)
    assert worker.process.poll() is None


def test_an_overdue_attempt_loses_its_step(
    engine: ExecutionEngine, worker: WorkerProcess, ledger: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    execution_id = engine.submit(held_plan(ledger, gate, timeout="300ms"))

    result = engine.wait(execution_id, timeout_seconds=60)
    # a thread cannot be killed: what it brings home late is refused
    gate.touch()
    after = engine.execute(
        Plan("after", steps=[Step("s", "test.nothing")]), timeout_seconds=60
    )

    assert after.is_success
    assert result.error is not None
    assert result.error.code == "E002"
    assert engine.list_steps(execution_id)[0].status is StepStatus.TIMED_OUT
    check_timeline(engine, execution_id)


def test_a_killed_worker_loses_its_step_to_another(
    engine: ExecutionEngine,
    settings: Settings,
    worker: WorkerProcess,
    pool: str,
    ledger: Path,
    tmp_path: Path,
) -> None:
    gate = tmp_path / "gate"
    with WorkerProcess.start(settings, slots=1, pool=pool) as victim:
        execution_ids = [engine.submit(held_plan(ledger, gate)) for _ in range(2)]
        wait_until(lambda: len(read_lines(ledger)) == 2, what="both workers to hold")
        # a worker that is busy must not look dead
        until = time.monotonic() + 1.25 * LEASE_SECONDS
        wait_until(lambda: time.monotonic() > until, what="more than a lease to pass")
        assert len(read_lines(ledger)) == 2
        victim.kill()
    gate.touch()

    results = [engine.wait(i, timeout_seconds=60) for i in execution_ids]

    assert all(result.is_success for result in results)
    attempts = sorted(engine.list_steps(i)[0].attempt for i in execution_ids)
    assert attempts == [1, 2]
    for execution_id in execution_ids:
        check_timeline(engine, execution_id)
