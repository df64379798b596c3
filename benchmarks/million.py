"""Whether the millionth step is as fast as the first.

    python -m benchmarks.million [--steps 1000000] [--length 100] [--every 100000]

One worker of two processes works off chains while more are submitted, so that a steady
number is under way; nothing is ever removed. After each stretch the floor, bare
transactions in a database of their own, is timed on the same servers: a shared machine
is not equally fast for twenty minutes, so a fall is seen against the floor beside it.
Prints each stretch, what the database has grown to, and in the end checks every step.
Ctrl-C ends it after the stretch under way, with the same checks.
"""

import argparse
import signal
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import repeat

from rich.console import Console
from rich.table import Table

from benchmarks.stage import Stage, open_stage
from benchmarks.systems.bare_transaction import BARE_TWO, RunningBare
from benchmarks.systems.celery_plans import PLANS, RunningPlans

_UNDER_WAY = 40
"""Executions that are submitted and have not ended."""

_FLOOR = (100, 100)
"""The executions, and the steps of each, that the floor records after a stretch."""

_COUNT_STEPS = """
SELECT count(*) AS steps,
       count(*) FILTER (WHERE status = 'completed' AND attempt = 1) AS good
  FROM {schema}.execution_steps
"""


@dataclass(frozen=True)
class Stretch:
    """Some steps, one after the other, and the floor just after them."""

    steps: int
    """How many there were at its end."""
    rate: float
    floor_rate: float
    database_mb: float


@dataclass
class Marathon:
    """Runs stretch after stretch in one database."""

    stage: Stage
    running: RunningPlans
    floor: RunningBare
    length: int
    is_stopping: bool = False
    steps: int = 0
    """Those that have ended."""

    def stop(self, *_: object) -> None:
        """Begin no further stretch."""
        self.is_stopping = True

    def run(self, steps: int, every: int) -> Iterator[Stretch]:
        """Run so many steps; yield each stretch when it has ended."""
        while self.steps < steps and not self.is_stopping:
            rate = self._run_stretch(min(every, steps - self.steps) // self.length)
            yield Stretch(self.steps, rate, self._time_floor(), self._read_size_mb())

    def _run_stretch(self, executions: int) -> float:
        begun, under_way = time.perf_counter(), deque[str]()
        for _ in repeat(None, executions):
            if len(under_way) >= _UNDER_WAY:
                self.running.wait([under_way.popleft()])
            under_way.append(self.running.start_chain(self.length))
        self.running.wait(list(under_way))
        self.steps += executions * self.length
        return executions * self.length / (time.perf_counter() - begun)

    def _time_floor(self) -> float:
        executions, steps = _FLOOR
        return executions * steps / self.floor.time_chains(executions, steps)

    def _read_size_mb(self) -> float:
        with (
            closing(self.stage.connect()) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT pg_database_size(current_database())")
            (size_bytes,) = cursor.fetchone() or (0,)
        return float(size_bytes) / 2**20


def measure(options: argparse.Namespace, console: Console) -> list[Stretch]:
    """Run everything, say how far it is, and check it."""
    stretches = []
    with (
        open_stage() as stage,
        PLANS.run(stage) as running,
        BARE_TWO.run(stage) as floor,
    ):
        running.prepare_chain(options.length)
        marathon = Marathon(stage, running, floor, options.length)
        signal.signal(signal.SIGINT, marathon.stop)
        for stretch in marathon.run(options.steps, options.every):
            stretches.append(stretch)
            console.print(
                f"{stretch.steps:,} steps: {stretch.rate:,.0f} steps/s,"
                f" the floor {stretch.floor_rate:,.0f}"
            )
        row = running.database.query(_COUNT_STEPS)[0]
        assert row["good"] == row["steps"] == marathon.steps
    return stretches


def print_table(stretches: list[Stretch], console: Console) -> None:
    """Print each stretch beside the first."""
    table = Table(title="one database, nothing removed")
    headings = ("steps", "steps/s", "of the first", "of the floor", "database, MB")
    for heading in headings:
        table.add_column(heading, justify="right")
    for stretch in stretches:
        table.add_row(
            f"{stretch.steps:,}",
            f"{stretch.rate:,.0f}",
            f"{stretch.rate / stretches[0].rate:.2f}",
            f"{stretch.rate / stretch.floor_rate:.3f}",
            f"{stretch.database_mb:,.0f}",
        )
    console.print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--length", type=int, default=100)
    parser.add_argument("--every", type=int, default=100_000)
    options = parser.parse_args()
    console = Console(width=100)
    stretches = measure(options, console)
    if stretches:
        print_table(stretches, console)


if __name__ == "__main__":
    main()
