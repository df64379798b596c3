"""The real PostgreSQL of the simulation: one connection, one clock, nothing kept.

All actors share a connection, since they take turns anyway. A seed runs in one outer
transaction that is rolled back, so that seeds do not see each other and no commit waits
for a disk; what the actors call transactions are its statements, each as atomic as
before. The database's clock is a setting of the session. Some calls are asked together
with how the rows stood before them, in the same statement, whose snapshot is older than
what the function writes: that is what the watchdog judges by.

What goes wrong, and what may not, is decided elsewhere.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class with a small name
from psycopg2.extensions import new_type, register_type

from execution.database import Database, name_driver
from execution.plan import Plan
from execution.repository import ExecutionRepository
from execution.results import decode_json
from execution.schema import upgrade
from execution.sql import read_functions
from execution.transactions import Transaction
from tests.simulation.awaiting import draw_awaiting_plans
from tests.simulation.plans import (
    QUEUE,
    draw_inner_plans,
    draw_keyed_plans,
    draw_plans,
)

_BEGINNING = datetime(2030, 1, 1, tzinfo=UTC)
_SEEDS_BETWEEN_SWEEPS = 50
_FORGET = "TRUNCATE {schema}.executions, {schema}.workers CASCADE"
_UUID_OID = 2950
_DEFINITION = re.compile(
    r"CREATE (?:FUNCTION (\w+)\(.*?\$\$;|VIEW (\w+) AS.*?;\n)", re.DOTALL
)
_CALLED = re.compile(r"\{schema\}\.(\w+)\(")
_CLOCK = (
    "CREATE OR REPLACE FUNCTION plans_now() RETURNS timestamptz LANGUAGE sql VOLATILE"
    " AS $$ SELECT current_setting('plans_test.now')::timestamptz $$"
)
_BEFORE = """
    SELECT f.*, b.* FROM {{schema}}.{function}({places}) f LEFT JOIN LATERAL (
        SELECT s.status AS before_status, s.lease_token::text AS before_token,
               e.status AS before_execution, e.epoch AS before_epoch,
               s.needs AS before_needs, s.section AS before_section
          FROM {{schema}}.execution_steps s
          JOIN {{schema}}.executions e ON e.id = s.execution_id
         WHERE s.execution_id = %s::uuid AND s."position" = {position}) b ON true
"""
_OPEN_NEEDS = """
    SELECT count(*) AS n FROM {schema}.execution_steps
     WHERE execution_id = %s::uuid AND "position" = ANY (%s)
       AND status NOT IN ('completed', 'skipped')
       AND (section = 'steps' OR ended_at IS NULL)
       AND NOT (status = 'waiting' AND fallback IS NOT NULL)
"""
FENCED = frozenset(
    {
        "complete_step",
        "retry_step",
        "expand_step",
        "repeat_step",
        "begin_child",
        "reuse_result",
        "report_progress",
        "save_checkpoint",
        "append_observations",
        "take_step",
    }
)
"""Calls that begin with an execution, a position and the token that must hold it."""


@dataclass(frozen=True)
class Call:
    """One transaction: a function of the schema and its arguments."""

    function: str
    arguments: tuple[Any, ...]


Rows = list[dict[str, Any]]
Transact = Callable[[Call, Callable[[], Rows]], Rows]


def install(url: str, schema: str) -> None:
    """Make a schema with a clock that can be set."""
    upgrade(url, schema)
    _run(url, schema, [_CLOCK])


@contextmanager
def alter(url: str, schema: str, text: str) -> Iterator[None]:
    """Let functions be those of `text` in the block, where they differ from ours."""
    ours = _read_definitions(read_functions())
    theirs = _read_definitions(text)
    names = [name for name, definition in theirs.items() if definition != ours[name]]
    _run(url, schema, [_replace(theirs[name]) for name in names])
    yield
    _run(url, schema, [_replace(ours[name]) for name in names])


def _replace(definition: str) -> str:
    return definition.replace("CREATE", "CREATE OR REPLACE", 1)


def _run(url: str, schema: str, statements: Sequence[str]) -> None:
    engine = sa.create_engine(name_driver(url), poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SET search_path TO {schema}")
        cursor = connection.connection.cursor()
        for statement in statements:
            cursor.execute(statement)
    engine.dispose()


def _read_definitions(text: str) -> Mapping[str, str]:
    found = _DEFINITION.finditer(text)
    return {match[1] or match[2]: match[0] for match in found}


@dataclass
class Store:
    """The connection, the plans that are stored, and the clock."""

    url: str
    schema: str
    plans: tuple[Plan, ...] = field(default_factory=draw_plans)
    keyed_plans: tuple[Plan, ...] = field(default_factory=draw_keyed_plans)
    awaiting_plans: tuple[Plan, ...] = field(default_factory=draw_awaiting_plans)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self._engine = sa.create_engine(
            name_driver(self.url),
            json_deserializer=decode_json,
            poolclass=sa.NullPool,
            connect_args={
                "options": "-c timezone=UTC -c jit=off"
                " -c plan_cache_mode=force_generic_plan"
            },
        )
        self.connection = self._engine.connect().execution_options(
            schema_translate_map={None: self.schema}
        )
        raw = self.connection.connection.dbapi_connection
        assert isinstance(raw, Connection)
        self.raw: Connection = raw
        # SQLAlchemy has this connection read them as objects; workers get texts
        register_type(new_type((_UUID_OID,), "UUID", lambda value, _: value), raw)
        self.plan_ids: dict[str, str] = {}
        self._set_at: float | None = None
        self._seeds: int = 0
        with self.seed():
            repository = ExecutionRepository(self.url, self.schema)
            repository._database = SimulatedDatabase(self, lambda _, run: run())
            for plan in draw_inner_plans():
                repository.publish_plan(plan, queue=QUEUE)
            for plan in self.plans + self.keyed_plans + self.awaiting_plans:
                repository._register_plan(plan)
            self.plan_ids = repository._plan_ids
            self.raw.commit()

    @property
    def now(self) -> datetime:
        """What the database's clock shows."""
        return _BEGINNING + timedelta(seconds=self.seconds)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()
        self._engine.dispose()

    @contextmanager
    def seed(self) -> Iterator[None]:
        """Keep nothing of what is written in the block."""
        self.seconds, self._set_at = 0.0, None
        self._sweep()
        with self.connection.begin() as transaction:
            self.execute(self.write_clock() or "SELECT 1")
            yield
            transaction.rollback()

    def _sweep(self) -> None:
        # rows that were rolled back lie in the way of everybody's sweeps
        self._seeds += 1
        if self._seeds % _SEEDS_BETWEEN_SWEEPS == 0:
            with self.connection.begin():
                self.execute(_FORGET)

    def write_clock(self) -> str:
        """Return the statement that sets the clock, if it has to be set."""
        if self._set_at == self.seconds:
            return ""
        self._set_at = self.seconds
        return f"SET plans_test.now = '{self.now.isoformat()}';"

    def execute(self, statement: str, arguments: Sequence[object] = ()) -> Rows:
        """Run a statement of the simulation's own, past everything that goes wrong."""
        with self.raw.cursor() as cursor:
            text = statement.replace("{schema}", self.schema)
            cursor.execute(text, arguments or None)
            if cursor.description is None:
                return []
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def count_needs(self, execution_id: str, position: int) -> int:
        """Return how many steps that the one at `position` needs are not settled."""
        rows = self.execute(
            "SELECT needs FROM {schema}.execution_steps"
            ' WHERE execution_id = %s::uuid AND "position" = %s',
            (execution_id, position),
        )
        return self.count_open_needs(execution_id, rows[0]["needs"])

    def count_open_needs(self, execution_id: str, needs: Sequence[int]) -> int:
        """Return how many of the steps at `needs` are not settled."""
        if not needs:
            return 0
        rows = self.execute(_OPEN_NEEDS, (execution_id, list(needs)))
        return int(rows[0]["n"])


class SimulatedDatabase(Database):
    """Our Database on that connection; every call goes through `transact`."""

    def __init__(self, store: Store, transact: Transact) -> None:
        """Call through `transact(call, run)`, which may not run it, or lose rows."""
        super().__init__(store.url, store.schema)
        self._store = store
        self._transact = transact

    def call_all(self, function: str, *arguments: object) -> Rows:
        """Call a function, and ask how its rows stood before."""
        places = ", ".join(["%s"] * len(arguments))
        statement, extra = _ask_before(function, places, arguments)
        return self._run(Call(function, arguments), statement, (*arguments, *extra))

    def query(self, statement: str, arguments: Sequence[object] = ()) -> Rows:
        """Run a statement; the function that it calls gives the call its name."""
        called = _CALLED.search(statement)
        name = called[1] if called else "query"
        return self._run(Call(name, tuple(arguments)), statement, arguments)

    def wait_for_notice(
        self, channel: str, seconds: float, stirred: int | None = None
    ) -> bool:
        """Hear nothing: notices are hints, too, and all is rolled back in the end."""
        return False

    def _run(self, call: Call, statement: str, arguments: Sequence[object]) -> Rows:
        def run() -> Rows:
            rows = Database.query(
                self, self._store.write_clock() + statement, arguments
            )
            # the order on disk depends on what ran before; a seed must not
            if call.function == "sweep":
                rows = [{n: _order(found) for n, found in rows[0].items()}]
            return rows if len(rows) < 2 else sorted(rows, key=repr)

        return self._transact(call, run)

    def _connect(self) -> Connection:
        return self._store.raw


def _order(found: Any) -> Any:
    return sorted(found, key=repr) if isinstance(found, list) else found


def _ask_before(
    function: str, places: str, arguments: tuple[Any, ...]
) -> tuple[str, tuple[Any, ...]]:
    if function == "claim_step":
        position = "(f.claim ->> 'position')::int"
    elif function in FENCED:
        position = str(int(arguments[1]))
    else:
        return f"SELECT * FROM {{schema}}.{function}({places})", ()  # noqa: S608  # names of our own
    text = _BEFORE.format(function=function, places=places, position=position)
    return text, (arguments[0],)


class SimulatedRepository(ExecutionRepository):
    """Our repository on that connection, its calls through `transact` as well."""

    def __init__(self, store: Store, transact: Transact) -> None:
        """Write through `transact`; the plans of the pool are known."""
        super().__init__(store.url, store.schema)
        self._engine = store.connection  # type: ignore[assignment]  # answers the same
        self._database = SimulatedDatabase(store, transact)
        self._store = store
        self._transact = transact
        self._plan_ids = dict(store.plan_ids)

    def _call_within(
        self, transaction: Transaction, function: str, *arguments: object
    ) -> Mapping[str, Any]:
        call = partial(super()._call_within, transaction)
        return self._run(call, function, arguments)

    def _run(
        self,
        call: Callable[..., Mapping[str, Any]],
        function: str,
        arguments: tuple[object, ...],
    ) -> Mapping[str, Any]:
        def run() -> Rows:
            self._store.execute(self._store.write_clock() or "SELECT 1")
            return [dict(call(function, *arguments))]

        return self._transact(Call(function, arguments), run)[0]
