"""`plans doctor` about servers: away, set up otherwise, of another release.

Servers go away through a proxy. What only a server's owner may change is changed for a
role, a schema or a Valkey that nobody else uses.
"""

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest
import redis
from celery import Celery
from typer.testing import CliRunner, Result

from execution import ExecutionEngine, Plan, Settings
from execution.cli.app import app as commands
from execution.cli.exits import ExitCode
from execution.diagnosis.codes import FindingCode, FindingSeverity
from execution.diagnosis.findings import Finding
from execution.doctor import Diagnosis, Doctor
from execution.local import LocalStack
from execution.redis_facts import look_at_redis
from execution.schema import downgrade, upgrade
from execution.sql import SCHEMA_REVISION
from execution.sql.grants import Role
from tests.acceptance.test_rabbitmq import open_rabbit
from tests.conftest import remove_stack
from tests.integration.test_protocol import nothing
from tests.polling import wait_until
from tests.proxy import Proxy
from tests.roles import make_installation
from tests.worker_process import build_environment

SECRET = "hunter2"  # noqa: S105  # of nobody


def examine(settings: Settings, app: Celery | None = None) -> Diagnosis:
    with closing(Doctor(settings, app, answer_seconds=0.1)) as doctor:
        return doctor.examine()


def only(diagnosis: Diagnosis, code: FindingCode) -> Finding:
    (found,) = [finding for finding in diagnosis.findings if finding.code is code]
    return found


def codes(diagnosis: Diagnosis) -> set[FindingCode]:
    return {finding.code for finding in diagnosis.findings}


def call(settings: Settings, *options: str) -> Result:
    """Run the command with these settings in its environment."""
    environment = build_environment(settings)
    return CliRunner().invoke(commands, ["doctor", *options], env=environment)


@pytest.fixture
def behind_proxies(stack: LocalStack, settings: Settings) -> Iterator[Settings]:
    """The same servers at ports that refuse, with a password in each URL."""
    assert stack.postgres is not None
    assert stack.valkey is not None
    with (
        Proxy(str(stack.postgres.socket)) as postgres,
        Proxy(str(stack.valkey.socket)) as valkey,
    ):
        postgres.refuse()
        valkey.refuse()
        yield replace(
            settings,
            database_url=f"postgresql://plans:{SECRET}@127.0.0.1:{postgres.port}/plans",
            broker_url=f"redis://:{SECRET}@127.0.0.1:{valkey.port}/0",
            redis_url=f"redis://:{SECRET}@127.0.0.1:{valkey.port}/0",
        )


# away


@pytest.mark.parametrize("options", [(), ("--fix",)])
def test_postgresql_that_is_away_is_found_and_the_broker_looked_at(
    settings: Settings, behind_proxies: Settings, options: tuple[str, ...]
) -> None:
    away = replace(settings, database_url=behind_proxies.database_url)

    answer = call(away, "--json", *options)

    found = json.loads(answer.stdout)
    assert answer.exit_code == ExitCode.UNAVAILABLE
    assert [one["code"] for one in found["findings"]] == ["postgres-away"]
    assert "PostgreSQL is not available" in found["findings"][0]["seen"]
    assert found["limits"] == [
        "workers, queues and steps were not looked at: PostgreSQL is away"
    ]
    assert SECRET not in answer.output


def test_a_broker_that_is_away_is_found_and_steps_are_looked_at(
    settings: Settings, behind_proxies: Settings, engine: ExecutionEngine
) -> None:
    away = replace(settings, broker_url=behind_proxies.broker_url)
    execution_id = engine.submit(nothing_plan())

    answer = call(away)

    assert answer.exit_code == ExitCode.UNAVAILABLE
    for words in ("broker-away", "queue-unserved", execution_id, "the broker is away"):
        assert words in answer.stdout
    assert SECRET not in answer.output
    engine.cancel(execution_id)


def test_all_that_is_away_is_found_at_once(behind_proxies: Settings) -> None:
    answer = call(behind_proxies)

    assert answer.exit_code == ExitCode.UNAVAILABLE
    for word in ("postgres-away", "broker-away", "hints-away"):
        assert word in answer.stdout
    assert SECRET not in answer.output


def nothing_plan() -> Plan:
    return Plan("nothing", steps=[nothing("one")])


def test_a_broker_that_hangs_is_not_waited_for(
    stack: LocalStack, settings: Settings
) -> None:
    assert stack.valkey is not None
    with Proxy(str(stack.valkey.socket)) as valkey:
        url = f"redis://127.0.0.1:{valkey.port}/0"
        app = Celery(broker=url, set_as_current=False)
        app.conf.broker_transport_options = {"socket_timeout": 0.2}
        valkey.swallow()

        diagnosis = examine(replace(settings, broker_url=url), app)

    assert FindingCode.BROKER_AWAY in codes(diagnosis)


def test_hints_that_are_away_are_a_warning(
    settings: Settings, behind_proxies: Settings
) -> None:
    away = replace(settings, redis_url=behind_proxies.redis_url)

    found = only(examine(away), FindingCode.HINTS_AWAY)

    assert found.severity is FindingSeverity.WARNING


def test_a_redis_without_a_password_that_needs_one_is_away() -> None:
    with own_valkey() as (urls, client):
        client.config_set("requirepass", SECRET)

        found = only(examine(urls), FindingCode.BROKER_AWAY)

        assert "Authentication required" in found.seen


# PostgreSQL


def run_as_superuser(stack: LocalStack, *statements: str) -> None:
    url = str(stack.urls.database_url).replace("+psycopg2", "")
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


@pytest.fixture
def stranger(stack: LocalStack, settings: Settings) -> Iterator[Settings]:
    """Settings of a role that lacks all rights, and whose defaults are no good."""
    run_as_superuser(
        stack,
        "CREATE ROLE stranger LOGIN CONNECTION LIMIT 1",
        "ALTER ROLE stranger SET default_transaction_isolation = 'serializable'",
        "ALTER ROLE stranger SET default_transaction_read_only = on",
        "ALTER ROLE stranger SET synchronous_commit = off",
        "ALTER ROLE stranger SET idle_session_timeout = '1h'",
    )
    url = str(settings.database_url).replace("plans@", "stranger@")
    yield replace(settings, database_url=url)
    run_as_superuser(stack, "DROP ROLE stranger")


def test_a_role_that_could_do_nothing_is_told_of_each_reason(
    stranger: Settings,
) -> None:
    diagnosis = examine(stranger)

    rights = only(diagnosis, FindingCode.POSTGRES_RIGHTS)
    assert rights.fix == f"GRANT USAGE ON schema {stranger.schema} TO stranger"
    assert codes(diagnosis) >= {
        FindingCode.POSTGRES_ISOLATION,
        FindingCode.POSTGRES_READ_ONLY,
        FindingCode.POSTGRES_ASYNCHRONOUS,
        FindingCode.POSTGRES_CUTS,
        FindingCode.POSTGRES_FULL,
        # the servers of tests do without, for speed
        FindingCode.POSTGRES_NOT_DURABLE,
    }
    assert only(diagnosis, FindingCode.POSTGRES_FULL).seen.startswith("1 of 1 ")


def test_a_role_that_may_only_read_is_told_what_it_cannot_write(
    stack: LocalStack, stranger: Settings
) -> None:
    schema = stranger.schema
    run_as_superuser(
        stack,
        f"GRANT USAGE ON SCHEMA {schema} TO stranger",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO stranger",
    )
    try:
        found = only(examine(stranger), FindingCode.POSTGRES_RIGHTS)
    finally:
        run_as_superuser(stack, "DROP OWNED BY stranger")

    assert f"INSERT on {schema}.executions" in found.seen
    assert "SELECT" not in found.seen


def test_a_host_whose_clock_is_behind_is_found(settings: Settings) -> None:
    with closing(Doctor(settings, now=lambda: time.time() - 10)) as doctor:
        diagnosis = doctor.examine()

    for code in (FindingCode.POSTGRES_CLOCK, FindingCode.BROKER_CLOCK):
        assert "10.0 s ahead of this host" in only(diagnosis, code).seen


def test_every_role_of_ours_may_look_and_a_worker_may_mend(
    stack: LocalStack, settings: Settings, tmp_path: Path
) -> None:
    superuser_url = str(stack.urls.database_url)
    urls = make_installation(superuser_url, "doctor_of_roles", tmp_path / "passwords")
    for role in (Role.WORKER, Role.PRODUCER, Role.READER):
        named = replace(settings, database_url=urls[role], schema="doctor_of_roles")
        with closing(Doctor(named)) as doctor:
            diagnosis = doctor.examine(mends=role is Role.WORKER)

        assert FindingCode.POSTGRES_RIGHTS not in codes(diagnosis), role
        assert FindingCode.NO_WORKER in codes(diagnosis), role
        assert diagnosis.limits == (), role


def test_who_may_not_mend_is_told_so(stack: LocalStack, settings: Settings) -> None:
    schema = settings.schema
    run_as_superuser(
        stack,
        "CREATE ROLE onlooker LOGIN",
        f"GRANT USAGE ON SCHEMA {schema} TO onlooker",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO onlooker",
    )
    url = str(settings.database_url).replace("plans@", "onlooker@")
    try:
        answer = call(replace(settings, database_url=url), "--fix")
    finally:
        run_as_superuser(stack, "DROP OWNED BY onlooker", "DROP ROLE onlooker")

    assert "not all could be mended: PostgreSQL refused: permission" in answer.stdout
    assert "nothing done" not in answer.stdout


# the schema


@contextmanager
def own_schema(settings: Settings, *statements: str) -> Iterator[Settings]:
    """Make a schema of this release, and do something to it."""
    named = replace(settings, schema="doctor_of_another")
    upgrade(str(named.database_url), named.schema)
    url = str(named.database_url).replace("+psycopg2", "")
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(f"SET search_path TO {named.schema}")
            cursor.execute(statement)
        connection.commit()
        yield named
        cursor.execute(f"DROP SCHEMA {named.schema} CASCADE")
        connection.commit()


def test_a_schema_that_is_missing_is_found(settings: Settings) -> None:
    diagnosis = examine(replace(settings, schema="nowhere"))

    assert only(diagnosis, FindingCode.SCHEMA_MISSING).fix == "plans db upgrade"
    assert any("the schema does not fit" in limit for limit in diagnosis.limits)


def test_a_schema_of_another_release_is_found(settings: Settings) -> None:
    digest = "UPDATE installation SET functions_digest = 'other'"
    with own_schema(settings, digest) as named:
        differing = examine(named)
    with own_schema(
        settings, "UPDATE alembic_version SET version_num = '9999'"
    ) as named:
        newer = examine(named)
    with own_schema(settings) as named:
        older_revision = f"{int(SCHEMA_REVISION) - 1:04}"
        downgrade(str(named.database_url), named.schema, revision=older_revision)
        older = examine(named)

    assert only(differing, FindingCode.FUNCTIONS_DIFFER).fix == "plans db upgrade"
    assert "revision 9999" in only(newer, FindingCode.SCHEMA_NEWER).seen
    assert f"revision {older_revision}" in only(older, FindingCode.SCHEMA_OLDER).seen


# the broker


@contextmanager
def own_valkey() -> Iterator[tuple[Settings, redis.Redis]]:
    """Give settings with a Valkey of our own and no PostgreSQL, and a client."""
    home = Path(tempfile.mkdtemp(prefix="plans-doctor-"))
    with LocalStack.start(home, postgres=False) as stack:
        settings = Settings(
            database_url="postgresql://nobody@127.0.0.1:1/none",
            broker_url=stack.urls.broker_url,
            redis_url=stack.urls.redis_url,
        )
        with redis.Redis.from_url(str(stack.urls.redis_url)) as client:
            yield settings, client
    remove_stack(stack, home)


def test_a_redis_that_is_set_up_otherwise_is_found() -> None:
    with own_valkey() as (settings, client):
        before = codes(examine(settings))
        client.config_set("appendonly", "no")
        client.config_set("save", "")
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", int(client.info()["used_memory"]) + 100_000)
        client.replicaof("127.0.0.1", 1)
        after = codes(examine(settings))

    assert before == {FindingCode.POSTGRES_AWAY}
    assert after - before == {
        FindingCode.BROKER_FORGETS,
        FindingCode.BROKER_EVICTS,
        FindingCode.BROKER_FULL,
        FindingCode.BROKER_REPLICA,
    }


def test_a_redis_that_says_little_is_looked_at_as_far_as_it_does() -> None:
    with own_valkey() as (settings, client):
        let_in(client, "shy", "-info", "-time", "-config", "-lrange")
        let_in(client, "shyer", "-llen", "-hscan")
        shy = examine(name_user(settings, "shy"))
        named = name_user(settings, "shyer")
        # an app of somebody's own, which lets Redis keep what is in hand
        app = Celery(broker=named.broker_url, set_as_current=False)
        shyer = examine(named, app)

    for word in ("INFO", "TIME", "messages of the queue plans"):
        assert word in describe_unseen(shy)
    for word in ("the queue plans", "what is in hand"):
        assert word in describe_unseen(shyer)
    assert any("kept until it is acknowledged" in one for one in shyer.limits)
    for diagnosis in (shy, shyer):
        assert FindingCode.BROKER_AWAY not in codes(diagnosis)
        assert FindingCode.BROKER_FORGETS not in codes(diagnosis)


def let_in(client: redis.Redis, user: str, *forbidden: str) -> None:
    """Make a user who may do all but these."""
    client.acl_setuser(
        user,
        enabled=True,
        passwords=[f"+{SECRET}"],
        keys=["*"],
        channels=["*"],
        commands=["+@all", *forbidden],
    )


def name_user(settings: Settings, user: str) -> Settings:
    """Return the settings with a user, and its password, in the URLs of Redis."""
    login = f"://{user}:{SECRET}@"
    return replace(
        settings,
        redis_url=str(settings.redis_url).replace("://", login),
        broker_url=str(settings.broker_url).replace("://", login),
    )


def describe_unseen(diagnosis: Diagnosis) -> str:
    return " ".join(
        finding.seen
        for finding in diagnosis.findings
        if finding.code is FindingCode.BROKER_UNSEEN
    )


def test_an_address_that_is_none_is_away() -> None:
    assert "Redis URL must specify" in str(look_at_redis("nonsense://"))


def test_of_rabbitmq_the_numbers_of_messages_are_known(settings: Settings) -> None:
    with open_rabbit(settings) as rabbit:
        # there is no such queue yet
        assert examine(rabbit.settings).limits == ()
        execution_id = rabbit.engine.submit(nothing_plan())
        wait_until(rabbit.count_waiting, what="the message")

        diagnosis = examine(rabbit.settings)
        rabbit.engine.cancel(execution_id)
        rabbit.proxy.refuse()
        away = examine(rabbit.settings)

    queue = rabbit.settings.queue
    assert (
        f"of the queue {queue} only the number of messages is known, 1"
        in diagnosis.limits
    )
    assert FindingCode.MESSAGE_MISSING not in codes(diagnosis)
    assert FindingCode.BROKER_AWAY in codes(away)


@pytest.mark.parametrize("url", ["nonsense://", "sqs://a:b@", "redis://h:port/0"])
def test_a_broker_that_there_is_no_way_to_is_away(settings: Settings, url: str) -> None:
    away = replace(settings, broker_url=url)

    assert FindingCode.BROKER_AWAY in codes(examine(away))


def test_a_broker_of_another_kind_is_not_looked_at(settings: Settings) -> None:
    app = Celery(broker="memory://", set_as_current=False)

    diagnosis = examine(settings, app)

    seen = only(diagnosis, FindingCode.BROKER_UNSEEN).seen
    assert seen == "messages of memory cannot be looked at"


# the command


def test_settings_of_an_app_are_judged(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "doctored_app.py").write_text(
        "from celery import Celery\n"
        f"app = Celery(broker={settings.broker_url!r}, set_as_current=False)\n"
        "app.conf.task_time_limit = 3\n"
        "app.conf.broker_connection_retry_on_startup = True\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    answer = call(settings, "--app", "doctored_app:app", "--json")

    (found,) = (
        one
        for one in json.loads(answer.stdout)["findings"]
        if "task_time_limit = 3" in one["seen"]
    )
    assert found["code"] == "setting-risk"
    assert found["fix"].startswith("leave it unset")


def test_the_code_is_that_of_the_worst(settings: Settings) -> None:
    bad = call(settings)
    missing = call(settings, "--fix")

    # fsync is off here
    assert bad.exit_code == missing.exit_code == ExitCode.FAILED
    assert "postgres-not-durable" in bad.stdout
    assert "nothing done: there was nothing to mend" in missing.stdout
    _, _, left = missing.stdout.partition("left to you:\n")
    assert "  postgres-not-durable: ALTER SYSTEM SET fsync = on" in left
    assert "left to you" not in bad.stdout


def test_without_a_url_it_is_said_what_to_set() -> None:
    environment = {n: v for n, v in os.environ.items() if not n.startswith("PLANS_")}

    answer = CliRunner().invoke(commands, ["doctor"], env=environment)

    assert answer.exit_code == ExitCode.USAGE
    assert "PLANS_DATABASE_URL" in answer.stderr
