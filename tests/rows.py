"""Rows written by hand, past every function: what only the tables can refuse.

`insert_execution` and `insert_step` fill in what a row of that state must have, so
that a test names only what it is about.
"""

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class with a small name
from psycopg2.extensions import cursor as Cursor  # noqa: N812  # likewise
from psycopg2.extras import Json

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
ENDED = frozenset({"completed", "failed", "cancelled", "timed_out"})


def connect(url: str, schema: str) -> Connection:
    """Return a connection that finds the objects of `schema` by their bare names."""
    connection = psycopg2.connect(url.replace("+psycopg2", "", 1))
    with connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
    return connection


@contextmanager
def rolled_back(url: str, schema: str) -> Iterator[Cursor]:
    """Give a cursor in a transaction that leaves nothing behind."""
    with closing(connect(url, schema)) as connection, connection.cursor() as cursor:
        yield cursor
        connection.rollback()


@contextmanager
def committed(url: str, schema: str) -> Iterator[Cursor]:
    """Give a cursor in a transaction that is committed at the end of the block."""
    with (
        closing(connect(url, schema)) as connection,
        connection,
        connection.cursor() as c,
    ):
        yield c


def insert(cursor: Cursor, table: str, **values: Any) -> None:
    """Insert one row; mappings become JSON."""
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(sql.Placeholder() * len(values)),
    )
    adapted = [Json(v) if isinstance(v, dict) else v for v in values.values()]
    cursor.execute(statement, adapted)


def describe_execution(status: str) -> dict[str, Any]:
    """Return the columns that an execution of that state must have."""
    return {
        "status": status,
        "reason": "result" if status in {"ending", *ENDED} else None,
        "ended_at": NOW if status in ENDED else None,
        "open_steps": 0 if status in ENDED else 1,
        "paused_at": NOW if status == "paused" else None,
    }


def describe_step(status: str) -> dict[str, Any]:
    """Return the columns that a step of that state must have."""
    is_running = status == "running"
    return {
        "status": status,
        "pending_deps": 1 if status == "pending" else 0,
        "attempt": 1 if is_running else 0,
        "lease_token": str(uuid.uuid4()) if is_running else None,
        "worker_id": str(uuid.uuid4()) if is_running else None,
        "delivery": "d" if is_running else None,
        "claimed_at": NOW if is_running else None,
        "ready_at": NOW if status == "ready" else None,
        "wake_at": NOW if status == "waiting" else None,
        "ended_at": NOW if status in {*ENDED, "skipped"} else None,
    }


def insert_plan(cursor: Cursor) -> str:
    """Insert a plan and return its id."""
    plan_id = str(uuid.uuid4())
    insert(
        cursor,
        "plans",
        id=plan_id,
        name="by hand",
        digest=plan_id,
        definition={},
        result_reads=[],
    )
    return plan_id


def insert_plan_step(cursor: Cursor, plan_id: str, **columns: Any) -> None:
    """Insert a step of a plan, by default its first one."""
    values = {
        "plan_id": plan_id,
        "position": 0,
        "name": "a",
        "action": "test.nothing",
        "priority": 0,
        "needs": [],
        "successors": [],
        "reads": [],
        "survives_skips": False,
        "on_failure": "abort",
        "max_attempts": 1,
        "max_lost": 1,
        "inputs": {},
        **columns,
    }
    insert(cursor, "plan_steps", **values)


def insert_execution(cursor: Cursor, status: str = "running", **columns: Any) -> str:
    """Insert an execution with a plan of its own and return its id."""
    values = {
        "id": str(uuid.uuid4()),
        "total_steps": 1,
        "digest": "",
        "parameters": {},
        "created_at": NOW,
        **describe_execution(status),
        **columns,
    }
    values.setdefault("plan_id", insert_plan(cursor))
    insert(cursor, "executions", **values)
    return str(values["id"])


def insert_step(
    cursor: Cursor, execution_id: str, status: str = "pending", **columns: Any
) -> None:
    """Insert a step, by default the first one of its execution."""
    values = {
        "execution_id": execution_id,
        "position": 0,
        "name": "a",
        "action": "test.nothing",
        "queue": "q",
        "priority": 0,
        "needs": [],
        "successors": [],
        **describe_step(status),
        **columns,
    }
    insert(cursor, "execution_steps", **values)
