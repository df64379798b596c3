"""Every program under a login of its own, in PostgreSQL and in Redis."""

import json
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from celery import Celery
from kombu.exceptions import OperationalError
from redis.backoff import NoBackoff
from redis.retry import Retry

from execution.diagnosis.codes import FindingCode
from execution.dispatcher import create_app
from execution.doctor import Doctor
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
OTHER = "least_privilege_unserved"
ONE = Plan("one", steps=[Step("a", "test.nothing")])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this module's own."""
    return tmp_path_factory.mktemp("least")


@pytest.fixture(scope="module")
def guarded(folder: Path) -> Iterator[GuardedRedis]:
    """A server with users."""
    with guarded_redis(folder / "redis", [NAME, OTHER]) as server:
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


@pytest.fixture
def operator(urls: dict[Role, str], guarded: GuardedRedis) -> Settings:
    """Settings of who looks after it all."""
    url = guarded.url_of("operator")
    return replace(
        settings_of(urls, guarded, Role.PRODUCER),
        database_url=urls[Role.PRODUCER].replace("producer", "operator"),
        broker_url=url,
        redis_url=url,
    )


def test_an_operator_asks_workers(operator: Settings, worker: WorkerProcess) -> None:
    # who asks for one by name has its answer as soon as that one gives it
    ask = ["inspect", "-t", "30", "-d", f"{worker.log.stem}@test", "ping"]
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "workers.app", *ask],
        env=build_environment(operator),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert (done.returncode, "pong" in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize("user", ["worker", "producer", "reader"])
def test_others_command_no_worker(
    guarded: GuardedRedis, worker: WorkerProcess, user: str
) -> None:
    app = create_app(Settings(broker_url=guarded.url_of(user)))

    with pytest.raises(OperationalError, match="permission"):
        app.control.broadcast("shutdown")

    assert worker.process.poll() is None


@pytest.mark.usefixtures("worker")
def test_the_doctor_sees_all_as_an_operator(
    operator: Settings, engine: ExecutionEngine
) -> None:
    assert engine.execute(ONE, timeout_seconds=60).is_success
    with closing(Doctor(operator, answer_seconds=30)) as doctor:
        diagnosis = doctor.examine(mends=False)

    found = {finding.code for finding in diagnosis.findings}
    assert not found & {
        FindingCode.BROKER_UNSEEN,
        FindingCode.WORKER_MUTE,
        FindingCode.POSTGRES_RIGHTS,
        FindingCode.HINTS_AWAY,
    }
    assert diagnosis.limits == ()


def test_the_doctor_mends_as_an_operator(
    operator: Settings, guarded: GuardedRedis
) -> None:
    # nobody serves its queue, and so nobody else sends it
    lonely = replace(operator, queue=OTHER)
    with ExecutionEngine(Installation(lonely, None)) as engine:
        execution_id = engine.submit(ONE)
        with redis.Redis.from_url(str(guarded.url_of("operator"))) as client:
            assert client.llen(OTHER) == 1
        with guarded.connect("worker") as client:
            client.delete(OTHER)
        with closing(Doctor(lonely)) as doctor:
            wait_until(lambda: doctor.examine(mends=True).done, what="it to be missed")
        with guarded.connect("worker") as client:
            assert client.llen(OTHER) == 1
        engine.cancel(execution_id)


@pytest.mark.usefixtures("worker")
def test_what_is_retried_in_flower_is_sent_by_a_worker(
    urls: dict[Role, str], guarded: GuardedRedis, caplog: pytest.LogCaptureFixture
) -> None:
    url = guarded.url_of("flower")
    settings = replace(
        settings_of(urls, guarded, Role.PRODUCER), broker_url=url, redis_url=url
    )
    plan = Plan("again", steps=[Step("a", "test.fail_until", with_={"attempt": 2})])
    with ExecutionEngine(Installation(settings, None)) as engine:
        execution_id = engine.submit(plan)
        failed = engine.wait(execution_id, timeout_seconds=60)
        assert failed.status is ExecutionStatus.FAILED

        assert engine.retry(execution_id, inputs={"a": {"attempt": 1}})

        assert engine.wait(execution_id, timeout_seconds=60).is_success
    said = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("messages were not sent") for line in said)
    assert not any("hints are dropped" in line for line in said)


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
            target=lambda: receiver.capture(limit=None, timeout=60, wakeup=True),
            daemon=True,
        )
        thread.start()
        wait_until(lambda: "worker-heartbeat" in heard, what="a heartbeat")
        assert app.control.inspect(timeout=60, limit=1).ping()
        receiver.should_stop = True
        thread.join(10)


def test_hints_reach_a_reader(guarded: GuardedRedis) -> None:
    subscription = EventSubscription(guarded.url_of("reader"), "inst", "exec")
    subscription.open()
    with closing(subscription), guarded.connect("worker") as worker:
        hint = Hint("exec", 3, is_last=True)
        worker.publish(name_channel("inst", "exec"), json.dumps(vars(hint)))

        assert subscription.wait(60) == hint


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
        "PUBLISH /0.celery.pidbox x",
        "BRPOP id.reply.celery.pidbox 1",
        "LPUSH host.celery.pidbox x",
        f"LRANGE {NAME} 0 -1",
        "INFO",
        "ACL LOAD",
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
        "PUBLISH /0.celery.pidbox x",
        "SUBSCRIBE /0.celery.pidbox",
        "BRPOP id.reply.celery.pidbox 1",
        "SMEMBERS _kombu.binding.reply.celery.pidbox",
        f"DEL _kombu.binding.{NAME}",
        f"SREM _kombu.binding.{NAME} x",
        "INFO",
        "EVAL return(1) 0",
        "ACL LOAD",
    ],
    "operator": [
        "FLUSHALL",
        "KEYS *",
        "CONFIG GET save",
        f"BRPOP {NAME} 1",
        f"RPOP {NAME}",
        f"DEL {NAME}",
        "LRANGE other_queue 0 -1",
        "LPUSH id.reply.celery.pidbox x",
        "SUBSCRIBE /0.celery.pidbox",
        "PUBLISH /0.celeryev/worker.offline x",
        "ACL LOAD",
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
        "INFO",
        "BRPOP celeryev.id 1",
        "LPUSH id.reply.celery.pidbox x",
        "SUBSCRIBE /0.celery.pidbox",
        "PUBLISH /0.celeryev/worker.offline x",
        f"LRANGE {NAME} 0 -1",
    ],
    "health": [
        "ACL LIST",
        "ACL SETUSER x",
        "GET x",
        "LLEN plans",
        "INFO",
        "SUBSCRIBE plans:x",
    ],
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
