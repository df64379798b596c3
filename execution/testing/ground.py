"""The real PostgreSQL of a test session: one connection, one transaction, no commit.

A schema of its own is made in that transaction, with a clock that can be moved; each
test has a savepoint in it. All of it is rolled back in the end, however the session
ends: nobody else ever sees the schema, and so nobody can run on that clock by mistake.
What our code calls a transaction is a savepoint here, as atomic as before.

Notices are sent by commits, and so never here. It knows nothing of workers or messages.
"""

import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import psycopg2
import sqlalchemy as sa
from psycopg2.extensions import (
    TRANSACTION_STATUS_INERROR,
    TRANSACTION_STATUS_INTRANS,
    new_type,
    register_type,
)
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class with a small name
from sqlalchemy.exc import SQLAlchemyError

from ..database import name_driver
from ..errors import RehearsalError
from ..results import decode_json
from ..schema import install

Rows: TypeAlias = list[dict[str, Any]]

_OPTIONS = (
    "-c timezone=UTC -c lock_timeout=10s -c statement_timeout=60s"
    # tests may wait for a person with a debugger
    " -c idle_in_transaction_session_timeout=0"
    # small tables, and each statement a few times: plans are not worth much thought
    " -c jit=off -c plan_cache_mode=force_generic_plan"
)
_UUID_OID = 2950
_CLOCK = """
    CREATE OR REPLACE FUNCTION plans_now() RETURNS timestamptz
    LANGUAGE sql VOLATILE AS $$
        SELECT clock_timestamp()
             + make_interval(secs => current_setting('plans_test.moved')::float8)
    $$
"""
_NEXT_TIMER = """
    SELECT min(t.at) AS at FROM (
        SELECT s.wake_at AS at FROM {schema}.execution_steps s
         WHERE s.status = 'waiting'
        UNION ALL
        SELECT s.deadline FROM {schema}.execution_steps s
          JOIN {schema}.executions e ON e.id = s.execution_id
         WHERE s.status IN ('ready', 'waiting') AND s.item_of IS NULL
           AND s.child_id IS NULL AND e.status IN ('pending', 'running', 'ending')
        UNION ALL
        SELECT e.deadline FROM {schema}.executions e
         WHERE e.status IN ('pending', 'running', 'paused')) t
"""
_HELD_STEP = """
    SELECT name FROM {schema}.execution_steps WHERE lease_token = %s::uuid
"""
_OPEN_STEPS = """
    SELECT s.name, s.action, s.status, s.wake_at
      FROM {schema}.execution_steps s
      JOIN {schema}.executions e ON e.id = s.execution_id
                                AND e.status IN ('pending', 'running', 'ending')
     WHERE s.status IN ('ready', 'running')
        OR s.status = 'waiting' AND s.wake_at IS NOT NULL
     ORDER BY s.wake_at, s.execution_id, s."position"
"""
_VALUES = """
    SELECT name, input, coalesce(result, CASE
               WHEN item_count IS NOT NULL AND iterations IS NULL
                    AND status = 'completed'
               THEN {schema}.item_results(execution_id, first_item, item_count) END
           ) AS result
      FROM {schema}.execution_steps WHERE execution_id = %s::uuid
"""


@dataclass(frozen=True)
class OpenStep:
    """A step that something is to come of; `wake_at` is when it waits no more."""

    name: str
    action: str
    status: str
    wake_at: datetime | None


class Ground:
    """The connection and its transaction, for a session of tests.

    `schema` is the name of what was made in it; `connection` is SQLAlchemy's view of
    the same connection. Whoever uses either directly holds `lock`.
    """

    def __init__(self, url: str) -> None:
        """Connect to `url`, begin, and make the schema.

        Raises RehearsalError when the server is away or does not let us.
        """
        self.url = url
        self.schema = f"plans_test_{uuid.uuid4().hex[:12]}"
        self.lock = threading.RLock()
        self._engine = sa.create_engine(
            name_driver(url),
            json_deserializer=decode_json,
            poolclass=sa.NullPool,
            isolation_level="READ COMMITTED",
            connect_args={"options": _OPTIONS, "application_name": "celery-plans-test"},
        )
        try:
            self._begin()
        except (SQLAlchemyError, psycopg2.Error) as error:
            said = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise RehearsalError(
                f"PostgreSQL does not let tests make a schema of theirs: {said}. The"
                " role needs CREATE on the database that plans_database_url or"
                " PLANS_TEST_DATABASE_URL names; nothing is ever committed there"
            ) from error

    def _begin(self) -> None:
        self.connection = self._engine.connect()
        raw = self.connection.connection.dbapi_connection
        assert isinstance(raw, Connection)  # noqa: S101  # the driver is named in the URL
        self.raw: Connection = raw
        install(self.connection, self.schema)
        with closing(raw.cursor()) as cursor:
            cursor.execute(_CLOCK)
            cursor.execute("SET plans_test.moved = '0'")
        self.connection.execution_options(schema_translate_map={None: self.schema})
        # SQLAlchemy has this connection read them as objects; our code gets texts
        register_type(new_type((_UUID_OID,), "UUID", lambda value, _: value), raw)

    def close(self) -> None:
        """Roll everything back."""
        if self.raw.closed:
            # SQLAlchemy would roll back on it
            self.connection.invalidate()
        self.connection.close()
        self._engine.dispose()

    @property
    def is_lost(self) -> bool:
        """Say whether the connection, or its transaction, can be used no more."""
        return bool(self.raw.closed) or (
            self.raw.get_transaction_status() == TRANSACTION_STATUS_INERROR
        )

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Keep nothing of what is written in the block, and put the clock back."""
        if self.raw.get_transaction_status() != TRANSACTION_STATUS_INTRANS:
            raise RehearsalError(
                "the transaction of the tests was ended by an earlier test, or its"
                " server went away; no test may commit or roll back on its connection"
            )
        savepoint = self.connection.begin_nested()
        try:
            yield
        finally:
            if not self.raw.closed:
                savepoint.rollback()

    @contextmanager
    def savepoint(self) -> Iterator[Connection]:
        """Lend the connection for one call, which is kept as a whole or not at all."""
        with self.lock:
            self._run("SAVEPOINT plans_call")
            try:
                yield self.raw
            except BaseException:
                # also a kill that a test has asked for: nothing half is kept
                if not self.raw.closed:
                    self._run("ROLLBACK TO SAVEPOINT plans_call")
                raise
            self._run("RELEASE SAVEPOINT plans_call")

    # the clock

    def read_clock(self) -> datetime:
        """Return what the clock of the tests shows."""
        now: datetime = self._query("SELECT {schema}.plans_now() AS now")[0]["now"]
        return now

    def move_clock(self, seconds: float) -> None:
        """Let the clock show a time that is `seconds` later."""
        self._query(
            "SELECT set_config('plans_test.moved',"
            " (current_setting('plans_test.moved')::float8 + %s)::text, false)",
            (seconds,),
        )

    def find_next_timer(self) -> datetime | None:
        """Return when the first wait or deadline is over; None without one."""
        at: datetime | None = self._query(_NEXT_TIMER)[0]["at"]
        return at

    # what our own reads do not tell

    def find_step(self, token: str) -> str | None:
        """Return the name of the step that was claimed under `token`."""
        rows = self._query(_HELD_STEP, (token,))
        return rows[0]["name"] if rows else None

    def list_open_steps(self) -> Sequence[OpenStep]:
        """Return the steps that are ready, run, or wait for a time."""
        return [OpenStep(**row) for row in self._query(_OPEN_STEPS)]

    def read_values(self, execution_id: str) -> Mapping[str, tuple[Any, Any]]:
        """Return the inputs and the result of each step, by its name."""
        rows = self._query(_VALUES, (execution_id,))
        return {row["name"]: (row["input"], row["result"]) for row in rows}

    def _query(self, statement: str, arguments: Sequence[object] = ()) -> Rows:
        with self.savepoint() as raw, closing(raw.cursor()) as cursor:
            cursor.execute(statement.replace("{schema}", self.schema), arguments)
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def _run(self, statement: str) -> None:
        with closing(self.raw.cursor()) as cursor:
            cursor.execute(statement)
