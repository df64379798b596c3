"""Up, down and up again, on a real PostgreSQL, also twice and two at a time."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from alembic.migration import MigrationContext

from execution import schema
from execution.database import Database
from execution.errors import DatabaseError
from execution.local import LocalStack
from execution.models import Base
from execution.plan import Plan, Step
from execution.repository import ExecutionRepository
from execution.sql import SCHEMA_REVISION
from tests.catalog import contents, definitions, has_schema
from tests.polling import wait_until
from tests.rows import committed, connect, insert_execution
from tests.worker_process import ROOT

PLAN = Plan("kept", steps=[Step("only", action="test.nothing")])


@pytest.fixture
def url(stack: LocalStack) -> str:
    """The database of this run."""
    assert stack.urls.database_url is not None
    return stack.urls.database_url


def test_an_upgraded_schema_lacks_nothing(url: str) -> None:
    schema.upgrade(url, "up")

    assert schema.check(url, "up") == ()


def test_a_downgrade_to_base_leaves_nothing(url: str) -> None:
    schema.upgrade(url, "down")

    schema.downgrade(url, "down", revision="base")

    assert contents(url, "down") == set()


def test_what_was_taken_down_goes_up_again(url: str) -> None:
    schema.upgrade(url, "again")
    before = contents(url, "again")
    schema.downgrade(url, "again", revision="base")

    schema.upgrade(url, "again")

    assert schema.check(url, "again") == ()
    assert contents(url, "again") == before


def test_a_second_downgrade_changes_nothing(url: str) -> None:
    schema.upgrade(url, "down_twice")
    schema.downgrade(url, "down_twice", revision="base")

    schema.downgrade(url, "down_twice", revision="base")

    assert contents(url, "down_twice") == set()


def test_the_tables_are_those_of_the_models(url: str) -> None:
    schema.upgrade(url, "migrated")
    with (
        closing(psycopg2.connect(url.replace("+psycopg2", ""))) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("CREATE SCHEMA modelled")
    with schema._connection(url, "modelled") as modelled:
        Base.metadata.create_all(modelled)

    assert definitions(url, "migrated") == definitions(url, "modelled")


def test_a_second_upgrade_keeps_every_row(url: str) -> None:
    schema.upgrade(url, "twice")
    with closing(ExecutionRepository(url, "twice")) as repository:
        submitted = repository.submit(PLAN, {"n": 1}, queue="q", key="k")
        before = repository.get_by_id(submitted.execution_id)
        installation_id = repository.get_installation_id()

        schema.upgrade(url, "twice")

        assert repository.get_by_id(submitted.execution_id) == before
        assert repository.get_installation_id() == installation_id
        assert not repository.submit(PLAN, {"n": 1}, queue="q", key="k").is_new


def test_the_guard_is_there_after_a_second_upgrade(url: str) -> None:
    schema.upgrade(url, "guarded")
    schema.upgrade(url, "guarded")

    with committed(url, "guarded") as cursor:
        insert_execution(cursor, "pending")
        with pytest.raises(psycopg2.errors.RaiseException, match="cannot go"):
            cursor.execute("UPDATE executions SET status = 'failed'")


@pytest.mark.parametrize("exists", [False, True])
def test_two_upgrades_at_once_both_succeed(url: str, exists: bool) -> None:
    name = f"both_{exists}".lower()
    if exists:
        schema.upgrade(url, name)
    script = "import sys; from execution.schema import upgrade; upgrade(*sys.argv[1:])"
    command = [sys.executable, "-W", "error", "-c", script, url, name]
    with closing(connect(url, name)) as connection, connection.cursor() as cursor:
        # both wait for this lock, and so begin at the same moment
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('celery-plans'))")
        upgrades = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]

        def both_wait() -> bool:
            cursor.execute(
                "SELECT count(*) FROM pg_locks"
                " WHERE locktype = 'advisory' AND NOT granted"
            )
            return bool(cursor.fetchall()[0][0] == 2)

        wait_until(both_wait, what="both upgrades to come to the lock")
        connection.rollback()
        codes = [process.wait(60) for process in upgrades]

    assert codes == [0, 0]
    assert schema.check(url, name) == ()


def test_an_upgrade_that_fails_half_way_changes_nothing(url: str) -> None:
    with committed(url, "half") as cursor:
        cursor.execute("CREATE SCHEMA half; CREATE TABLE half.workers (mine int)")
    before = contents(url, "half")

    with pytest.raises(DatabaseError, match="workers") as refusal:
        schema.upgrade(url, "half")

    assert contents(url, "half") == before
    assert "\n" not in str(refusal.value)


def test_a_repeated_upgrade_that_fails_keeps_the_functions(url: str) -> None:
    schema.upgrade(url, "broken")
    with committed(url, "broken") as cursor:
        cursor.execute(
            "DROP TYPE event_draft CASCADE; CREATE TABLE event_draft (mine int)"
        )
    before = contents(url, "broken")

    with pytest.raises(DatabaseError, match="event_draft"):
        schema.upgrade(url, "broken")

    assert contents(url, "broken") == before


def test_an_upgrade_to_an_unknown_revision_makes_no_schema(url: str) -> None:
    with pytest.raises(Exception, match="nonsense"):
        schema.upgrade(url, "unborn", revision="nonsense")

    assert not has_schema(url, "unborn")


@pytest.mark.parametrize("name", ["select", "user", "table"])
def test_a_word_of_the_language_may_be_the_schemas_name(url: str, name: str) -> None:
    schema.upgrade(url, name)

    assert schema.check(url, name) == ()
    with closing(Database(url, name)) as database:
        assert database.check()


def test_other_schemas_are_left_alone(url: str) -> None:
    schema.upgrade(url, "neighbour")
    before = contents(url, "neighbour")
    schema.upgrade(url, "passing")

    schema.downgrade(url, "passing", revision="base")

    assert contents(url, "neighbour") == before
    assert schema.check(url, "neighbour") == ()


def test_the_short_form_of_the_url_is_enough(url: str) -> None:
    short = url.replace("postgresql+psycopg2://", "postgresql://", 1)

    schema.upgrade(short, "short")

    assert schema.check(short, "short") == ()


def test_no_server_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError):
        schema.upgrade(f"postgresql+psycopg2://a@/b?host={tmp_path}", "none")


def test_the_functions_name_the_newest_revision(url: str) -> None:
    schema.upgrade(url, "newest")

    with schema._connection(url, "newest") as connection:
        found = MigrationContext.configure(connection).get_current_revision()

    assert found == SCHEMA_REVISION
