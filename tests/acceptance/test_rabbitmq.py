"""The same on RabbitMQ, where one answers at its standard port.

It cannot be stopped from here: others may use it. A proxy takes its part.
"""

import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from kombu.connection import Connection

from execution import ExecutionEngine, Plan, Settings, Step
from execution.dispatcher import STEP_TASK, create_app
from execution.installation import Installation
from tests.conftest import LEASE_SECONDS
from tests.polling import wait_until
from tests.proxy import Proxy
from tests.timeline import check_timeline
from tests.worker_process import WorkerProcess

RABBITMQ = ("127.0.0.1", 5672)


@dataclass
class Rabbit:
    """Settings with a queue on RabbitMQ, reached through a proxy, and an engine."""

    settings: Settings
    proxy: Proxy
    engine: ExecutionEngine

    def connect(self) -> Connection:
        """Return a connection that does not go through the proxy."""
        return Connection("amqp://guest:guest@127.0.0.1//")  # type: ignore[no-untyped-call]  # kombu ships no types

    def count_waiting(self) -> int:
        """Return how many messages wait in the queue, in nobody's hand."""
        return self._look()[0]

    def has_consumers(self) -> bool:
        """Say whether anybody is there for whom messages may be in hand."""
        return self._look()[1] > 0

    def _look(self) -> tuple[int, int]:
        with self.connect() as connection, closing(connection.channel()) as channel:
            declared = channel.queue_declare(self.settings.queue, passive=True)
            return int(declared.message_count), int(declared.consumer_count)

    def send(self, body: bytes, **properties: object) -> None:
        """Put a message into the queue, whatever it is."""
        with self.connect() as connection:
            connection.Producer(serializer=None).publish(
                body, routing_key=self.settings.queue, **properties
            )


def has_rabbitmq() -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(RABBITMQ) == 0


@contextmanager
def open_rabbit(settings: Settings) -> Iterator[Rabbit]:
    """Open a queue of its own, and remove it in the end."""
    if not has_rabbitmq():
        if os.environ.get("CI") == "true":
            pytest.fail("no RabbitMQ answers at 127.0.0.1:5672")
        pytest.skip("no RabbitMQ answers at 127.0.0.1:5672")
    with Proxy(RABBITMQ) as proxy:
        changed = replace(
            settings,
            broker_url=f"amqp://guest:guest@127.0.0.1:{proxy.port}//",
            queue=f"plans-test-{uuid.uuid4()}",
        )
        with ExecutionEngine(Installation(changed, None)) as engine:
            made = Rabbit(changed, proxy, engine)
            yield made
        with made.connect() as connection:
            connection.default_channel.queue_delete(changed.queue)


@pytest.fixture(scope="module")
def served(settings: Settings) -> Iterator[Rabbit]:
    """A queue with a worker that lives through every test which uses it."""
    with (
        open_rabbit(settings) as opened,
        WorkerProcess.start(opened.settings) as worker,
    ):
        yield opened
        assert worker.process.poll() is None, worker.log.read_text()[-5000:]


@pytest.fixture
def rabbit(settings: Settings) -> Iterator[Rabbit]:
    """A queue without a worker."""
    with open_rabbit(settings) as opened:
        yield opened


def read_lines(ledger: Path) -> list[str]:
    return ledger.read_text().splitlines()


def held_plan(ledger: Path, gate: Path) -> Plan:
    inputs = {"ledger": str(ledger), "gate": str(gate)}
    return Plan("held", steps=[Step("s", action="test.hold", with_=inputs)])


def let_pass(seconds: float) -> None:
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > until, what="time to pass")


def test_chains_and_joins_run_on_rabbitmq(served: Rabbit) -> None:
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
    execution_ids = [served.engine.submit(plan) for _ in range(10)]

    results = [served.engine.wait(i, timeout_seconds=30) for i in execution_ids]

    assert [result.unwrap() for result in results] == [[1, 2]] * 10
    for execution_id in execution_ids:
        check_timeline(served.engine, execution_id)


def test_junk_on_rabbitmq_is_passed_over(served: Rabbit) -> None:
    headers = {"task": STEP_TASK, "id": "forged"}
    json_text = {"content_type": "application/json", "content_encoding": "utf-8"}
    served.send(b"\xff\x00", content_type="application/data")
    served.send(b"garbage", **json_text)
    served.send(b"3", headers=headers, **json_text)
    served.send(b"[1]", headers=headers, **json_text)
    served.send(b"[[], {}, 3]", headers=headers, **json_text)
    served.send(b"[[], {}, {}]", headers={"task": "no.such"}, **json_text)
    served.send(b"\x80\x04N.", content_type="application/x-python-serialize")
    served.send(b'["' + b"x" * 4_000_000 + b'"]', headers=headers, **json_text)
    create_app(served.settings).send_task(STEP_TASK, args=["x"])

    result = served.engine.execute(
        Plan("after", steps=[Step("s", action="test.nothing")]), timeout_seconds=20
    )

    assert result.is_success
    wait_until(lambda: served.count_waiting() == 0, what="the junk to be gone")


def test_a_restart_of_rabbitmq_loses_nothing(served: Rabbit, ledger: Path) -> None:
    inputs = {"ledger": str(ledger)}
    steps = [Step(f"s{n}", "test.work", with_=inputs) for n in range(5)]
    plan = Plan("work", steps=steps)
    execution_ids = [served.engine.submit(plan) for _ in range(6)]
    wait_until(lambda: len(read_lines(ledger)) > 4, what="steps to be under way")
    served.proxy.refuse()
    begun = time.monotonic()
    execution_ids += [served.engine.submit(plan) for _ in range(3)]
    took_seconds = time.monotonic() - begun
    let_pass(1)
    served.proxy.admit()

    results = [served.engine.wait(i, timeout_seconds=40) for i in execution_ids]

    assert took_seconds < 1
    assert all(result.is_success for result in results)
    assert len(read_lines(ledger)) == len(set(read_lines(ledger))) == 45
    for execution_id in execution_ids:
        check_timeline(served.engine, execution_id)


def test_what_a_killed_worker_had_in_hand_comes_back(
    rabbit: Rabbit, ledger: Path, tmp_path: Path
) -> None:
    plan = held_plan(ledger, tmp_path / "gate")
    with WorkerProcess.start(rabbit.settings, slots=2) as worker:
        execution_ids = [rabbit.engine.submit(plan) for _ in range(2)]
        wait_until(lambda: len(read_lines(ledger)) == 2, what="both steps to run")
        assert rabbit.count_waiting() == 0

        worker.kill()

        wait_until(lambda: rabbit.count_waiting() == 2, what="both messages")
    (tmp_path / "gate").touch()
    with WorkerProcess.start(rabbit.settings, slots=2):
        results = [rabbit.engine.wait(i, timeout_seconds=30) for i in execution_ids]

    assert all(result.is_success for result in results)
    for execution_id in execution_ids:
        check_timeline(rabbit.engine, execution_id)


def test_the_message_of_a_long_step_is_acknowledged_before_its_end(
    rabbit: Rabbit, ledger: Path, tmp_path: Path
) -> None:
    settings = replace(rabbit.settings, lease_seconds=LEASE_SECONDS / 2)
    gate = tmp_path / "gate"
    with WorkerProcess.start(settings, slots=1) as worker:
        execution_id = rabbit.engine.submit(held_plan(ledger, gate))
        wait_until(lambda: read_lines(ledger), what="the step to run")
        let_pass(2.5 * settings.lease_seconds)
        worker.kill()
        # what was in its hand is back in the queue when it has gone from there
        wait_until(lambda: not rabbit.has_consumers(), what="it to be gone")

        assert rabbit.count_waiting() == 0
    rabbit.engine.cancel(execution_id, by="test", reason="nobody serves its queue now")
