"""A secret reaches its action and nothing that is kept: a canary is searched for."""

import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from typer.testing import CliRunner

from execution import ExecutionEngine, Plan, Settings, Step
from execution.cli.app import app
from execution.database import Database
from execution.errors import ErrorCode
from execution.local import LocalStack
from execution.local.binaries import find_postgres
from tests.own_postgres import USER, run_postgres
from tests.polling import wait_until
from tests.proxy import Proxy
from tests.worker_process import ROOT, WorkerProcess, build_environment

Urls = dict[str, str]

CANARY = 'canary-"7Jq\\ü'
RESOLVED = "resolved-4Kd9x"
PRINTED = "printed-5Wq2z"


def resolve(name: str) -> str | None:
    """Be the resolver of the worker."""
    if name == "BROKEN":
        raise ConnectionError("the vault is closed")
    return RESOLVED if name == "from-vault" else None


@pytest.fixture(scope="module")
def worker(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerProcess]:
    """A worker with secrets of every source."""
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "in.file").write_text(CANARY + "\n")
    environment = {
        "PLANS_SECRET_TOKEN": CANARY,
        "PLANS_SECRET_PRINTED": PRINTED,
        "PLANS_SECRETS_DIR": str(folder),
        "PLANS_SECRET_RESOLVER": "tests.acceptance.test_secrets:resolve",
    }
    with WorkerProcess.start(settings, environment=environment) as started:
        yield started


def using(ledger: Path, name: str, **fields: Any) -> Step:
    inputs = {
        "ledger": str(ledger),
        "token": f"secret://{name}",
        "nested": {"list": ["secret://from-vault", "${parameters.text}"]},
    }
    retry = {"attempts": 2, "initial": "1ms"}
    return Step("use", "test.use_secret", inputs, retry=retry, **fields)


def plan_of(step: Step) -> Plan:
    return Plan("p", steps=[step], parameters={"text": {"type": "string"}})


def find_kept(database: Database, settings: Settings, text: str) -> list[str]:
    """Return the tables and keys that hold a text."""
    assert settings.redis_url is not None
    tables = database.query(
        "SELECT relname FROM pg_class WHERE relkind = 'r'"
        " AND relnamespace = to_regnamespace(%s)",
        (settings.schema,),
    )
    names = [row["relname"] for row in tables]
    assert len(names) > 10
    kept = []
    for name in names:
        statement = f"SELECT t::text AS row FROM {{schema}}.{name} t"  # noqa: S608  # a table of ours
        rows = database.query(statement)
        kept += [name for row in rows if text in row["row"].replace('""', '"')]
    with redis.Redis.from_url(settings.redis_url) as client:
        for key in client.scan_iter("*"):
            if text.encode() in (client.dump(key) or b"") + key:
                kept.append(str(key))
    return kept


@pytest.mark.parametrize("name", ["TOKEN", "in.file"])
def test_a_secret_is_kept_nowhere(
    engine: ExecutionEngine,
    settings: Settings,
    database: Database,
    worker: WorkerProcess,
    ledger: Path,
    name: str,
) -> None:
    result = engine.execute(
        plan_of(using(ledger, name)), {"text": "secret://TOKEN"}, timeout_seconds=60
    )

    given = f"{CANARY} {[RESOLVED, 'secret://TOKEN']}"
    assert ledger.read_text() == f"1 {given}\n2 {given}\n"
    mark = f"secret://{name}"
    assert result.unwrap() == {
        "url": f"https://example.org/?token={mark}",
        mark: [mark],
    }
    (failed,) = (
        e for e in engine.list_events(result.execution_id) if e.type == "step.retrying"
    )
    assert failed.data["error"]["message"] == f"ValueError: refused '{mark}'"
    assert f"KeyError: 'inner: {mark}'" in failed.data["error"]["context"]["traceback"]
    log = worker.log.read_text()
    assert f"calling with {mark}" in log
    assert f"KeyError: 'inner: {mark}'" in log
    assert {"execution_steps", "step_attempts", "execution_logs"} <= set(
        find_kept(database, settings, mark)
    )
    for part in ("canary-", "7Jq", RESOLVED):
        assert find_kept(database, settings, part) == []
        assert part not in log
    inputs = database.query(
        "SELECT input FROM {schema}.execution_steps WHERE execution_id = %s",
        (result.execution_id,),
    )
    assert inputs[0]["input"]["token"] == mark


def test_a_secret_that_is_printed_or_logged_is_not_stored(
    engine: ExecutionEngine,
    settings: Settings,
    database: Database,
    worker: WorkerProcess,
) -> None:
    inputs = {"word": "secret://PRINTED"}
    plan = Plan("p", steps=[Step("a", "test.tell", inputs)])

    result = engine.execute(plan, timeout_seconds=60)

    lines = engine.list_logs(result.execution_id)
    assert len(lines) == 6
    assert all(line.message.startswith("secret://PRINTED ") for line in lines)
    assert find_kept(database, settings, PRINTED) == []
    # what the code itself writes there is the code's own affair
    assert f"{PRINTED} to people" in worker.log.read_text()


@pytest.mark.usefixtures("worker")
def test_a_result_that_is_used_again_has_a_secret_by_its_name(
    engine: ExecutionEngine, settings: Settings, database: Database
) -> None:
    rule = {"ttl": "1h"}
    step = Step("a", "test.echo", {"value": "secret://TOKEN"}, cache=rule)
    plan = Plan("p", steps=[step])

    results = [engine.execute(plan, timeout_seconds=60) for _ in range(2)]

    assert [result.unwrap() for result in results] == ["secret://TOKEN"] * 2
    assert "cached_results" in find_kept(database, settings, "secret://TOKEN")
    assert find_kept(database, settings, "canary-") == []


@pytest.mark.parametrize(
    ("name", "message", "attempts"),
    [
        ("NONE", "SecretError: there is no secret NONE: PLANS_SECRET_NONE is not", 1),
        ("BROKEN", "attempt 2 of 2 failed: ConnectionError: the vault is closed", 2),
    ],
)
@pytest.mark.usefixtures("worker")
def test_a_secret_that_is_not_to_be_had_fails_the_step(
    engine: ExecutionEngine, ledger: Path, name: str, message: str, attempts: int
) -> None:
    result = engine.execute(plan_of(using(ledger, name)), timeout_seconds=60)

    (step,) = engine.list_steps(result.execution_id)
    assert step.error is not None
    assert step.error.message.startswith(message)
    assert step.error.code in {ErrorCode.EXECUTION, ErrorCode.RETRY_EXHAUSTED}
    assert step.attempt == attempts
    assert ledger.read_text() == ""


def test_a_worker_with_a_wrong_resolver_does_not_start(settings: Settings) -> None:
    environment = {"PLANS_SECRET_RESOLVER": "tests.acceptance.test_secrets:nope"}

    with pytest.raises(AssertionError, match=r"PLANS_SECRET_RESOLVER='tests\.accept"):
        WorkerProcess.start(settings, environment=environment)


# the words of which a mask leaves none
LOGINS = ("dbpw-7Hq3", "brokerpw-2Xn8", "eventspw-9Lw4")


@pytest.fixture
def guarded_urls(stack: LocalStack, tmp_path: Path) -> Iterator[tuple[Proxy, Urls]]:
    """Files with URLs of servers behind a proxy, each with a password of its own."""
    assert stack.postgres is not None
    assert stack.valkey is not None
    with (
        Proxy(str(stack.postgres.socket)) as database,
        Proxy(str(stack.valkey.socket)) as cache,
    ):
        urls = {
            "PLANS_DATABASE_URL": f"postgresql://plans:{LOGINS[0]}@127.0.0.1"
            f":{database.port}/plans",
            "PLANS_BROKER_URL": f"redis://default:{LOGINS[1]}@127.0.0.1:{cache.port}/0",
            "PLANS_REDIS_URL": f"redis://default:{LOGINS[2]}@127.0.0.1:{cache.port}/0",
        }
        given: Urls = {}
        for name, url in urls.items():
            file = tmp_path / name
            file.write_text(f"{url}\n")
            given |= {name: "", f"{name}_FILE": str(file)}
        yield cache, given


def test_passwords_of_servers_are_told_and_kept_nowhere(
    engine: ExecutionEngine,
    settings: Settings,
    database: Database,
    ledger: Path,
    guarded_urls: tuple[Proxy, Urls],
) -> None:
    cache, given = guarded_urls
    step = using(ledger, "TOKEN", queue="guarded")
    given["PLANS_SECRET_TOKEN"] = CANARY
    given["PLANS_SECRET_RESOLVER"] = "tests.acceptance.test_secrets:resolve"  # noqa: S105  # its name
    heard: list[bytes] = []
    with (
        listening_to_everything(settings, heard),
        WorkerProcess.start(
            replace(settings, queue="guarded"), slots=1, environment=given
        ) as worker,
    ):
        engine.submit(plan_of(step), {"text": "x"})
        cache.refuse()
        said = run_commands({**worker.environment, "PLANS_BROKER_URL_FILE": ""}, CLOSED)
        cache.admit()
        wait_until(lambda: "2 " in ledger.read_text(), what="the second attempt")
        said += run_commands(worker.environment, {})
        lines = [Path(f"/proc/{pid}/cmdline") for pid in psutil.pids()]
        said += [line.read_text(errors="replace") for line in lines if line.exists()]
        said += [Path(f"/proc/{p}/environ").read_text() for p in worker.list_children()]
        said.append(worker.log.read_text())
        said += [message.decode(errors="replace") for message in heard]

    assert heard
    assert "Connection refused" in "".join(said)
    for password in LOGINS:
        assert find_kept(database, settings, password) == []
        assert not [text for text in said if password in text]


WRONG = "wrongpw-3Zt6"


def test_a_wrong_password_of_the_database_is_told_nowhere(
    settings: Settings, tmp_path: Path
) -> None:
    with run_postgres(find_postgres(), tmp_path) as (port, log):
        url = f"postgresql://{USER}:{WRONG}@127.0.0.1:{port}/postgres"
        environment = build_environment(replace(settings, database_url=url))
        said = run_commands(environment, {})
        said.append(run_worker_until(REFUSED, environment, tmp_path / "worker.log"))
        said.append(log.read_text())

    assert all(REFUSED in text for text in said[-2:])
    assert REFUSED in "".join(said[:-2])
    assert not [text for text in said if WRONG in text]


REFUSED = "password authentication failed for user"


def run_worker_until(words: str, environment: Mapping[str, str], log: Path) -> str:
    """Return what a worker has said when it says that, and kill it."""
    command = [sys.executable, "-P", "-m", "execution.celery.standalone", "worker"]
    command += ["--without-gossip", "--without-mingle"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "-c", "1", "-l", "DEBUG", "-Q", "refused"],
            cwd=ROOT,
            env=dict(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: words in log.read_text(), what=words, timeout_seconds=60)
    finally:
        process.kill()
        process.wait(10)
    return log.read_text()


CLOSED = {
    "PLANS_DATABASE_URL": f"postgresql://plans:{LOGINS[0]}@127.0.0.1:1/plans",
    "PLANS_DATABASE_URL_FILE": "",
    "PLANS_BROKER_URL": f"redis://default:{LOGINS[1]}@127.0.0.1:1/0",
}


def run_commands(
    environment: Mapping[str, str], changed: Mapping[str, str]
) -> list[str]:
    """Return what commands say that reach for every server, well or badly."""
    said = []
    for command in (["list"], ["workers"], ["doctor"]):
        done = CliRunner().invoke(app, command, env={**environment, **changed})
        said.append(f"{done.output} {done.stderr}")
        if done.exc_info is not None:
            said += traceback.format_exception(*done.exc_info)
    return said


@contextmanager
def listening_to_everything(settings: Settings, heard: list[bytes]) -> Iterator[None]:
    """Note every message of every channel, at the end of the block."""
    with (
        redis.Redis.from_url(str(settings.redis_url)) as client,
        client.pubsub(ignore_subscribe_messages=True) as everything,
    ):
        everything.psubscribe("*")
        yield
        # those of before it; the first answer is that of the subscription
        everything.get_message(timeout=1)
        while message := everything.get_message(timeout=0.2):
            heard.append(message["data"])
