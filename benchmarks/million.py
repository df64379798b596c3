"""Whether the millionth step is as fast as the first.

    python -m benchmarks.million [--steps 1000000] [--length 100] [--every 100000]

One worker of two processes works off chains while more are submitted, so that a steady
number is under way; nothing is ever removed. Prints the rate of each stretch, what the
stretch has added to the database, and in the end checks every step. Ctrl-C ends it
after what is under way, with the same checks.
"""

import argparse
import signal
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from benchmarks.stage import Stage, open_stage
from benchmarks.systems.celery_plans import PLANS, RunningPlans

_UNDER_WAY = 40
"""Executions that are submitted and have not ended."""

_BATCH = 10

_COUNT_UNDER_WAY = """
SELECT coalesce(sum(total_steps - open_steps), 0) AS done
  FROM {schema}.executions WHERE id = ANY (%s::uuid[])
"""

_COUNT_STEPS = """
SELECT count(*) AS steps,
       count(*) FILTER (WHERE status = 'completed' AND attempt = 1) AS good
  FROM {schema}.execution_steps
"""


@dataclass(frozen=True)
class Stretch:
    """Some steps, one after the other."""

    steps: int
    """How many there were at its end."""
    rate: float
    database_mb: float


@dataclass
class Marathon:
    """The steps that were run so far, and those under way."""

    stage: Stage
    running: RunningPlans
    length: int
    is_stopping: bool = False
    submitted: int = 0
    ended: int = 0
    under_way: deque[str] = field(default_factory=deque)

    def stop(self, *_: object) -> None:
        """Submit nothing more."""
        self.is_stopping = True

    def run(self, steps: int, every: int) -> Iterator[Stretch]:
        """Run so many steps; yield each stretch when it has ended."""
        begun, begun_steps = time.perf_counter(), 0
        self._submit(steps)
        while self.under_way:
            self.running.wait([self.under_way.popleft()])
            self.ended += self.length
            done = self._count_done()
            if done - begun_steps >= every or not (
                self.under_way or self._wants(steps)
            ):
                now = time.perf_counter()
                rate = (done - begun_steps) / (now - begun)
                yield Stretch(done, rate, self._read_size_mb())
                begun, begun_steps = now, done
            self._submit(steps)

    def _wants(self, steps: int) -> bool:
        return self.submitted < steps and not self.is_stopping

    def _submit(self, steps: int) -> None:
        if len(self.under_way) > _UNDER_WAY - _BATCH:
            return
        for _ in range(_BATCH):
            if not self._wants(steps):
                return
            self.under_way.append(self.running.start_chain(self.length))
            self.submitted += self.length

    def _count_done(self) -> int:
        # those under way run side by side, and would end all at once
        row = self.running.database.query(_COUNT_UNDER_WAY, (list(self.under_way),))[0]
        return self.ended + int(row["done"])

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
    with open_stage() as stage, PLANS.run(stage) as running:
        running.prepare_chain(options.length)
        marathon = Marathon(stage, running, options.length)
        signal.signal(signal.SIGINT, marathon.stop)
        for stretch in marathon.run(options.steps, options.every):
            stretches.append(stretch)
            console.print(f"{stretch.steps:,} steps: {stretch.rate:,.0f} steps/s")
        row = running.database.query(_COUNT_STEPS)[0]
        assert row["good"] == row["steps"] == marathon.ended
    return stretches


def print_table(stretches: list[Stretch], console: Console) -> None:
    """Print each stretch beside the first."""
    table = Table(title="one database, nothing removed")
    for heading in ("steps", "steps/s", "against the first", "database, MB"):
        table.add_column(heading, justify="right")
    for stretch in stretches:
        ratio = stretch.rate / stretches[0].rate
        table.add_row(
            f"{stretch.steps:,}",
            f"{stretch.rate:,.0f}",
            f"{ratio:.2f}",
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
