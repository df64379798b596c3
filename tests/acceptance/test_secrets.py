"""A secret reaches its action and nothing that is kept: a canary is searched for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from execution import ExecutionEngine, Plan, Settings, Step
from execution.database import Database
from execution.errors import ErrorCode
from tests.worker_process import WorkerProcess

CANARY = 'canary-"7Jq\\ü'
RESOLVED = "resolved-4Kd9x"


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
        "PLANS_SECRETS_DIR": str(folder),
        "PLANS_SECRET_RESOLVER": "tests.acceptance.test_secrets:resolve",
    }
    with WorkerProcess.start(settings, environment=environment) as started:
        yield started


def using(ledger: Path, name: str, **fields: object) -> Step:
    inputs = {
        "ledger": str(ledger),
        "token": f"secret://{name}",
        "nested": {"list": ["secret://from-vault", "${parameters.text}"]},
    }
    retry = {"attempts": 2, "initial": "1ms"}
    return Step("use", action="test.use_secret", with_=inputs, retry=retry)


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
        plan_of(using(ledger, name)), {"text": "secret://TOKEN"}, timeout_seconds=30
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


@pytest.mark.usefixtures("worker")
def test_a_result_that_is_used_again_has_a_secret_by_its_name(
    engine: ExecutionEngine, settings: Settings, database: Database
) -> None:
    rule = {"ttl": "1h"}
    step = Step("a", "test.echo", {"value": "secret://TOKEN"}, cache=rule)
    plan = Plan("p", steps=[step])

    results = [engine.execute(plan, timeout_seconds=30) for _ in range(2)]

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
    result = engine.execute(plan_of(using(ledger, name)), timeout_seconds=30)

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
