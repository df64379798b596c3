"""The floor: what PostgreSQL alone takes to record steps, with no queue and no worker.

Each step is one transaction of one statement, which updates the step's row and inserts
an event and a checkpoint. The rows of the steps are there before any time is taken.
"""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field

import psutil
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class with a small name

from benchmarks.stage import ROOT, Stage
from benchmarks.systems.system import Running, System

DATABASE = "bare"
_TABLES = """
CREATE TABLE IF NOT EXISTS step (
    execution_id uuid, position int, status text NOT NULL, ended_at timestamptz,
    PRIMARY KEY (execution_id, position)) WITH (fillfactor = 70);
CREATE TABLE IF NOT EXISTS event (
    execution_id uuid, seq int, type text NOT NULL, at timestamptz NOT NULL,
    PRIMARY KEY (execution_id, seq));
CREATE TABLE IF NOT EXISTS checkpoint (
    execution_id uuid, position int, data jsonb NOT NULL,
    PRIMARY KEY (execution_id, position));
"""
_COUNT_GOOD_STEPS = """
SELECT count(*) FROM step JOIN event e USING (execution_id)
  JOIN checkpoint c USING (execution_id, position)
 WHERE e.seq = position AND status = 'completed' AND execution_id = ANY (%s::uuid[])
"""


@dataclass
class RunningBare(Running):
    """Connections that wait for ids, each in a process of its own."""

    connection: Connection
    processes: Sequence["subprocess.Popen[str]"]
    workers: Sequence[psutil.Process]
    steps: dict[str, int] = field(default_factory=dict)

    def start_chain(self, steps: int) -> str:
        """Insert the rows of an execution; it runs when it is waited for."""
        execution_id = str(uuid.uuid4())
        with self.connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO step SELECT %s, n, 'ready' FROM generate_series(0, %s) n",
                (execution_id, steps - 1),
            )
        self.steps[execution_id] = steps
        return execution_id

    def wait(self, ids: Sequence[str]) -> Mapping[str, float]:
        """Share the ids out among the connections and wait until all are done."""
        number = len(self.processes)
        shares = [list(ids[index::number]) for index in range(number)]
        for process, share in zip(self.processes, shares, strict=True):
            assert process.stdin is not None
            order = {"ids": share, "steps": self.steps[ids[0]]}
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
        ends: dict[str, float] = {}
        for process in self.processes:
            assert process.stdout is not None
            ends |= json.loads(process.stdout.readline())
        return ends

    def check(self, ids: Sequence[str], steps: int) -> None:
        """Count what was recorded."""
        with self.connection.cursor() as cursor:
            cursor.execute(_COUNT_GOOD_STEPS, (list(ids),))
            assert cursor.fetchone() == (len(ids) * steps,)

    def time_chains(self, executions: int, steps: int) -> float:
        """Time the steps alone: that rows are inserted is no part of the floor."""
        ids = [self.start_chain(steps) for _ in range(executions)]
        begun = time.perf_counter()
        self.wait(ids)
        seconds = time.perf_counter() - begun
        self.check(ids, steps)
        return seconds


@dataclass(frozen=True)
class BareTransaction(System):
    """The floor on a number of connections."""

    name: str
    title: str
    connections: int
    leaves_out: Collection[str] = ("fan-out", "submit", "hops", "half-load")

    @contextmanager
    def run(self, stage: Stage) -> Iterator[RunningBare]:
        """Open the connections."""
        dsn = stage.make_database(DATABASE)
        command = [sys.executable, "-m", "benchmarks.systems.bare_worker", dsn]
        with closing(stage.connect(DATABASE)) as connection, ExitStack() as stack:
            with connection.cursor() as cursor:
                cursor.execute(_TABLES)
            processes = [
                stack.enter_context(
                    subprocess.Popen(
                        command,
                        cwd=ROOT,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                )
                for _ in range(self.connections)
            ]
            workers = [psutil.Process(process.pid) for process in processes]
            # they end when their standard input does, as it does with the block
            yield RunningBare(connection, processes, workers)


BARE_ONE = BareTransaction("bare-1", "bare transaction, 1 connection", 1)
BARE_TWO = BareTransaction("bare-2", "bare transaction, 2 connections", 2)
