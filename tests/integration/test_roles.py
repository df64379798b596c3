"""A role for each kind of program: it can do what it must, and nothing else."""
# ruff: noqa: S608  # names of our own

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg2 import errors
from typer.testing import CliRunner

from execution import schema
from execution.cli.app import app
from execution.cli.exits import ExitCode
from execution.database import Database
from execution.engine import ExecutionEngine
from execution.errors import DatabaseError
from execution.filters import ExecutionFilter
from execution.installation import Installation
from execution.liveness import LivenessRecords
from execution.local import LocalStack
from execution.plan import Plan, Step
from execution.records import StepRecords
from execution.settings import Settings
from execution.sql.grants import WAYS_IN, Role
from execution.states import ExecutionStatus
from tests.pages import read_page
from tests.polling import wait_until
from tests.roles import (
    make_installation,
    run_init,
    run_statement,
    write_passwords,
)
from tests.worker_process import ROOT

SCHEMA = "roles_of_plans"
NOBODY = str(uuid.UUID(int=0))

Urls = dict[Role, str]


@pytest.fixture(scope="module")
def superuser_url(stack: LocalStack) -> str:
    """The server of this run, for who may do all there."""
    return str(stack.urls.database_url).replace("+psycopg2", "")


@pytest.fixture(scope="module")
def urls(superuser_url: str, tmp_path_factory: pytest.TempPathFactory) -> Urls:
    """A database with roles, and one table of somebody else's."""
    made = make_installation(
        superuser_url, SCHEMA, tmp_path_factory.mktemp("passwords")
    )
    run(
        superuser_url.replace("/plans?", f"/{SCHEMA}?"),
        "CREATE SCHEMA shop; CREATE TABLE shop.customers (name text)",
    )
    return made


@pytest.fixture(scope="module")
def settings(stack: LocalStack, urls: Urls) -> Settings:
    """Settings of a producer."""
    return Settings(
        database_url=urls[Role.PRODUCER],
        broker_url=stack.urls.broker_url,
        redis_url=stack.urls.redis_url,
        schema=SCHEMA,
        queue=SCHEMA,
        imports=("tests.actions",),
        lease_seconds=2.0,
    )


@pytest.fixture(scope="module")
def worker_database(urls: Urls) -> Iterator[Database]:
    """The connection of a worker."""
    with closing(Database(urls[Role.WORKER], SCHEMA)) as opened:
        yield opened


def run(url: str, statement: str) -> list[tuple[object, ...]]:
    """Run a statement in a transaction of its own."""
    return run_statement(url, SCHEMA, statement)


def list_allowed(url: str) -> set[str]:
    """Return the functions of the schema that a login may call."""
    rows = run(
        url,
        "SELECT proname FROM pg_proc"
        " WHERE pronamespace = current_schema()::regnamespace"
        " AND has_function_privilege(oid, 'EXECUTE')",
    )
    return {str(name) for (name,) in rows}


@pytest.mark.parametrize("role", [Role.WORKER, Role.PRODUCER, Role.READER])
def test_a_role_may_call_what_is_meant_for_it_and_nothing_else(
    urls: Urls, role: Role
) -> None:
    meant = {name for name, roles in WAYS_IN.items() if role in roles}

    assert list_allowed(urls[role]) == meant


def test_every_way_in_is_there_and_closed(urls: Urls) -> None:
    rows = run(
        urls[Role.MIGRATOR],
        "SELECT proname, prosecdef AND proconfig[1] LIKE 'search_path=%, pg_temp'"
        "  FROM pg_proc WHERE pronamespace = current_schema()::regnamespace",
    )
    closed = {str(name) for name, is_closed in rows if is_closed}

    # it reads a clock, and is called by what runs with the owner's rights as well
    assert set(WAYS_IN) - closed == {"plans_now"}
    assert closed <= set(WAYS_IN)


@pytest.mark.parametrize("role", [Role.WORKER, Role.PRODUCER, Role.READER])
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (a int)",
        "CREATE TABLE public.mine (a int)",
        "CREATE TEMPORARY TABLE mine (a int)",
        "CREATE SCHEMA mine",
        "ALTER TABLE executions ADD COLUMN mine int",
        "DROP TABLE executions",
        "CREATE OR REPLACE FUNCTION plans_now() RETURNS timestamptz RETURN now()",
        "TRUNCATE executions CASCADE",
        "UPDATE executions SET status = 'completed'",
        "UPDATE execution_steps SET result = '1'",
        "DELETE FROM execution_events",
        "INSERT INTO execution_states (reason) VALUES ('forged')",
        "UPDATE installation SET functions_digest = NULL",
        "SELECT * FROM shop.customers",
        "SET ROLE plans_migrator",
        "SELECT write_events(gen_random_uuid(), 1, '{}')",
        "SELECT pg_read_file('/etc/hostname')",
        "COPY executions TO PROGRAM 'cat'",
        "SELECT rolpassword FROM pg_authid",
    ],
)
def test_nobody_but_the_migrator_changes_anything_but_by_functions(
    urls: Urls, role: Role, statement: str
) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        run(urls[role], statement)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE public.mine (a int)",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "SELECT * FROM shop.customers",
        "ALTER ROLE plans_worker_a SUPERUSER",
        "CREATE EXTENSION adminpack",
    ],
)
def test_the_migrator_stays_in_its_schema(urls: Urls, statement: str) -> None:
    with pytest.raises((errors.InsufficientPrivilege, errors.FeatureNotSupported)):
        run(urls[Role.MIGRATOR], statement)


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        (Role.WORKER, "SELECT * FROM pause_execution(%s, 'me', 'no reason')"),
        (Role.WORKER, "DELETE FROM executions"),
        (Role.WORKER, "INSERT INTO batch_items (position) VALUES (1)"),
        (Role.READER, "DELETE FROM executions"),
        (Role.READER, "DELETE FROM submissions"),
        (Role.READER, "INSERT INTO batch_items (position) VALUES (1)"),
    ],
)
def test_what_another_role_may_is_refused(
    urls: Urls, role: Role, statement: str
) -> None:
    with pytest.raises((errors.InsufficientPrivilege, errors.UndefinedFunction)):
        run(urls[role], statement.replace("%s", f"'{NOBODY}'"))


def test_a_producer_cannot_do_what_workers_do(
    urls: Urls, settings: Settings, engine: ExecutionEngine
) -> None:
    execution_id = engine.submit(Plan("claimed", steps=[Step("a", "test.nothing")]))
    with closing(Database(urls[Role.PRODUCER], SCHEMA)) as database:
        with pytest.raises(DatabaseError, match="denied for function claim_step"):
            StepRecords(database).claim(
                execution_id, [0], epoch=1, token=NOBODY, worker_id=NOBODY, delivery="x"
            )
        with pytest.raises(DatabaseError, match="denied for function end_worker"):
            LivenessRecords(database).end_worker(NOBODY)


def test_a_reader_reads_and_begins_nothing(
    urls: Urls, settings: Settings, engine: ExecutionEngine
) -> None:
    plan = Plan("refused", steps=[Step("a", "test.nothing")])
    execution_id = engine.submit(plan)
    mine = replace(settings, database_url=urls[Role.READER])
    with ExecutionEngine(Installation(mine, None)) as reader:
        with pytest.raises(DatabaseError, match="permission denied"):
            reader.submit(plan)
        with pytest.raises(DatabaseError, match="permission denied"):
            reader.cancel(execution_id)
        assert execution_id in str(reader.list_executions(ExecutionFilter()))


@pytest.mark.parametrize(
    "name", sorted(n for n, r in WAYS_IN.items() if Role.READER in r)
)
def test_what_a_reader_calls_writes_nothing(urls: Urls, name: str) -> None:
    """It runs with the owner's rights: here PostgreSQL refuses every write."""
    types = run(
        urls[Role.READER],
        "SELECT array_agg(format_type(t, NULL) ORDER BY n) FROM pg_proc,"
        " unnest(proargtypes) WITH ORDINALITY AS x(t, n)"
        f" WHERE proname = '{name}' AND pronamespace = current_schema()::regnamespace",
    )[0][0]
    known = {"uuid": f"'{NOBODY}'::uuid", "uuid[]": f"'{{{NOBODY}}}'::uuid[]"}
    values = ", ".join(known.get(t, f"NULL::{t}") for t in types or [])  # type: ignore[attr-defined]  # an array

    run(urls[Role.READER], f"SET TRANSACTION READ ONLY; SELECT * FROM {name}({values})")


def test_a_producer_operates_what_it_has_submitted(engine: ExecutionEngine) -> None:
    plan = Plan("operated", steps=[Step("a", "test.nothing")])
    execution_id = engine.submit(plan, tags=("roles",))

    assert engine.pause(execution_id, by="ann")
    assert engine.resume(execution_id, by="ann")
    engine.pause_queue(SCHEMA, by="ann")
    engine.resume_queue(SCHEMA, by="ann")
    assert engine.why(execution_id) is not None
    assert engine.cancel(execution_id, by="ann")
    wait_until(
        lambda: engine.get_status(execution_id).status is ExecutionStatus.CANCELLED,
        what="the cancel",
    )
    assert engine.delete_execution(execution_id)


def test_sql_submits_as_a_producer(urls: Urls, engine: ExecutionEngine) -> None:
    engine.publish(Plan("in_sql", steps=[Step("a", "test.nothing")]))

    rows = run(urls[Role.PRODUCER], "SELECT submit('in_sql')")

    assert len(rows) == 1
    with pytest.raises(errors.InsufficientPrivilege):
        run(urls[Role.WORKER], "SELECT submit('in_sql')")


def test_a_run_that_is_asked_for_begins_at_once(engine: ExecutionEngine) -> None:
    engine.publish(Plan("by_hand", steps=[Step("a", "test.nothing")]))
    engine.create_schedule("by_hand", "by_hand", every="1h")

    assert engine.run_schedule_now("by_hand").execution_id is not None


def test_the_reader_has_every_command_that_looks(
    urls: Urls, settings: Settings, engine: ExecutionEngine
) -> None:
    execution_id = engine.submit(Plan("shown", steps=[Step("a", "test.nothing")]))
    variables = {"PLANS_DATABASE_URL": urls[Role.READER], "PLANS_SCHEMA": SCHEMA}
    variables["PLANS_BROKER_URL"] = str(settings.broker_url)
    for command in (
        ["list"],
        ["show", execution_id],
        ["why", execution_id],
        ["logs", execution_id],
        ["workers"],
        ["pauses"],
        ["schedule", "list"],
        ["batch", "list"],
        ["dependency", "list"],
        ["db", "check"],
    ):
        answer = CliRunner().invoke(app, command, env=variables)

        assert answer.exit_code == 0, (command, answer.output)
    for command in (
        ["cancel", execution_id],
        ["pause", execution_id],
        ["db", "upgrade"],
    ):
        answer = CliRunner().invoke(app, command, env=variables)

        assert answer.exit_code == ExitCode.UNAVAILABLE, (command, answer.output)


def test_another_login_upgrades_and_grants_anew(
    urls: Urls, superuser_url: str, tmp_path: Path
) -> None:
    passwords = write_passwords(tmp_path)
    (passwords / "migrator_password_b").write_text("another")
    host = superuser_url.partition("?host=")[2]
    before = list_allowed(urls[Role.WORKER])

    run_init({"PGHOST": host, "PGUSER": "plans"}, SCHEMA, passwords, SCHEMA)
    schema.upgrade(urls[Role.MIGRATOR].replace("_a@", "_b@"), SCHEMA)

    assert list_allowed(urls[Role.WORKER]) == before
    assert schema.check(urls[Role.MIGRATOR], SCHEMA) == ()


def test_a_check_names_the_role_that_lacks_a_right(urls: Urls) -> None:
    (name,) = run(
        urls[Role.MIGRATOR],
        "SELECT oid::regprocedure FROM pg_proc WHERE proname = 'claim_step'"
        " AND pronamespace = current_schema()::regnamespace",
    )[0]
    run(urls[Role.MIGRATOR], f"REVOKE EXECUTE ON FUNCTION {name} FROM plans_worker")

    (said,) = schema.check(urls[Role.READER], SCHEMA)
    schema.upgrade(urls[Role.MIGRATOR], SCHEMA)

    assert said.startswith("rights are missing for plans_worker; `plans db upgrade`")
    assert schema.check(urls[Role.READER], SCHEMA) == ()


def test_an_upgrade_by_another_role_says_who_can(urls: Urls) -> None:
    with pytest.raises(DatabaseError, match="log in as a member of it"):
        schema.upgrade(urls[Role.WORKER], SCHEMA)


def test_a_schema_that_was_of_one_role_goes_over_to_the_roles(
    superuser_url: str, urls: Urls, tmp_path: Path
) -> None:
    was = superuser_url.replace("/plans?", f"/{SCHEMA}?")
    schema.upgrade(was, "grown")
    host = superuser_url.partition("?host=")[2]

    run_init({"PGHOST": host, "PGUSER": "plans"}, SCHEMA, tmp_path, "grown")
    schema.upgrade(urls[Role.MIGRATOR], "grown")

    assert schema.check(urls[Role.READER], "grown") == ()
    owners = run(
        was,
        "SELECT DISTINCT relowner::regrole::text FROM pg_class"
        " WHERE relnamespace = 'grown'::regnamespace",
    )
    assert owners == [(str(Role.MIGRATOR),)]


def test_without_roles_a_schema_is_for_its_owner_alone(superuser_url: str) -> None:
    schema.upgrade(superuser_url, "of_one")

    rows = run(
        superuser_url,
        "SELECT count(*) FILTER (WHERE prosecdef OR proacl IS NOT NULL) FROM pg_proc"
        " WHERE pronamespace = 'of_one'::regnamespace",
    )

    assert rows == [(0,)]


def test_the_shown_commands_make_roles(
    superuser_url: str, urls: Urls, settings: Settings, tmp_path: Path
) -> None:
    (block,) = (b for b in read_page("docs/privileges.md") if b.language == "sh")
    service = tmp_path / "pg_service.conf"
    host = superuser_url.partition("?host=")[2]
    service.write_text(f"[admin]\nhost={host}\ndbname={SCHEMA}\nuser=plans\n")
    subprocess.run(
        ["/bin/bash", "-euc", block.text.replace("_a LOGIN", "_shown LOGIN")],
        cwd=ROOT,
        check=True,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PGSERVICEFILE": str(service),
            "MIGRATOR_DATABASE_URL": urls[Role.MIGRATOR].replace("_a@", "_shown@"),
            "WORKER_DATABASE_URL": urls[Role.WORKER].replace("_a@", "_shown@"),
            "PLANS_BROKER_URL": str(settings.broker_url),
        },
    )


def test_the_page_names_who_may_call_what() -> None:
    page = (ROOT / "docs" / "privileges.md").read_text("utf-8")
    said: dict[str, frozenset[str]] = {}
    for names, roles in re.findall(r"^\| (`\w+`(?:, `\w+`)+) \| (.+) \|$", page, re.M):
        for name in re.findall(r"\w+", names):
            said[name] = frozenset(re.findall(r"\w+", roles))

    assert said == {name: frozenset(map(str, roles)) for name, roles in WAYS_IN.items()}
