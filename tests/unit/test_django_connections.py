"""What is done with Django's connections around each attempt of a step."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from execution.celery.django_connections import with_fresh_connections
from tests.worker_process import ROOT

CODE = """
import sys
import django
from contextlib import nullcontext
from django.conf import settings
from execution.celery.django_connections import with_fresh_connections

around = lambda claim, attempt: nullcontext()
assert with_fresh_connections(around) is around
settings.configure(
    DATABASES={"default": {
        "ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1],
        "CONN_MAX_AGE": KEPT,
    }}
)
django.setup()
from django.db import connection, transaction

attempt = with_fresh_connections(around)
def ask():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return connection.connection

"""


def run(code: str, folder: Path, age: str = "None") -> None:
    """Run a program after CODE, where connections are kept for `age` seconds."""
    done = subprocess.run(
        [sys.executable, "-c", CODE.replace("KEPT", age) + code, folder / "db"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_without_django_nothing_is_done() -> None:
    @contextmanager
    def around(claim: str, attempt: int) -> Iterator[None]:
        yield

    assert with_fresh_connections(around) is around


def test_a_connection_that_works_is_kept(tmp_path: Path) -> None:
    code = (
        "with attempt('claim', 1):\n    first = ask()\n"
        "with attempt('claim', 2):\n    assert ask() is first\n"
    )

    run(code, tmp_path)


def test_a_connection_that_may_not_be_kept_is_closed_after_the_attempt(
    tmp_path: Path,
) -> None:
    code = (
        "with attempt('claim', 1):\n    ask()\n"
        "    assert connection.connection is not None\n"
        "assert connection.connection is None\n"
    )

    run(code, tmp_path, age="0")


def test_a_transaction_that_is_open_is_left_alone(tmp_path: Path) -> None:
    code = (
        "with transaction.atomic():\n"
        "    first = ask()\n"
        "    with attempt('claim', 1):\n        assert ask() is first\n"
    )

    run(code, tmp_path, age="0")
