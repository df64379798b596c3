"""The connection: dropped when it breaks, one per thread, never a parent's."""

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from execution import Settings
from execution.database import Database, DatabaseUnavailableError
from execution.errors import DatabaseError
from tests.polling import wait_until
from tests.racing import run_at_once
from tests.rows import committed
from tests.worker_process import ROOT

BACKEND = "SELECT pg_backend_pid() AS pid"
FORK = """
import os, sys, threading
from execution.database import Database

database = Database(*sys.argv[1:])
ask = lambda: database.query("SELECT pg_backend_pid() AS pid")[0]["pid"]
pids = {"main": ask()}
asked, again, done = (threading.Event() for _ in range(3))

def stay() -> None:
    pids["thread"] = ask()
    asked.set()
    again.wait(20)
    pids["thread again"] = ask()
    done.set()

threading.Thread(target=stay, daemon=True).start()
asked.wait(20)
child = os.fork()
if child == 0:
    pids["child"] = ask()
    pids["child again"] = ask()
    database.close()
    os.write(1, repr({k: pids[k] for k in ("child", "child again")}).encode() + b"\\n")
    sys.exit()  # with all that an exit tears down
assert os.waitpid(child, 0)[1] == 0
again.set()
done.wait(20)
pids["main again"] = ask()
print(repr(pids))
"""


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


def test_a_refused_call_leaves_nothing_behind(database: Database) -> None:
    with pytest.raises(DatabaseError):
        database.query(
            "WITH moved AS (UPDATE {schema}.pulse SET value = -1 RETURNING 1)"
            " SELECT 1 / (SELECT 0 FROM moved)"
        )

    assert database.query("SELECT value >= 0 AS is_kept FROM {schema}.pulse") == [
        {"is_kept": True}
    ]


def test_each_thread_has_a_connection_of_its_own(database: Database) -> None:
    def ask_twice() -> tuple[int, int]:
        pids = backend_of(database), backend_of(database)
        database.close()
        return pids

    answers = run_at_once([ask_twice] * 4)

    assert all(first == second for first, second in answers)
    assert len(set(answers)) == 4


def test_closing_ends_this_threads_connection_only(database: Database) -> None:
    mine = backend_of(database)

    def ask_and_close() -> int:
        other = backend_of(database)
        database.close()
        return other

    (other,) = run_at_once([ask_and_close])

    assert other != mine
    assert backend_of(database) == mine


def test_a_closed_connection_is_opened_anew(
    database: Database, settings: Settings
) -> None:
    before = backend_of(database)

    database.close()
    database.close()

    assert backend_of(database) != before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_shares_no_connection(settings: Settings) -> None:
    assert settings.database_url is not None
    # from Python 3.12 on, forking with threads warns; that is what is tested here
    command = [sys.executable, "-c", FORK, settings.database_url, settings.schema]
    finished = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60
    )

    assert finished.returncode == 0, finished.stderr
    child, parent = map(eval, finished.stdout.splitlines())  # of our own script
    assert child["child"] == child["child again"]
    assert child["child"] not in parent.values()
    assert parent["main"] == parent["main again"]
    assert parent["thread"] == parent["thread again"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("application_name", "celery-plans"),
        ("timezone", "UTC"),
        ("lock_timeout", "10s"),
        ("statement_timeout", "1min"),
        ("idle_in_transaction_session_timeout", "15s"),
    ],
)
def test_a_session_has_its_limits(database: Database, setting: str, value: str) -> None:
    found = database.query("SELECT current_setting(%s) AS value", (setting,))

    assert found == [{"value": value}]
