"""Every program under a login of its own, in PostgreSQL and in Redis."""

import json
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis
from celery import Celery
from kombu.exceptions import OperationalError
from redis.backoff import NoBackoff
from redis.retry import Retry

from execution.dispatcher import create_app
from execution.engine import ExecutionEngine
from execution.events import (
    EventSubscription,
    ExecutionEventEmitter,
    Hint,
    name_channel,
)
from execution.installation import Installation
from execution.local import LocalStack
from execution.plan import Plan, Step
from execution.settings import Settings
from execution.sql.grants import Role
from execution.states import ExecutionStatus
from tests.polling import wait_until
from tests.redis_users import GuardedRedis, guarded_redis
from tests.roles import make_installation
from tests.worker_process import WorkerProcess, build_environment

NAME = "least_privilege"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this module's own."""
    return tmp_path_factory.mktemp("least")


@pytest.fixture(scope="module")
def guarded(folder: Path) -> Iterator[GuardedRedis]:
    """A server with users."""
    with guarded_redis(folder / "redis", [NAME]) as server:
        yield server


@pytest.fixture(scope="module")
def urls(stack: LocalStack, folder: Path) -> dict[Role, str]:
    """A database with roles."""
    return make_installation(str(stack.urls.database_url), NAME, folder / "postgres")


def settings_of(urls: dict[Role, str], guarded: GuardedRedis, role: Role) -> Settings:
    """Return the settings of a program under one of the roles."""
    url = guarded.url_of(role.removeprefix("plans_"))
    return Settings(
        database_url=urls[role],
        broker_url=url,
        redis_url=url,
        schema=NAME,
        queue=NAME,
        imports=("tests.actions",),
        lease_seconds=2.0,
    )


@pytest.fixture(scope="module")
def settings(urls: dict[Role, str], guarded: GuardedRedis) -> Settings:
    """Settings of who submits."""
    return settings_of(urls, guarded, Role.PRODUCER)


@pytest.fixture(scope="module")
def worker(
    urls: dict[Role, str],
    guarded: GuardedRedis,
    leaving_workers: list[WorkerProcess],
) -> Iterator[WorkerProcess]:
    """A worker, that tells Celery's events as well."""
    started = WorkerProcess.start(
        settings_of(urls, guarded, Role.WORKER), slots=1, options=["-E"]
    )
    yield started
    started.stop()
    leaving_workers.append(started)


def test_plans_run_and_are_watched_with_a_login_for_each_program(
    engine: ExecutionEngine,
    urls: dict[Role, str],
    guarded: GuardedRedis,
    worker: WorkerProcess,
) -> None:
    plan = Plan("guarded", steps=[Step("a", "test.observe"), Step("b", "test.nothing")])
    reader = settings_of(urls, guarded, Role.READER)

    execution_id = engine.submit(plan)
    with ExecutionEngine(Installation(reader, None)) as looking:
        states = [str(update) for update in looking.monitor(execution_id)]
        summary = looking.get_status(execution_id)

    assert summary.status is ExecutionStatus.COMPLETED
    assert states
    complaints = ("NOPERM", "permission denied", "hints are dropped")
    assert not [word for word in complaints if word in worker.log.read_text()]


@pytest.mark.usefixtures("worker")
def test_a_producer_asks_workers(urls: dict[Role, str], guarded: GuardedRedis) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "workers.app", "inspect", "ping"],
        env=build_environment(settings_of(urls, guarded, Role.PRODUCER)),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, "pong" in done.stdout) == (0, True), done.stderr


@pytest.mark.usefixtures("worker")
def test_flowers_user_hears_the_events_of_celery(
    engine: ExecutionEngine, guarded: GuardedRedis
) -> None:
    heard: list[str] = []
    app = Celery(broker=guarded.url_of("flower"), set_as_current=False)
    with app.connection() as connection:
        receiver = app.events.Receiver(
            connection, handlers={"*": lambda event: heard.append(event["type"])}
        )
        thread = threading.Thread(
            target=lambda: receiver.capture(limit=None, timeout=20, wakeup=True),
            daemon=True,
        )
        thread.start()
        wait_until(lambda: "worker-heartbeat" in heard, what="a heartbeat")
        assert app.control.inspect(timeout=5, limit=1).ping()
        receiver.should_stop = True
        thread.join(10)


def test_hints_reach_a_reader(guarded: GuardedRedis) -> None:
    subscription = EventSubscription(guarded.url_of("reader"), "inst", "exec")
    subscription.open()
    with closing(subscription), guarded.connect("worker") as worker:
        hint = Hint("exec", 3, is_last=True)
        worker.publish(name_channel("inst", "exec"), json.dumps(vars(hint)))

        assert subscription.wait(10) == hint


FORBIDDEN = {
    "worker": [
        "FLUSHALL",
        "FLUSHDB",
        "CONFIG GET requirepass",
        "ACL LIST",
        "DEBUG OBJECT x",
        "KEYS *",
        "SCAN 0",
        "SHUTDOWN",
        "MONITOR",
        "CLIENT LIST",
        "GET sessions:1",
        "SET sessions:1 x",
        "LPUSH other_queue x",
        "BRPOP other_queue 1",
        "SUBSCRIBE other:channel",
        "PUBLISH other:channel x",
        "REPLICAOF 127.0.0.1 1",
        "MODULE LIST",
        "EVAL return(redis.call('KEYS','*')) 0",
    ],
    "producer": [
        "FLUSHALL",
        "CONFIG GET *",
        f"BRPOP {NAME} 1",
        f"RPOP {NAME}",
        f"LRANGE {NAME} 0 -1",
        f"DEL {NAME}",
        "BRPOP host@worker.celery.pidbox 1",
        "KEYS *",
        "LPUSH other_queue x",
        "PUBLISH /0.celeryev/worker.offline x",
    ],
    "reader": [
        "FLUSHALL",
        "KEYS *",
        f"LPUSH {NAME} x",
        f"LLEN {NAME}",
        f"BRPOP {NAME} 1",
        "PUBLISH plans:x:events x",
        "PUBLISH /0.celery.pidbox x",
        "SUBSCRIBE /0.celery.pidbox",
        "SADD _kombu.binding.celery x",
    ],
    "flower": [
        "FLUSHALL",
        f"LPUSH {NAME} x",
        f"BRPOP {NAME} 1",
        f"DEL {NAME}",
        "KEYS *",
        "CONFIG GET *",
    ],
    "health": ["GET x", "LLEN plans", "INFO", "SUBSCRIBE plans:x"],
}


@pytest.mark.parametrize("user", sorted(FORBIDDEN))
def test_a_user_is_refused_what_it_does_not_need(
    guarded: GuardedRedis, user: str
) -> None:
    with guarded.connect(user) as client:
        for command in FORBIDDEN[user]:
            with pytest.raises(redis.ResponseError, match=r"permission|not allowed"):
                client.execute_command(*command.split())


@pytest.mark.parametrize(
    ("user", "password"), [(None, None), ("plans_worker", "no"), ("default", "")]
)
def test_nobody_enters_without_a_password(
    guarded: GuardedRedis, user: str | None, password: str | None
) -> None:
    with (
        redis.Redis(
            unix_socket_path=str(guarded.socket),
            username=user,
            password=password,
            retry=Retry(NoBackoff(), 0),
        ) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_passwords_stand_in_no_command_line_and_no_file_of_the_server(
    guarded: GuardedRedis, folder: Path
) -> None:
    arguments = Path(f"/proc/{guarded.pid}/cmdline").read_bytes()

    assert b"canary" not in arguments
    assert "canary" not in (folder / "redis" / "users.acl").read_text()


def test_a_wrong_password_is_in_no_error_and_no_log(
    guarded: GuardedRedis, caplog: pytest.LogCaptureFixture
) -> None:
    url = guarded.url_of("worker").replace("canary-worker", "canary-that-is-wrong")
    with closing(ExecutionEventEmitter(url, "inst")) as emitter:
        emitter.emit("exec", 1, is_last=True)
    app = create_app(Settings(broker_url=url))
    with (
        app.connection_for_write() as connection,
        pytest.raises(OperationalError) as refusal,
    ):
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=5)
    said = "".join(traceback.format_exception(refusal.value))
    said += "".join(str(vars(record)) for record in caplog.records)

    assert "hints are dropped" in said
    assert "canary" not in said
