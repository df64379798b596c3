"""Connections to PostgreSQL for programs of many threads: a few, lent out in turn.

For engines, which may live in a web server with hundreds of threads and lie idle for
hours. Each call is one round trip in a transaction of its own, on the connection that
was used last. One that broke while it lay idle is noticed before it is lent again.
After a fork the child opens its own.

It knows nothing of the functions that are called through it.
"""

import os
import selectors
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class with a small name

from .database import Database, DatabaseBusyError

MOST_CONNECTIONS = 8
"""Threads beyond that wait for each other: the server has few cores, too."""

_WAIT_SECONDS = 30.0
_FRESH_SECONDS = 5.0
"""What lay idle for longer is asked whether it lives; a router in between may have
forgotten it without a word."""

_inherited: list[list[tuple[Connection, float]]] = []
"""The parent's connections; kept, for closing one would end the parent's session."""


class DatabasePool(Database):
    """A `Database` whose calls share a few connections, from whatever thread."""

    def __init__(
        self, url: str, schema: str, *, most_connections: int = MOST_CONNECTIONS
    ) -> None:
        """Prepare for `url` (`postgresql://…`); nothing is opened yet."""
        super().__init__(url, schema)
        self._most_connections = most_connections
        self._forget_connections()

    def close(self) -> None:
        """Close the connections that are not in use; the next call opens another."""
        if self._pid != os.getpid():
            return
        while (found := self._pop_idle()) is not None:
            found[0].close()

    @contextmanager
    def _lend(self) -> Iterator[Connection]:
        if self._pid != os.getpid():
            self._leave_inherited()
        slots = self._slots
        if not slots.acquire(timeout=_WAIT_SECONDS):
            raise DatabaseBusyError(
                f"all {self._most_connections} connections were in use for"
                f" {_WAIT_SECONDS:g} s"
            )
        try:
            connection = self._take_idle() or self._open()
            try:
                yield connection
            finally:
                self._take_back(connection)
        finally:
            slots.release()

    def _take_idle(self) -> Connection | None:
        while (found := self._pop_idle()) is not None:
            connection, used_at = found
            if _is_alive(connection, time.monotonic() - used_at):
                return connection
            connection.close()
        return None

    def _pop_idle(self) -> tuple[Connection, float] | None:
        try:
            return self._idle.pop()
        except IndexError:
            # there was none, or another thread was faster
            return None

    def _take_back(self, connection: Connection) -> None:
        # what was interrupted may still be in the middle of an answer
        status = connection.closed or connection.get_transaction_status()
        if status == TRANSACTION_STATUS_IDLE:
            self._idle.append((connection, time.monotonic()))
        else:
            connection.close()

    def _leave_inherited(self) -> None:
        _inherited.append(self._idle)
        self._forget_connections()
        super()._leave_inherited()

    def _forget_connections(self) -> None:
        # a fork may come while another thread holds the old semaphore
        self._idle: list[tuple[Connection, float]] = []
        self._slots = threading.BoundedSemaphore(self._most_connections)


def _is_alive(connection: Connection, idle_seconds: float) -> bool:
    """Say whether the server has said nothing meanwhile, and answers if asked."""
    if connection.closed:
        return False
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        if selector.select(0):
            # nobody asked anything: it is a farewell
            return False
    if idle_seconds < _FRESH_SECONDS:
        return True
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Exception:  # noqa: BLE001  # whatever it is, another connection may work
        return False
    return True
