"""The same on RabbitMQ, where one answers at its standard port.

It cannot be stopped from here: others may use it. A proxy takes its part.
"""

import os
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from kombu.connection import Connection

from execution import ExecutionEngine, Plan, Settings, Step
from execution.dispatcher import STEP_TASK, create_app
from execution.health import HealthVerdict, judge_file
from execution.installation import Installation
from tests.conftest import LEASE_SECONDS
from tests.load import under_load
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
    health_file: Path = Path()
    """Where its worker says how it does."""

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
def served(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rabbit]:
    """A queue with a worker that lives through every test which uses it."""
    file = tmp_path_factory.mktemp("rabbit") / "health"
    variables = {"PLANS_HEALTH_FILE": str(file)}
    with (
        open_rabbit(settings) as opened,
        WorkerProcess.start(opened.settings, environment=variables) as worker,
    ):
        opened.health_file = file
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

    results = [served.engine.wait(i, timeout_seconds=60) for i in execution_ids]

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
        Plan("after", steps=[Step("s", action="test.nothing")]), timeout_seconds=60
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
    took_seconds = []
    for _ in range(3):
        begun = time.monotonic()
        execution_ids.append(served.engine.submit(plan))
        took_seconds.append(time.monotonic() - begun)
    let_pass(1)
    served.proxy.admit()

    results = [served.engine.wait(i, timeout_seconds=60) for i in execution_ids]

    # if any waited for the broker, each would
    assert min(took_seconds) < 1
    assert all(result.is_success for result in results)
    assert len(read_lines(ledger)) == len(set(read_lines(ledger))) == 45
    for execution_id in execution_ids:
        check_timeline(served.engine, execution_id)


def test_who_waits_for_rabbitmq_lives_and_is_not_ready(served: Rabbit) -> None:
    def judge() -> HealthVerdict:
        return judge_file(served.health_file, within_seconds=2)

    wait_until(lambda: judge().is_ready, what="the worker to be ready")
    served.proxy.refuse()
    wait_until(lambda: "the broker" in judge().reason, what="the worker to notice")
    let_pass(2.5)
    wait_until(lambda: judge().is_live, what="the worker to live")
    is_ready = judge().is_ready
    served.proxy.admit()

    assert not is_ready
    wait_until(lambda: judge().is_ready, what="the worker to be ready again")


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
        results = [rabbit.engine.wait(i, timeout_seconds=60) for i in execution_ids]

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


def test_a_worker_that_stops_gives_back_what_it_has(
    rabbit: Rabbit, ledger: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    settings = replace(rabbit.settings, lease_seconds=30.0, drain_seconds=0.5)
    quick = Plan("quick", steps=[Step("s", "test.nothing")])
    options = ["--prefetch-multiplier=8"]
    with WorkerProcess.start(settings, slots=1, options=options) as leaving:
        held = rabbit.engine.submit(held_plan(ledger, gate))
        wait_until(lambda: read_lines(ledger), what="the step to begin")
        reserved = [rabbit.engine.submit(quick) for _ in range(3)]
        wait_until(
            lambda: leaving.log.read_text().count(" received") >= 4,
            what="the messages to be reserved",
        )
        with WorkerProcess.start(settings, slots=2):
            leaving.process.terminate()
            results = [rabbit.engine.wait(i, timeout_seconds=60) for i in reserved]
            wait_until(lambda: len(read_lines(ledger)) == 2, what="the step to go on")
            gate.touch()
            results.append(rabbit.engine.wait(held, timeout_seconds=60))

    assert all(result.is_success for result in results)
    types = [e.type for e in rabbit.engine.list_events(held)]
    assert types.count("step.drained") == 1
    assert "step.lost" not in types
    for execution_id in (held, *reserved):
        check_timeline(rabbit.engine, execution_id)


def run_rabbitmqctl(*arguments: str, typed: str = "") -> None:
    """Run the tool that RabbitMQ brings; skip where it is not, or is not let in."""
    try:
        done = subprocess.run(
            ["rabbitmqctl", "--quiet", *arguments],  # noqa: S607  it may lie anywhere
            input=typed,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        complaint = "" if done.returncode == 0 else done.stderr
    except FileNotFoundError as error:
        complaint = str(error)
    if complaint:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(complaint)


@contextmanager
def make_user() -> Iterator[str]:
    """Make a user with the rights of a worker, as the page on passwords does."""
    name = f"plans-test-{uuid.uuid4()}"
    run_rabbitmqctl("add_user", name, typed="a password\n")
    run_rabbitmqctl("set_permissions", name, ".*", ".*", ".*")
    yield name
    run_rabbitmqctl("delete_user", name)


def test_a_user_is_replaced_under_load(rabbit: Rabbit, ledger: Path) -> None:
    def settings_of(user: str) -> Settings:
        url = f"amqp://{user}:a%20password@127.0.0.1:{rabbit.proxy.port}//"
        # long enough for neither worker to look dead when it stands still for a moment
        return replace(rabbit.settings, broker_url=url, lease_seconds=8.0)

    with ExitStack() as exits:
        new = exits.enter_context(make_user())
        with (
            make_user() as old,
            WorkerProcess.start(settings_of(old)) as leaving,
            ExecutionEngine(Installation(settings_of(old), None)) as engine,
            under_load(engine, ledger),
        ):
            wait_until(lambda: read_lines(ledger), what="the first step")
            exits.enter_context(WorkerProcess.start(settings_of(new)))
            leaving.stop()
        # from here on, the old one is no more
        with ExecutionEngine(Installation(settings_of(new), None)) as engine:
            plan = Plan("after", steps=[Step("one", action="test.nothing")])
            assert engine.execute(plan, timeout_seconds=60).is_success
