"""PostgreSQL, Redis and RabbitMQ under TLS: reached when they prove who they are."""

import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from kombu.connection import Connection
from kombu.exceptions import OperationalError
from redis.backoff import NoBackoff
from redis.retry import Retry

from execution.database import Database, DatabaseUnavailableError
from execution.dispatcher import create_app
from execution.engine import ExecutionEngine
from execution.events import EventSubscription, ExecutionEventEmitter, Hint
from execution.installation import Installation
from execution.local import LocalStack
from execution.plan import Plan, Step
from execution.settings import Settings
from execution.states import ExecutionStatus
from tests.own_postgres import PASSWORD, USER, find_installed_postgres, run_postgres
from tests.polling import wait_until
from tests.redis_users import find_free_port
from tests.tls import Authority, TlsDoor
from tests.worker_process import WorkerProcess

RABBITMQ = ("127.0.0.1", 5672)
ONCE = Retry(NoBackoff(), 0)
OTHER_NAME = "db.other.example"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this module's own."""
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    """Who certifies the servers."""
    return Authority(folder / "ours")


@pytest.fixture(scope="module")
def stranger(folder: Path) -> Authority:
    """Who certifies them, too, and is not believed."""
    return Authority(folder / "strangers")


@pytest.fixture(scope="module")
def postgres_socket(stack: LocalStack) -> str:
    """Where PostgreSQL listens in the clear."""
    assert stack.postgres is not None
    return str(stack.postgres.socket)


@pytest.fixture(scope="module")
def valkey_socket(stack: LocalStack) -> str:
    """Where Valkey does."""
    assert stack.valkey is not None
    return str(stack.valkey.socket)


@pytest.fixture(scope="module")
def secured(
    settings: Settings, authority: Authority, postgres_socket: str, valkey_socket: str
) -> Iterator[Settings]:
    """Settings of which every server is behind TLS, as an environment gives them."""
    proof = authority.certify("localhost", "127.0.0.1")
    with (
        TlsDoor(postgres_socket, proof, asks_first=True) as database,
        TlsDoor(valkey_socket, proof) as cache,
    ):
        given = Settings.from_environment(
            {
                "PLANS_TLS_CA": str(authority.file),
                "PLANS_DATABASE_URL": f"postgresql://plans@localhost:{database.port}"
                "/plans?sslmode=verify-full",
                "PLANS_BROKER_URL": f"rediss://localhost:{cache.port}/0",
            }
        )
        yield replace(
            settings,
            database_url=given.database_url,
            broker_url=given.broker_url,
            redis_url=given.events_url,
            tls_ca=given.tls_ca,
        )


def test_engine_worker_and_hints_work_through_tls(secured: Settings) -> None:
    plan = Plan("private", steps=[Step("a", "test.nothing")])
    with (
        WorkerProcess.start(secured, slots=1) as worker,
        ExecutionEngine(Installation(secured, None)) as engine,
    ):
        result = engine.execute(plan, timeout_seconds=60)
        log = worker.log.read_text()

    assert result.status is ExecutionStatus.COMPLETED
    # what Celery says where it believes everybody
    assert "insecure" not in log
    assert "hints are dropped" not in log


def test_hints_travel_through_tls(secured: Settings) -> None:
    emitter = ExecutionEventEmitter(secured.events_url, "tls")
    subscription = EventSubscription(secured.events_url, "tls", "one")
    with closing(subscription), closing(emitter):
        subscription.open()
        emitter.emit("one", 4, is_last=True)

        assert subscription.wait(60) == Hint("one", 4, is_last=True)


@pytest.fixture(params=["another authority", "another name"])
def impostor(
    request: pytest.FixtureRequest, authority: Authority, stranger: Authority
) -> tuple[Authority, str]:
    """Who has certified a server, and the name that it has."""
    if request.param == "another name":
        return authority, OTHER_NAME
    return stranger, "localhost"


def test_a_database_that_is_another_is_not_spoken_to(
    impostor: tuple[Authority, str], authority: Authority, postgres_socket: str
) -> None:
    proof = impostor[0].certify(impostor[1])
    with TlsDoor(postgres_socket, proof, asks_first=True) as door:
        url = (
            f"postgresql://plans:canary@localhost:{door.port}/plans?sslmode=verify-full"
        )
        settings = read(authority, PLANS_DATABASE_URL=url)
        database = Database(str(settings.database_url), "public")
        with pytest.raises(DatabaseUnavailableError, match="certificate") as refusal:
            database.query("SELECT 1")

    assert "canary" not in str(refusal.value)


def test_a_redis_that_is_another_is_not_spoken_to(
    impostor: tuple[Authority, str], authority: Authority, valkey_socket: str
) -> None:
    with TlsDoor(valkey_socket, impostor[0].certify(impostor[1])) as door:
        url = f"rediss://:canary@localhost:{door.port}/0"
        settings = read(authority, PLANS_BROKER_URL=url)

        with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            redis.Redis.from_url(str(settings.events_url), retry=ONCE).ping()
        with pytest.raises(OperationalError, match="CERTIFICATE_VERIFY_FAILED"):
            connect_to_broker(settings)


@pytest.fixture(scope="module")
def own_postgres(folder: Path, authority: Authority) -> Iterator[int]:
    """The port of a PostgreSQL that speaks TLS by itself, and nothing else."""
    own = folder / "postgres"
    own.mkdir()
    proof = authority.write_certificate("localhost")
    with run_postgres(find_installed_postgres(), own, proof) as (port, _):
        yield port


def ask_own_postgres(authority: Authority, address: str, query: str) -> bool:
    """Say whether the server holds that it was asked under TLS."""
    url = f"postgresql://{USER}:{PASSWORD}@{address}/postgres{query}"
    settings = read(authority, PLANS_DATABASE_URL=url)
    with closing(Database(str(settings.database_url), "public")) as database:
        (seen,) = database.query(
            "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        )
    return bool(seen["ssl"])


def test_a_postgresql_that_speaks_tls_by_itself_is_reached(
    own_postgres: int, authority: Authority
) -> None:
    assert ask_own_postgres(
        authority, f"localhost:{own_postgres}", "?sslmode=verify-full"
    )


def test_a_postgresql_that_is_another_gets_no_password(
    own_postgres: int, authority: Authority, stranger: Authority
) -> None:
    query = "?sslmode=verify-full"
    for asking, host, reason in (
        (stranger, "localhost", "certificate verify failed"),
        (authority, "127.0.0.1", "does not match host name"),
    ):
        with pytest.raises(DatabaseUnavailableError, match=reason) as refusal:
            ask_own_postgres(asking, f"{host}:{own_postgres}", query)
        assert PASSWORD not in str(refusal.value)


def test_a_postgresql_that_wants_tls_is_not_spoken_to_in_the_clear(
    own_postgres: int, authority: Authority
) -> None:
    with pytest.raises(DatabaseUnavailableError, match="no encryption"):
        ask_own_postgres(authority, f"localhost:{own_postgres}", "?sslmode=disable")


@pytest.fixture(scope="module")
def rabbitmq() -> tuple[str, int]:
    """A RabbitMQ of this machine."""
    try:
        with Connection("amqp://guest:guest@127.0.0.1//") as connection:  # type: ignore[no-untyped-call]  # kombu ships no types
            connection.ensure_connection(max_retries=1, timeout=3)
    except (OperationalError, OSError):
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            "no RabbitMQ runs here"
        )
    return RABBITMQ


def test_rabbitmq_is_reached_through_tls(
    rabbitmq: tuple[str, int], authority: Authority
) -> None:
    # the library takes that name for this number
    with TlsDoor(rabbitmq, authority.certify("localhost", "127.0.0.1")) as door:
        url = f"amqps://guest:guest@localhost:{door.port}//"

        connect_to_broker(read(authority, PLANS_BROKER_URL=url))


def test_a_rabbitmq_that_is_another_is_not_spoken_to(
    rabbitmq: tuple[str, int], impostor: tuple[Authority, str], authority: Authority
) -> None:
    with TlsDoor(rabbitmq, impostor[0].certify(impostor[1])) as door:
        url = f"amqps://guest:guest@localhost:{door.port}//"
        with pytest.raises(OperationalError, match="CERTIFICATE_VERIFY_FAILED"):
            connect_to_broker(read(authority, PLANS_BROKER_URL=url))


def test_a_redis_that_speaks_tls_by_itself_is_reached(
    authority: Authority, folder: Path
) -> None:
    program = shutil.which("redis-server")
    if program is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            "redis-server is not installed"
        )
    port, (chain, key) = find_free_port(), authority.write_certificate("localhost")
    options = {"port": 0, "tls-port": port, "tls-auth-clients": "no", "save": ""}
    options |= {"tls-cert-file": chain, "tls-key-file": key, "dir": folder}
    options |= {"tls-ca-cert-file": authority.file, "bind": "127.0.0.1"}
    command = [str(p) for pair in options.items() for p in (f"--{pair[0]}", pair[1])]
    server = subprocess.Popen([program, *command], stdout=subprocess.DEVNULL)
    url = f"rediss://localhost:{port}/0"
    settings = read(authority, PLANS_BROKER_URL=url)

    def answers() -> bool:
        if server.poll() is not None:
            pytest.skip("redis-server was built without TLS")
        try:
            redis.Redis.from_url(str(settings.events_url), retry=ONCE).ping()
        except redis.ConnectionError:
            return False
        return True

    try:
        wait_until(answers, what="Redis to listen")
        connect_to_broker(settings)
    finally:
        server.terminate()
        server.wait(60)


def read(authority: Authority, **given: str) -> Settings:
    """Return settings whose servers are certified by an authority."""
    return Settings.from_environment({"PLANS_TLS_CA": str(authority.file), **given})


def connect_to_broker(settings: Settings) -> None:
    """Connect as workers and producers do; raise what comes of it."""
    logging.getLogger("amqp").setLevel(logging.CRITICAL)
    with create_app(settings).connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=5)
