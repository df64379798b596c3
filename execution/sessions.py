"""How producers and tools reach PostgreSQL: sessions of SQLAlchemy, calls of functions.

Promises: what the server refuses comes out as an error of ours. Knows no table.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from execution.database import (
    CONNECT_OPTIONS,
    Database,
    DatabaseUnavailableError,
    name_driver,
)
from execution.errors import DatabaseError
from execution.pool import DatabasePool
from execution.results import decode_json

Transaction: TypeAlias = sa.Connection | Session
"""A caller's own: what is written in it is there once the caller commits."""


class Sessions:
    """Connections to one schema, for whoever reads or writes there."""

    def __init__(self, url: str, schema: str) -> None:
        """Connect to `url` when first needed; every object lies in `schema`."""
        self._engine = sa.create_engine(
            name_driver(url),
            json_deserializer=decode_json,
            pool_pre_ping=True,
            pool_size=2,
            connect_args={**CONNECT_OPTIONS, "application_name": "celery-plans"},
        ).execution_options(schema_translate_map={None: schema})
        self._database: Database = DatabasePool(url, schema)
        self._functions = self._engine.dialect.identifier_preparer.quote(schema)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()
        self._database.close()

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        try:
            with Session(self._engine) as session:
                yield session
        except SQLAlchemyError as error:
            raise _translate(error) from error

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        with self._reading() as session, session.begin():
            yield session

    def _call(self, function: str, *arguments: object) -> Mapping[str, Any]:
        """Call in a transaction of its own, in one round trip."""
        return self._database.call(function, *arguments)

    def _call_within(
        self, transaction: Transaction, function: str, *arguments: object
    ) -> Mapping[str, Any]:
        """Call in a transaction that the caller has begun, and will end."""
        names = [f"a{index}" for index in range(len(arguments))]
        places = ", ".join(f":{name}" for name in names)
        statement = sa.text(f"SELECT * FROM {self._functions}.{function}({places})")  # noqa: S608  # names of our own
        values = dict(zip(names, arguments, strict=True))
        try:
            return dict(transaction.execute(statement, values).mappings().one())
        except SQLAlchemyError as error:
            raise _translate(error) from error


def _translate(error: SQLAlchemyError) -> DatabaseError:
    cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    if isinstance(error, OperationalError | InterfaceError):
        return DatabaseUnavailableError(f"PostgreSQL is not available: {cause}")
    if re.search(r"(relation|function|schema|type) .* does not exist", cause):
        return DatabaseError(
            f"PostgreSQL refused: {cause}; was `plans db upgrade` run?"
        )
    return DatabaseError(f"PostgreSQL refused: {cause}")
