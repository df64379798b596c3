"""Whose session is whose: threads, forked children, and what each session is like."""

import os
import subprocess
import sys

import pytest

from execution import Settings
from execution.database import Database
from tests.integration.test_database import backend_of
from tests.racing import run_at_once
from tests.worker_process import ROOT

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
