"""Servers that go away under two workers, and what must be true when they are back.

The workers reach PostgreSQL and Redis through proxies; the onlooker who checks what
became of the executions does not.
"""

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import redis

from execution import ExecutionEngine, Plan, Settings, Step
from execution.local import LocalStack
from tests.polling import wait_until
from tests.proxy import Fate, Proxy
from tests.timeline import check_timeline
from tests.worker_process import WorkerProcess

STEPS = 6
EXECUTIONS = 8


@dataclass
class World:
    """Servers that can be stopped, two workers behind proxies, and an onlooker."""

    home: Path
    stack: LocalStack
    postgres: Proxy
    broker: Proxy
    settings: Settings
    engine: ExecutionEngine
    workers: Sequence[WorkerProcess]

    def kill_postgres(self) -> None:
        """Crash PostgreSQL: no connection is closed with a word."""
        assert self.stack.postgres is not None
        end_server(self.stack.postgres.server_pid, signal.SIGQUIT)

    def kill_valkey(self) -> None:
        """Kill Valkey, and remove all that it had written down."""
        assert self.stack.valkey is not None
        end_server(self.stack.valkey.server_pid, signal.SIGKILL)
        shutil.rmtree(self.stack.valkey.data / "appendonlydir")

    def bring_back(self) -> None:
        """Start again what was killed, at the same address."""
        gone, self.stack = self.stack, LocalStack.start(self.home)
        gone.close()

    def connect_valkey(self) -> redis.Redis:
        """Return a client that does not go through the proxy."""
        return redis.Redis.from_url(str(self.stack.urls.redis_url))


def end_server(pid: int, number: signal.Signals) -> None:
    os.kill(pid, number)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), what="the server to be gone")


def work_plan(ledger: Path, steps: int = STEPS, seconds: float = 0.05) -> Plan:
    """Two lines of steps that meet: chains, a fan-out and a join."""
    inputs = {"ledger": str(ledger), "seconds": seconds}
    half = steps // 2
    lines = [
        Step(
            f"{line}{n}",
            action="test.work",
            with_=inputs,
            needs=[f"{line}{n - 1}"] if n else [],
        )
        for line in "ab"
        for n in range(half)
    ]
    ends = [f"{line}{half - 1}" for line in "ab"]
    join = Step("join", action="test.work", with_=inputs, needs=ends)
    return Plan("work", steps=[*lines, join])


@contextmanager
def under_load(world: World, ledger: Path) -> Iterator[Sequence[str]]:
    """Begin executions, run the block while they are under way, and see them end.

    Each step must have been run once: its process has lived through it all.
    """
    execution_ids = _begin_work(world, ledger)
    yield execution_ids
    check_ended_once(world.engine, execution_ids, ledger)


def _begin_work(world: World, ledger: Path) -> Sequence[str]:
    """Submit until some executions are under way, and not almost all at their end."""
    plan = work_plan(ledger)
    execution_ids: list[str] = []
    while len(read_lines(ledger)) >= count_runs(execution_ids[2:]):
        seen = len(read_lines(ledger))
        execution_ids += [world.engine.submit(plan) for _ in range(EXECUTIONS)]
        wait_until(
            lambda n=seen: len(read_lines(ledger)) > n + 4,  # type: ignore[misc]  # bound to this round
            what="the executions to be under way",
        )
    return execution_ids


def count_runs(execution_ids: Sequence[str]) -> int:
    """Return how many lines the ledger has when these have ended, and no others."""
    # the join is one more
    return len(execution_ids) * (STEPS + 1)


def check_ended_once(
    engine: ExecutionEngine, execution_ids: Sequence[str], ledger: Path
) -> None:
    for execution_id in execution_ids:
        result = engine.wait(execution_id, timeout_seconds=60)
        assert result.is_success, result.error
        check_timeline(engine, execution_id)
        assert {step.attempt for step in engine.list_steps(execution_id)} == {1}
    runs = Counter(read_lines(ledger))
    assert set(runs.values()) == {1}, runs.most_common(3)


def read_lines(ledger: Path) -> list[str]:
    return ledger.read_text().splitlines()


def let_pass(seconds: float) -> None:
    """Let an outage last: longer than a lease is what matters."""
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > until, what="time to pass")


def run_as_superuser(world: World, *statements: str) -> None:
    """Tell PostgreSQL something from outside the database that is under test."""
    url = str(world.stack.urls.database_url).replace("+psycopg2", "")
    with closing(psycopg2.connect(url.replace("/plans?", "/postgres?"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off")
            for statement in statements:
                cursor.execute(statement)


@dataclass
class Cuts:
    """Cut one call in six, half of them after the server has committed."""

    random: random.Random
    count: int = 0

    def decide(self, request: bytes) -> Fate:
        """Say what becomes of one request."""
        if not request.startswith(b"Q") or self.random.random() > 1 / 6:
            return Fate.SPARE
        self.count += 1
        return self.random.choice([Fate.CUT_REQUEST, Fate.CUT_ANSWER])
