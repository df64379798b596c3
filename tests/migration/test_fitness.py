"""A database that does not fit this release is seen before anything is written."""

import re
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
from sqlalchemy import make_url

from execution import schema
from execution.database import Database
from execution.engine import ExecutionEngine
from execution.errors import SchemaMismatchError, SettingsError
from execution.installation import Installation
from execution.local import LocalStack
from execution.settings import Settings
from execution.sql import SCHEMA_REVISION, read_functions
from tests.rows import committed, rolled_back

SINGLE_STATEMENTS = {
    "advance_pulse",
    "beat",
    "delayed_executions",
    "count_items",
    "diagnose_messages",
    "due_batches",
    "due_dependencies",
    "due_executions",
    "due_keys",
    "due_schedules",
    "end_silent_workers",
    "end_worker",
    "expired_executions",
    "list_signals",
    "read_awaiting",
    "read_diagnosis",
    "signalled_executions",
    "expired_steps",
    "find_subplan",
    "held_steps",
    "holds_of",
    "is_held",
    "is_unwanted",
    "is_wanted_to_yield",
    "list_dependencies",
    "lost_steps_of_all",
    "next_run",
    "overdue_steps",
    "told_tokens",
    "published_plan",
    "queued_schedules",
    "read_ending",
    "read_standstill",
    "read_trial",
    "relaying_executions",
    "resumable_executions",
    "running_under",
    "unfinished_executions",
    "unsent_executions",
    "unsent_steps",
}
"""They read, or write one row of a worker: no lock is followed by a read."""


@pytest.fixture(scope="module")
def url(stack: LocalStack) -> str:
    """The database of this run."""
    assert stack.urls.database_url is not None
    return stack.urls.database_url


@pytest.fixture
def repeatable_url(url: str) -> Iterator[str]:
    """A database whose transactions are REPEATABLE READ unless they say otherwise."""
    dsn = url.replace("+psycopg2", "")
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE repeatable")
            cursor.execute(
                "ALTER DATABASE repeatable"
                " SET default_transaction_isolation = 'repeatable read'"
            )
            yield make_url(url).set(database="repeatable").render_as_string(False)
            cursor.execute("DROP DATABASE repeatable WITH (FORCE)")


def check(url: str, name: str) -> str:
    database = Database(url, name)
    try:
        return database.check()
    finally:
        database.close()


def test_a_fit_database_says_whose_it_is(url: str) -> None:
    schema.upgrade(url, "fit")

    found = check(url, "fit")

    with committed(url, "fit") as cursor:
        cursor.execute("SELECT id FROM installation")
        assert cursor.fetchall() == [(found,)]


def test_installations_have_ids_of_their_own(url: str) -> None:
    schema.upgrade(url, "one")
    schema.upgrade(url, "other")

    assert check(url, "one") != check(url, "other")


def test_a_missing_schema_is_refused_with_the_command(url: str) -> None:
    with pytest.raises(SchemaMismatchError, match=r"no schema none; run: plans db up"):
        check(url, "none")


def test_a_schema_that_was_taken_down_is_refused_with_the_command(url: str) -> None:
    schema.upgrade(url, "down")
    schema.downgrade(url, "down", revision="base")

    with pytest.raises(SchemaMismatchError, match="run: plans db upgrade"):
        check(url, "down")


@pytest.mark.parametrize("digest", [None, "of another release"])
def test_other_functions_are_refused_with_the_command(
    url: str, digest: str | None
) -> None:
    schema.upgrade(url, "older")
    with committed(url, "older") as cursor:
        cursor.execute("UPDATE installation SET functions_digest = %s", (digest,))

    with pytest.raises(SchemaMismatchError, match="run: plans db upgrade"):
        check(url, "older")


def test_an_upgrade_puts_other_functions_right(url: str) -> None:
    schema.upgrade(url, "righted")
    with committed(url, "righted") as cursor:
        cursor.execute("UPDATE installation SET functions_digest = 'older'")

    schema.upgrade(url, "righted")

    assert check(url, "righted")


def test_an_engine_refuses_a_missing_schema(stack: LocalStack, url: str) -> None:
    settings = Settings(
        database_url=url, broker_url=stack.urls.broker_url, schema="absent"
    )

    with pytest.raises(SchemaMismatchError):
        ExecutionEngine(Installation(settings, None))


def test_another_default_isolation_is_refused(repeatable_url: str) -> None:
    schema.upgrade(repeatable_url, "strict")

    with pytest.raises(SettingsError, match=r"'repeatable read'.*'read committed'"):
        check(repeatable_url, "strict")


def test_every_write_refuses_another_isolation(url: str) -> None:
    schema.upgrade(url, "isolated")
    entries = re.findall(
        r"CREATE FUNCTION (\w+)\((?:(?!CREATE FUNCTION).)*?SET search_path",
        read_functions(),
        re.DOTALL,
    )
    accepting = set()
    for name in entries:
        with rolled_back(url, "isolated") as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute(
                "SELECT pronargs FROM pg_proc WHERE proname = %s"
                " AND pronamespace = current_schema()::regnamespace",
                (name,),
            )
            nulls = ", ".join(["NULL"] * cursor.fetchall()[0][0])
            try:
                cursor.execute(f"SELECT {name}({nulls})")  # names of our own
                accepting.add(name)
            except psycopg2.errors.RaiseException as refusal:
                assert "READ COMMITTED only" in str(refusal)  # noqa: PT017  # some are let through

    assert accepting == SINGLE_STATEMENTS


def test_a_commit_is_durable_whatever_the_session_says(url: str) -> None:
    schema.upgrade(url, "durable")
    with rolled_back(url, "durable") as cursor:
        cursor.execute("SET synchronous_commit = off")

        cursor.execute("SELECT begin_write()")

        cursor.execute("SHOW synchronous_commit")
        assert cursor.fetchall() == [("on",)]


def test_a_stricter_durability_is_kept(url: str) -> None:
    schema.upgrade(url, "durable")
    with rolled_back(url, "durable") as cursor:
        cursor.execute("SET synchronous_commit = remote_apply")

        cursor.execute("SELECT begin_write()")

        cursor.execute("SHOW synchronous_commit")
        assert cursor.fetchall() == [("remote_apply",)]


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("DROP INDEX ix_executions_ending", "add_index"),
        ("ALTER TABLE executions ADD COLUMN mine int", "remove_column"),
        ("ALTER TABLE executions DROP COLUMN error", "add_column"),
        ("ALTER TABLE executions ALTER tags DROP NOT NULL", "modify_nullable"),
        ("ALTER TABLE workers ALTER pid TYPE bigint", "modify_type"),
        ("DROP TABLE step_attempts", "add_table"),
        ("CREATE TABLE mine (n int)", "remove_table"),
        ("UPDATE installation SET functions_digest = NULL", "the functions differ"),
        (
            "UPDATE alembic_version SET version_num = '0000'",
            f"revision 0000, not {SCHEMA_REVISION}",
        ),
        ("DELETE FROM alembic_version", f"revision None, not {SCHEMA_REVISION}"),
    ],
)
def test_a_check_says_what_differs(url: str, change: str, difference: str) -> None:
    schema.upgrade(url, "checked")
    with committed(url, "checked") as cursor:
        cursor.execute(change)

    found = schema.check(url, "checked")

    with committed(url, "checked") as cursor:
        cursor.execute("DROP SCHEMA checked CASCADE")
    assert difference in " ".join(found)


def test_a_check_of_nothing_says_so(url: str) -> None:
    assert schema.check(url, "nothing") == ("there is no schema nothing",)
