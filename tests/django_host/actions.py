"""Steps that lose their connection to the database, and go on."""

import os

import psycopg2
from django.db import connection

from execution import action


def ask() -> dict[str, int]:
    """Return who asks, and who answers."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return {"process": os.getpid(), "session": cursor.fetchone()[0]}


@action("django.ask")
def ask_once() -> dict[str, int]:
    """Ask the database something."""
    return ask()


@action("django.ask_and_lose")
def ask_and_lose() -> dict[str, int]:
    """Ask, and have the connection cut while nobody looks."""
    answer = ask()
    other = psycopg2.connect(os.environ["PLANS_DATABASE_URL"].replace("+psycopg2", ""))
    with other, other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (answer["session"],))
    other.close()
    return answer
