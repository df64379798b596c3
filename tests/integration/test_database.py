"""The connection: dropped when it breaks, one per thread, never a parent's."""

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from execution import Settings
from execution.database import (
    Database,
    DatabaseBusyError,
    DatabaseUnavailableError,
)
from execution.errors import DatabaseError, SettingsError
from execution.results import encode_json
from tests.polling import wait_until
from tests.rows import committed, rolled_back

BACKEND = "SELECT pg_backend_pid() AS pid"


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    assert settings.database_url is not None
    opened = Database(settings.database_url, settings.schema)
    yield opened
    opened.close()


def backend_of(database: Database) -> int:
    return int(database.query(BACKEND)[0]["pid"])


def end_backend(settings: Settings, pid: int) -> None:
    """End a session from another one, and wait until it is gone."""
    assert settings.database_url is not None
    with committed(settings.database_url, settings.schema) as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        assert cursor.fetchall() == [(True,)]


def test_rows_come_by_the_names_of_their_columns(database: Database) -> None:
    rows = database.query("SELECT n, %s AS word FROM generate_series(1, 2) n", ("a",))

    assert rows == [{"n": 1, "word": "a"}, {"n": 2, "word": "a"}]


def test_who_reads_a_moment_leaves_the_connection_as_it_was(
    database: Database,
) -> None:
    level = (
        "SELECT current_setting('transaction_isolation') AS level,"
        " pg_backend_pid() AS pid"
    )
    before = database.query(level)

    (within,) = database.read_moment(level)
    with pytest.raises(DatabaseError, match="division by zero"):
        database.read_moment("SELECT 1 / 0")

    assert within == {**before[0], "level": "repeatable read"}
    assert database.query(level) == before


def test_a_statement_names_the_schema_by_its_place(
    database: Database, settings: Settings
) -> None:
    (row,) = database.query("SELECT '{schema}.pulse'::regclass::oid::int AS found")

    (expected,) = database.query(
        "SELECT c.oid::int AS found FROM pg_class c WHERE relname = 'pulse'"
        " AND relnamespace = to_regnamespace(%s)",
        (settings.schema,),
    )
    assert row == expected


@given(
    st.lists(
        st.integers(-(2**53), 2**53)
        | st.floats(allow_nan=False, allow_infinity=False)
        # jsonb knows no negative zero
        .filter(lambda number: number != 0),
        max_size=200,
    )
)
@settings_of_hypothesis(
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
def test_numbers_come_back_as_they_were(
    database: Database, numbers: list[float]
) -> None:
    text = encode_json(numbers, place="numbers")

    (row,) = database.query("SELECT %s::jsonb AS numbers", (text,))

    assert repr(row["numbers"]) == repr(numbers)


def test_a_function_is_called_with_its_arguments(database: Database) -> None:
    nobody = str(uuid.uuid4())

    answer = database.call("is_unwanted", nobody, 0, nobody)

    assert answer == {"is_unwanted": True}


def test_a_function_without_rows_answers_nothing(database: Database) -> None:
    assert database.call("lost_steps_of_all", 10) == {}
    assert database.call_all("lost_steps_of_all", 10) == []


def test_a_broken_connection_is_told_and_then_replaced(
    database: Database, settings: Settings
) -> None:
    before = backend_of(database)
    end_backend(settings, before)

    with pytest.raises(DatabaseUnavailableError, match="PostgreSQL is not available"):
        backend_of(database)

    assert backend_of(database) != before


def test_a_connection_that_breaks_during_a_call_leaves_the_outcome_open(
    database: Database, settings: Settings
) -> None:
    pid = backend_of(database)

    def is_asleep() -> bool:
        assert settings.database_url is not None
        with committed(settings.database_url, settings.schema) as cursor:
            cursor.execute(
                "SELECT wait_event FROM pg_stat_activity WHERE pid = %s", (pid,)
            )
            return bool(cursor.fetchall() == [("PgSleep",)])

    def end_while_asleep() -> None:
        wait_until(is_asleep, what="the call to have begun")
        end_backend(settings, pid)

    ending = threading.Thread(target=end_while_asleep)
    ending.start()

    with pytest.raises(DatabaseUnavailableError):
        database.query("SELECT pg_sleep(30)")

    ending.join()
    assert backend_of(database) != pid


def test_an_absent_server_is_unavailable(tmp_path: Path) -> None:
    database = Database(f"postgresql+psycopg2://nobody@/none?host={tmp_path}", "none")

    with pytest.raises(DatabaseUnavailableError, match="PostgreSQL is not available"):
        database.check()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM nothing_of_this_name",
        "SELECT 1 / 0",
        "this is no SQL",
        "INSERT INTO {schema}.pulse VALUES (true)",
        "SELECT '{'::jsonb",
    ],
)
def test_a_refusal_is_one_line_and_keeps_the_connection(
    database: Database, statement: str
) -> None:
    before = backend_of(database)

    with pytest.raises(DatabaseError, match=r"^PostgreSQL refused: ") as refusal:
        database.query(statement)

    assert not isinstance(refusal.value, DatabaseUnavailableError)
    assert "\n" not in str(refusal.value)
    assert backend_of(database) == before


def test_a_lock_that_is_held_is_busy_and_keeps_the_connection(
    database: Database, settings: Settings
) -> None:
    before = backend_of(database)
    database.query("SELECT set_config('lock_timeout', '50ms', false)")

    with rolled_back(str(settings.database_url), settings.schema) as holder:
        holder.execute("SELECT FROM pulse FOR UPDATE")
        with pytest.raises(DatabaseBusyError, match="PostgreSQL is busy"):
            database.query("UPDATE {schema}.pulse SET value = value")

    assert backend_of(database) == before


def test_a_call_that_takes_too_long_may_be_made_again(database: Database) -> None:
    database.query("SELECT set_config('statement_timeout', '50ms', false)")

    with pytest.raises(DatabaseBusyError, match="PostgreSQL gave up"):
        database.query("SELECT pg_sleep(30)")


def test_a_refused_call_leaves_nothing_behind(database: Database) -> None:
    with pytest.raises(DatabaseError):
        database.query(
            "WITH moved AS (UPDATE {schema}.pulse SET value = -1 RETURNING 1)"
            " SELECT 1 / (SELECT 0 FROM moved)"
        )

    assert database.query("SELECT value >= 0 AS is_kept FROM {schema}.pulse") == [
        {"is_kept": True}
    ]


def test_what_a_function_refuses_is_not_asked_again(database: Database) -> None:
    with pytest.raises(DatabaseError, match="PostgreSQL refused: never") as refusal:
        database.query("DO $$ BEGIN RAISE EXCEPTION 'never'; END $$")

    assert not isinstance(refusal.value, DatabaseUnavailableError)
    assert database.query("SELECT 1 AS one") == [{"one": 1}]


def test_a_notice_to_another_schema_is_not_ours(database: Database) -> None:
    assert not database.wait_for_notice("plans_ready", 0)
    database.query("SELECT pg_notify('plans_ready', 'of_others')::text AS told")

    assert not database.wait_for_notice("plans_ready", 0)


def test_a_listener_listens_again_after_its_session_was_cut(
    database: Database, settings: Settings
) -> None:
    database.wait_for_notice("plans_ready", 0)
    end_backend(settings, backend_of(database))

    def is_noticed() -> bool:
        # the first look may find no more than the server's last words
        try:
            database.wait_for_notice("plans_ready", 5)
        except DatabaseUnavailableError:
            return True
        return False

    wait_until(is_noticed, what="the cut to be noticed")
    assert not database.wait_for_notice("plans_ready", 0)

    with rolled_back(str(settings.database_url), settings.schema) as cursor:
        cursor.execute("SELECT tell_reconcilers()")
        cursor.connection.commit()

    assert database.wait_for_notice("plans_ready", 5)


@pytest.mark.parametrize(
    "url", ["postgresql://u:hush/x@h/db", "postgresql://[hush/db", "nonsense hush"]
)
def test_a_malformed_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="PLANS_DATABASE_URL is malformed") as error:
        Database(url, "s").query("SELECT 1")

    assert "hush" not in str(error.value)
