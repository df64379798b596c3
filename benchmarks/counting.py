"""What steps cost, in things that can be counted: no clock, so no noise of a machine.

Workers whose costs are counted sign in to PostgreSQL under a role of their own, whose
statements the server writes into its log; the client is not in it. (The statistics of
the server would count as well, but lag by up to ten seconds.) A long lease keeps their
heartbeats out. Messages and bytes are differences of what Valkey counts, and the
write-ahead log is a difference of positions: there the client and the server itself
are in it, so whoever compares takes the least of several runs.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg2
import redis
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class with a small name

from execution import Settings
from execution.local import LocalStack
from tests.polling import wait_until

QUIET_LEASE_SECONDS = 600.0
"""So long that no heartbeat falls into what is counted."""

_ROLE = "plans_counted"
_LOGGED = re.compile(r"\[(\d+)\] LOG:  duration: \S+ ms  statement: (.*)")
_FUNCTION = re.compile(r'FROM "?\w+"?\.(\w+)\(')
_QUIET_LOOKS = 5


@dataclass(frozen=True)
class Costs:
    """What one step costs."""

    round_trips: float
    """Statements of workers."""
    transactions: float
    """Transactions of workers."""
    messages: float
    """Messages that were put into queues."""
    broker_bytes: float
    """Bytes that Valkey was sent by anybody, events included."""
    wal_bytes: float
    """Bytes of PostgreSQL's write-ahead log, those of the submit included."""
    calls: Mapping[str, float]
    """The round trips by the function that was called."""


def take_least(costs: Sequence[Costs]) -> Costs:
    """Return the least of each: what others do meanwhile only adds."""
    return Costs(
        round_trips=min(c.round_trips for c in costs),
        transactions=min(c.transactions for c in costs),
        messages=min(c.messages for c in costs),
        broker_bytes=min(c.broker_bytes for c in costs),
        wal_bytes=min(c.wal_bytes for c in costs),
        calls=min(costs, key=lambda c: c.round_trips).calls,
    )


@dataclass(frozen=True)
class _Reading:
    """Where the counters of the servers stand."""

    log_bytes: int
    messages: int
    broker_bytes: int
    wal_bytes: int


@dataclass(frozen=True)
class Statements:
    """What a part of PostgreSQL's log tells."""

    transactions: int
    calls: Mapping[str, int]


class CostMeter:
    """Counts on one local stack; `open_meter` makes one."""

    def __init__(self, connection: Connection, client: redis.Redis, log: Path) -> None:
        """Count with a connection of a superuser and the log of the server."""
        self._connection = connection
        self._client = client
        self._log = log

    def name_worker(
        self, settings: Settings, *, lease_seconds: float = QUIET_LEASE_SECONDS
    ) -> Settings:
        """Return the settings for a worker whose costs are to be counted."""
        url = str(settings.database_url)
        return replace(
            settings,
            database_url=re.sub("//[^@/]+@", f"//{_ROLE}@", url, count=1),
            lease_seconds=lease_seconds,
        )

    def measure(self, run: Callable[[], object], *, steps: int) -> Costs:
        """Run something that takes so many steps; return what each of them cost."""
        self._await_quiet()
        before = self._read()
        run()
        self._await_quiet()
        after = self._read()
        told = self.read_log(before.log_bytes)
        return Costs(
            round_trips=sum(told.calls.values()) / steps,
            transactions=told.transactions / steps,
            messages=(after.messages - before.messages) / steps,
            broker_bytes=(after.broker_bytes - before.broker_bytes) / steps,
            wal_bytes=(after.wal_bytes - before.wal_bytes) / steps,
            calls={name: number / steps for name, number in told.calls.items()},
        )

    def find_log_end(self) -> int:
        """Return the position from which `read_log` would read what comes."""
        return self._log.stat().st_size

    def read_log(self, position: int) -> Statements:
        """Return the statements of workers that were logged since."""
        with self._log.open("rb") as log:
            log.seek(position)
            return read_statements(log.read().decode().splitlines())

    def _await_quiet(self) -> None:
        # an execution has ended for its client a moment before its worker is done
        sizes: list[int] = []

        def has_settled() -> bool:
            sizes.append(self.find_log_end())
            return len(sizes) >= _QUIET_LOOKS and len(set(sizes[-_QUIET_LOOKS:])) == 1

        wait_until(has_settled, what="workers to be done")

    def _read(self) -> _Reading:
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_wal_insert_lsn() - '0/0'")
            (wal_bytes,) = cursor.fetchone() or (0,)
        pushes = self._client.info("commandstats").get("cmdstat_lpush", {"calls": 0})
        return _Reading(
            log_bytes=self.find_log_end(),
            messages=int(pushes["calls"]),
            broker_bytes=int(self._client.info("stats")["total_net_input_bytes"]),
            wal_bytes=int(wal_bytes),
        )


@contextmanager
def open_meter(stack: LocalStack) -> Iterator[CostMeter]:
    """Make the role whose statements are logged, for as long as the block runs."""
    assert stack.postgres is not None
    folder = str(stack.postgres.socket.parent)
    with (
        closing(psycopg2.connect(host=folder, user="plans", dbname="plans")) as plain,
        redis.Redis.from_url(str(stack.urls.redis_url)) as client,
    ):
        plain.autocommit = True
        with plain.cursor() as cursor:
            cursor.execute(f"DROP ROLE IF EXISTS {_ROLE}")
            cursor.execute(f"CREATE ROLE {_ROLE} LOGIN SUPERUSER")
            cursor.execute(f"ALTER ROLE {_ROLE} SET log_min_duration_statement = 0")
        yield CostMeter(plain, client, stack.postgres.log)
        with plain.cursor() as cursor:
            cursor.execute(f"DROP ROLE {_ROLE}")


def read_statements(lines: Sequence[str]) -> Statements:
    """Count the statements in a part of PostgreSQL's log, and their transactions."""
    calls: Counter[str] = Counter()
    transactions = 0
    in_block: set[str] = set()
    for line in lines:
        found = _LOGGED.search(line)
        if found is None:
            continue
        pid, statement = found.groups()
        verb = statement.split()[0].rstrip(";").upper()
        function = _FUNCTION.search(statement)
        calls[function[1] if function else verb] += 1
        if verb == "BEGIN":
            in_block.add(pid)
        elif verb in ("COMMIT", "ROLLBACK"):
            in_block.discard(pid)
        # a statement outside of a block is a transaction of its own
        transactions += pid not in in_block
    return Statements(transactions, calls)
