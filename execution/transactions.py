"""Calls within a transaction that somebody else has begun, and will end.

It may be SQLAlchemy's, or that of whatever connection gives cursors and marks
parameters as `%s`: one of Django's, of psycopg2 or of psycopg. Drivers read types of
PostgreSQL each in their own way, and so the answer is asked for as one text of JSON.

Promises: nothing is committed, rolled back or closed here; what the server refuses
comes out as an error of ours. Knows no function and no table.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from inspect import iscoroutinefunction
from typing import Any, Protocol, TypeAlias, runtime_checkable

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, scoped_session

from .database import DatabaseUnavailableError
from .errors import DatabaseError
from .results import decode_json


@runtime_checkable
class CursorSource(Protocol):
    """A connection of Django's or of a driver's, with its transaction."""

    def cursor(self) -> Any:
        """Return a cursor of PEP 249."""


Transaction: TypeAlias = (
    sa.Connection | Session | scoped_session[Session] | CursorSource
)
"""A caller's own: what is written in it is there once the caller commits."""


def call_within(
    transaction: Transaction, function: str, arguments: Sequence[object]
) -> Mapping[str, Any]:
    """Call `function`, quoted and with its schema, and return its one row by names.

    Raises DatabaseError when the server refuses it, and TypeError for what is no
    transaction.
    """
    match transaction:
        case sa.Connection() | Session() | scoped_session():
            return _call_by_sqlalchemy(transaction, function, arguments)
        case CursorSource() if not _is_awaited(transaction):
            return _call_by_cursor(transaction, function, arguments)
        case _:
            raise TypeError(
                "transaction must be a connection or session of SQLAlchemy, or a"
                " connection of Django, psycopg2 or psycopg, not"
                f" {type(transaction).__name__}"
            )


def _is_awaited(connection: CursorSource) -> bool:
    # what an async one is asked is a promise, which nobody here keeps
    return iscoroutinefunction(getattr(connection, "commit", None))


def translate(error: Exception) -> DatabaseError:
    """Return what an error of SQLAlchemy, Django or a driver comes to."""
    said = str(getattr(error, "orig", None) or error).strip() or repr(error)
    cause = said.splitlines()[0]
    if _names(error) & {"OperationalError", "InterfaceError"}:
        return DatabaseUnavailableError(f"PostgreSQL is not available: {cause}")
    if re.search(r"(relation|function|schema|type) .* does not exist", cause):
        return DatabaseError(
            f"PostgreSQL refused: {cause}; was `plans db upgrade` run?"
        )
    return DatabaseError(f"PostgreSQL refused: {cause}")


def _call_by_sqlalchemy(
    transaction: sa.Connection | Session | scoped_session[Session],
    function: str,
    arguments: Sequence[object],
) -> Mapping[str, Any]:
    names = [f"a{index}" for index in range(len(arguments))]
    places = ", ".join(f":{name}" for name in names)
    statement = sa.text(f"SELECT * FROM {function}({places})")  # noqa: S608  # names of our own
    values = dict(zip(names, arguments, strict=True))
    try:
        return dict(transaction.execute(statement, values).mappings().one())
    except SQLAlchemyError as error:
        raise translate(error) from error


def _call_by_cursor(
    connection: CursorSource, function: str, arguments: Sequence[object]
) -> Mapping[str, Any]:
    places = ", ".join(["%s"] * len(arguments))
    statement = f"SELECT to_jsonb(answer)::text FROM {function}({places}) AS answer"  # noqa: S608  # the same
    try:
        with closing(connection.cursor()) as cursor:
            cursor.execute(statement, list(arguments))
            row = cursor.fetchone()
    except Exception as error:
        # each driver has a tree of its own, whose root PEP 249 calls Error
        if "Error" not in _names(error):
            raise
        raise translate(error) from error
    # some cursors give rows by name
    text = next(iter(row.values())) if isinstance(row, Mapping) else row[0]
    answer: Mapping[str, Any] = decode_json(text)
    return answer


def _names(error: Exception) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}
