"""A connection to PostgreSQL for those who write at speed.

Plain psycopg2, one connection per thread, each call one round trip in a transaction
of its own. A connection is opened when it is first needed, dropped when it breaks,
and never shared with a forked child. A worker imports this and not SQLAlchemy,
which would cost every process of it another 14 MB.

It knows nothing of the functions that are called through it.
"""

import os
import re
import selectors
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class with a small name
from psycopg2.extensions import cursor as Cursor  # noqa: N812  # the same
from psycopg2.extensions import quote_ident
from psycopg2.extras import register_default_jsonb

from .errors import DatabaseError, SchemaMismatchError, SettingsError
from .results import decode_json
from .sql import functions_digest

CONNECT_OPTIONS: dict[str, Any] = {
    "connect_timeout": 10,
    # a server that vanished must not hold a step for the hours of TCP's own patience
    "keepalives": 1,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    # a client that froze inside a transaction must not hold an execution's lock
    "options": "-c idle_in_transaction_session_timeout=15s -c lock_timeout=10s"
    " -c statement_timeout=60s -c timezone=UTC",
}

_UNAVAILABLE = (
    psycopg2.OperationalError,
    psycopg2.InterfaceError,
    # a server that became a standby, or whose functions are being installed anew, takes
    # the same call again later, on a fresh connection
    psycopg2.InternalError,
    errors.UndefinedFunction,
    errors.UndefinedObject,
)

_MALFORMED = re.compile(
    "invalid dsn|invalid integer value|invalid port|invalid URI|invalid percent-encoded"
    "|invalid connection option|unexpected character|missing .=. after|end of string"
)

_inherited: list[Connection] = []
"""The parent's connections; kept, for closing one would end the parent's session."""


class DatabaseUnavailableError(DatabaseError):
    """The server is out of reach, or went away: the outcome is unknown."""


class DatabaseBusyError(DatabaseUnavailableError):
    """Somebody else held the row for too long; nothing was changed."""


def name_driver(url: str) -> str:
    """Return `url` for SQLAlchemy, whose own default is a driver we do not bring."""
    return url.replace("postgresql://", "postgresql+psycopg2://", 1)


class Database:
    """Calls functions of the schema; safe to use from any thread, and after a fork."""

    def __init__(self, url: str, schema: str) -> None:
        """Prepare for `url` (`postgresql://…`); nothing is opened yet."""
        self._dsn = url.replace("postgresql+psycopg2://", "postgresql://", 1)
        self._schema = schema
        self._local = threading.local()
        self._pid = os.getpid()
        self._statements: dict[str, str] = {}

    def call(self, function: str, *arguments: object) -> dict[str, Any]:
        """Call a function of the schema and return its one row by column names.

        Raises DatabaseUnavailableError when the outcome is unknown: the same call may
        be made again. Raises DatabaseError when the server refused it.
        """
        rows = self.call_all(function, *arguments)
        return rows[0] if rows else {}

    def call_all(self, function: str, *arguments: object) -> list[dict[str, Any]]:
        """Call a function that returns rows; like `call` in all else."""
        places = ", ".join(["%s"] * len(arguments))
        statement = f"SELECT * FROM {{schema}}.{function}({places})"  # noqa: S608  # names of our own
        return self.query(statement, arguments)

    def query(
        self, statement: str, arguments: Sequence[object] = ()
    ) -> list[dict[str, Any]]:
        """Run one statement of our own; `{schema}` in it is the quoted schema."""
        return self._fetch(statement, arguments, nullcontext)

    def read_moment(
        self, statement: str, arguments: Sequence[object] = ()
    ) -> list[dict[str, Any]]:
        """Run one that only reads; all that it calls sees the same moment.

        Else what is VOLATILE sees what was committed meanwhile. Raises as `query` does.
        """
        return self._fetch(statement, arguments, _moment)

    def _fetch(
        self,
        statement: str,
        arguments: Sequence[object],
        surround: Callable[[Cursor], AbstractContextManager[object]],
    ) -> list[dict[str, Any]]:
        try:
            with (
                self._lend() as connection,
                connection.cursor() as cursor,
                surround(cursor),
            ):
                cursor.execute(self._complete(statement, cursor), arguments)
                names = [column.name for column in cursor.description or ()]
                return [dict(zip(names, row, strict=True)) for row in cursor]
        except psycopg2.Error as error:
            raise self._translate(error) from error
        except ValueError as error:
            # NUL, or half a surrogate pair: such as a reason that is no UTF-8
            raise DatabaseError(f"PostgreSQL cannot hold that text: {error}") from error

    def wait_for_notice(
        self, channel: str, seconds: float, stirred: int | None = None
    ) -> bool:
        """Wait for a notice to this schema on `channel`; say whether one came.

        For `seconds` at most, or until there is something to read in the file
        `stirred`, which is left there. A new connection begins to listen here: notices
        from before are not heard, and neither are any through a pool that shares
        sessions.
        Raises DatabaseUnavailableError like every call.
        """
        try:
            connection = self._connect()
            if self._local.__dict__.get("listener") is not connection:
                with connection.cursor() as cursor:
                    cursor.execute(f"LISTEN {quote_ident(channel, cursor)}")
                self._local.listener = connection
            if not connection.notifies:
                with selectors.DefaultSelector() as selector:
                    selector.register(connection, selectors.EVENT_READ)
                    if stirred is not None:
                        selector.register(stirred, selectors.EVENT_READ)
                    selector.select(seconds)
                connection.poll()
            heard = [notice.payload for notice in connection.notifies]
            connection.notifies.clear()
        except psycopg2.Error as error:
            raise self._translate(error) from error
        return self._schema in heard

    def check(self) -> str:
        """Return the installation's id, after checking that the database is fit.

        Raises SchemaMismatchError when it lacks the schema of this release, and
        SettingsError when its defaults would break a promise.
        """
        if not self.query(
            "SELECT to_regclass(%s) AS found", (f"{self._schema}.installation",)
        )[0]["found"]:
            raise SchemaMismatchError(
                f"the database has no schema {self._schema}; run: plans db upgrade"
            )
        row = self.query(
            "SELECT id::text, functions_digest,"
            " current_setting('default_transaction_isolation') AS isolation"
            " FROM {schema}.installation"
        )[0]
        if row["functions_digest"] != functions_digest():
            raise SchemaMismatchError(
                f"schema {self._schema} is of another release; run: plans db upgrade"
            )
        if row["isolation"] != "read committed":
            raise SettingsError(
                f"default_transaction_isolation is {row['isolation']!r}; celery-plans"
                " needs 'read committed' (set it for this role or database)"
            )
        return str(row["id"])

    def close(self) -> None:
        """Close this thread's connection; the next call opens another."""
        connection = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None and self._pid == os.getpid():
            connection.close()

    @contextmanager
    def _lend(self) -> Iterator[Connection]:
        """Give a connection for one statement: this thread's own."""
        yield self._connect()

    def _connect(self) -> Connection:
        if self._pid != os.getpid():
            self._leave_inherited()
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None or connection.closed:
            connection = self._local.connection = self._open()
        return connection

    def _open(self) -> Connection:
        try:
            connection: Connection = psycopg2.connect(
                self._dsn, application_name="celery-plans", **CONNECT_OPTIONS
            )
        except (psycopg2.ProgrammingError, psycopg2.OperationalError) as error:
            if _MALFORMED.match(str(error)):
                # its words quote parts of the URL, which may be of the password
                raise SettingsError(
                    "PLANS_DATABASE_URL is malformed; it has the form"
                    " postgresql://user:password@host:5432/name, with %-escapes for"
                    " what is special in URLs"
                ) from None
            raise
        connection.autocommit = True
        register_default_jsonb(connection, loads=decode_json)
        return connection

    def _leave_inherited(self) -> None:
        # the socket is the parent's: using it would mix two conversations, and
        # closing it would say goodbye in the parent's name
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            _inherited.append(connection)
        self._local = threading.local()
        self._pid = os.getpid()

    def _complete(self, statement: str, cursor: Cursor) -> str:
        known = self._statements.get(statement)
        if known is None:
            known = statement.replace("{schema}", quote_ident(self._schema, cursor))
            self._statements[statement] = known
        return known

    def _translate(self, error: psycopg2.Error) -> DatabaseError:
        said = _first_line(error)
        match error:
            case errors.LockNotAvailable():
                return DatabaseBusyError(f"PostgreSQL is busy: {said}")
            case errors.QueryCanceled():
                # a disk that stands still: what is finished must not be thrown away
                return DatabaseBusyError(f"PostgreSQL gave up: {said}")
            case errors.RaiseException():
                # one of our own functions refuses, and would do so again
                return DatabaseError(f"PostgreSQL refused: {said}")
            case _ if isinstance(error, _UNAVAILABLE):
                self.close()
                return DatabaseUnavailableError(f"PostgreSQL is not available: {said}")
            case _:
                return DatabaseError(f"PostgreSQL refused: {said}")


@contextmanager
def _moment(cursor: Cursor) -> Iterator[None]:
    """Let a connection that commits by itself see one snapshot, and write nothing."""
    cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield
    finally:
        # one that broke has no transaction any more
        if not cursor.connection.closed:
            cursor.execute("ROLLBACK")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
