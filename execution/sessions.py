"""How producers and tools reach PostgreSQL: sessions of SQLAlchemy, calls of functions.

Promises: what the server refuses comes out as an error of ours. Knows no table.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from .database import CONNECT_OPTIONS, Database, name_driver
from .pool import MOST_CONNECTIONS, DatabasePool
from .results import decode_json
from .transactions import Transaction, call_within, translate


class Sessions:
    """Connections to one schema, for whoever reads or writes there."""

    def __init__(
        self, url: str, schema: str, *, most_connections: int = MOST_CONNECTIONS
    ) -> None:
        """Connect to `url` when first needed; every object lies in `schema`.

        So many threads may read at once, and so many write; more wait.
        """
        self._engine = sa.create_engine(
            name_driver(url),
            json_deserializer=decode_json,
            pool_pre_ping=True,
            pool_size=most_connections,
            # connections beyond it would be opened and closed for each question
            max_overflow=0,
            connect_args={**CONNECT_OPTIONS, "application_name": "celery-plans"},
        ).execution_options(schema_translate_map={None: schema})
        self._database: Database = DatabasePool(
            url, schema, most_connections=most_connections
        )
        self._functions = self._engine.dialect.identifier_preparer.quote(schema)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()
        self._database.close()

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        try:
            with self._open_session() as session:
                yield session
        except SQLAlchemyError as error:
            raise translate(error) from error

    def _open_session(self) -> Session:
        return Session(self._engine)

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
        return call_within(transaction, f"{self._functions}.{function}", arguments)
