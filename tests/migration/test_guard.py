"""The guard in the database: it lets through the moves of the tables, and no others."""

from collections.abc import Iterator
from itertools import product

import pytest
from psycopg2 import errors, sql
from psycopg2.extensions import cursor as Cursor  # noqa: N812  # a class with a small name

from execution.settings import Settings
from execution.states import (
    ExecutionStatus,
    StepStatus,
    list_execution_edges,
    list_step_edges,
)
from tests.rows import (
    describe_execution,
    describe_step,
    insert_execution,
    insert_step,
    rolled_back,
)

ALLOWED = {
    "executions": {*list_execution_edges(), *((s, s) for s in ExecutionStatus)},
    "execution_steps": {*list_step_edges(), *((s, s) for s in StepStatus)},
}
EXECUTION_PAIRS = list(product(ExecutionStatus, repeat=2))
STEP_PAIRS = list(product(StepStatus, repeat=2))


@pytest.fixture
def cursor(settings: Settings) -> Iterator[Cursor]:
    """A transaction that leaves nothing behind."""
    assert settings.database_url is not None
    with rolled_back(settings.database_url, settings.schema) as opened:
        yield opened


def change(cursor: Cursor, table: str, columns: dict[str, object]) -> None:
    """Set these columns in the only row of a table."""
    assignments = [
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name))
        for name in columns
    ]
    cursor.execute(
        sql.SQL("UPDATE {} SET {}").format(
            sql.Identifier(table), sql.SQL(", ").join(assignments)
        ),
        columns,
    )


def refusal_of(cursor: Cursor, table: str, columns: dict[str, object]) -> str | None:
    """Change a row; return the guard's words, None when it let the change through."""
    try:
        change(cursor, table, columns)
    except errors.RaiseException as error:
        return error.diag.message_primary
    return None


@pytest.mark.parametrize(("before", "after"), EXECUTION_PAIRS)
def test_an_execution_moves_along_the_edges_only(
    cursor: Cursor, before: str, after: str
) -> None:
    insert_execution(cursor, before)

    refusal = refusal_of(cursor, "executions", describe_execution(after))

    is_allowed = (before, after) in ALLOWED["executions"]
    assert refusal == (
        None
        if is_allowed
        else f"celery-plans: executions cannot go from {before} to {after}"
    )


@pytest.mark.parametrize(("before", "after"), STEP_PAIRS)
def test_a_step_moves_along_the_edges_only(
    cursor: Cursor, before: str, after: str
) -> None:
    insert_step(cursor, insert_execution(cursor), before)

    refusal = refusal_of(cursor, "execution_steps", describe_step(after))

    is_allowed = (before, after) in ALLOWED["execution_steps"]
    assert refusal == (
        None
        if is_allowed
        else f"celery-plans: execution_steps cannot go from {before} to {after}"
    )


@pytest.mark.parametrize("status", StepStatus)
def test_a_change_of_anything_else_is_not_guarded(cursor: Cursor, status: str) -> None:
    insert_step(cursor, insert_execution(cursor), status)

    assert refusal_of(cursor, "execution_steps", {"priority": 7}) is None
