"""The same on RabbitMQ, where one answers at its standard port."""

import os
import socket
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from execution import ExecutionEngine, Plan, Settings, Step
from execution.dispatcher import create_app
from execution.installation import Installation
from tests.timeline import check_timeline
from tests.worker_process import WorkerProcess


def has_rabbitmq() -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", 5672)) == 0


@pytest.fixture
def rabbitmq_settings(settings: Settings) -> Iterator[Settings]:
    """The settings with RabbitMQ for the broker, and a queue that is removed."""
    if not has_rabbitmq():
        if os.environ.get("CI") == "true":
            pytest.fail("no RabbitMQ answers at 127.0.0.1:5672")
        pytest.skip("no RabbitMQ answers at 127.0.0.1:5672")
    queue = f"plans-test-{uuid.uuid4()}"
    changed = replace(
        settings, broker_url="amqp://guest:guest@127.0.0.1//", queue=queue
    )
    yield changed
    with create_app(changed).connection_for_write() as connection:
        connection.default_channel.queue_delete(queue)


def test_chains_and_joins_run_on_rabbitmq(rabbitmq_settings: Settings) -> None:
    plan = Plan(
        "rabbit",
        steps=[
            Step("root", action="test.nothing", needs=[]),
            Step("left", action="test.echo", with_={"value": 1}, needs=["root"]),
            Step("right", action="test.echo", with_={"value": 2}, needs=["root"]),
            Step(
                "join",
                action="test.echo",
                with_={"value": ["${steps.left.result}", "${steps.right.result}"]},
                needs=["left", "right"],
            ),
        ],
    )
    with (
        ExecutionEngine(Installation(rabbitmq_settings, None)) as engine,
        WorkerProcess.start(rabbitmq_settings),
    ):
        execution_ids = [engine.submit(plan) for _ in range(10)]

        results = [engine.wait(i, timeout_seconds=30) for i in execution_ids]

        assert [result.unwrap() for result in results] == [[1, 2]] * 10
        for execution_id in execution_ids:
            check_timeline(engine, execution_id)
