"""What workers cost that have nothing to do: statements, and CPU time.

    python -m benchmarks.idle [--workers 50] [--pool solo] [--seconds 60] [--lease 30]

All run on one local stack. Once every worker has signed on, a lease is let pass, and
then they are watched. Prints what they ask of PostgreSQL together, by function, and
what each takes of a core.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.counting import CostMeter, open_meter
from benchmarks.resources import CpuSeconds, read_cpu, read_memory_mb
from benchmarks.stage import Stage, open_stage
from execution import Settings
from tests.worker_process import WorkerProcess

_STARTS_AT_ONCE = 4


@dataclass(frozen=True)
class Idleness:
    """What was seen in some seconds."""

    workers: int
    seconds: float
    before: CpuSeconds
    after: CpuSeconds
    calls: dict[str, int]
    memory_mb: float

    def find_percent(self, who: str) -> float:
        """Return what somebody took of one core, in percent."""
        spent = getattr(self.after, who) - getattr(self.before, who)
        return 100 * float(spent) / self.seconds


@contextmanager
def run_workers(
    settings: Settings, number: int, pool: str
) -> Iterator[list[psutil.Process]]:
    """Run so many workers of one slot for as long as the block runs."""

    def start(_: int) -> WorkerProcess:
        return WorkerProcess.start(settings, slots=1, pool=pool)

    with ExitStack() as stack, ThreadPoolExecutor(_STARTS_AT_ONCE) as starting:
        workers = list(starting.map(start, range(number)))
        for worker in workers:
            stack.enter_context(worker)
        yield [psutil.Process(worker.process.pid) for worker in workers]
        # together: each takes a second or two to stop
        for worker in workers:
            worker.process.terminate()


def watch(
    stage: Stage, meter: CostMeter, workers: Sequence[psutil.Process], seconds: float
) -> Idleness:
    """Look for some seconds."""
    position, before = meter.find_log_end(), read_cpu(stage, workers)
    begun = time.monotonic()
    time.sleep(seconds)
    calls, after = meter.read_log(position).calls, read_cpu(stage, workers)
    return Idleness(
        len(workers),
        time.monotonic() - begun,
        before,
        after,
        dict(calls),
        read_memory_mb(workers),
    )


def print_tables(seen: Idleness, title: str) -> None:
    """Print who takes what, and the statements by their function."""
    console = Console(width=100)
    table = Table(title=title)
    for heading in ("", "% of a core, together", "% of a core, per worker"):
        table.add_column(heading, justify="right")
    for who in ("workers", "postgres", "redis"):
        percent = seen.find_percent(who)
        table.add_row(who, f"{percent:.2f}", f"{percent / seen.workers:.3f}")
    console.print(table)
    per_second = sum(seen.calls.values()) / seen.seconds
    table = Table(title=f"{per_second:.2f} statements a second, all workers together")
    for heading in ("function", "per second", "seconds between two of one worker"):
        table.add_column(heading, justify="right")
    for name, number in sorted(seen.calls.items(), key=lambda pair: -pair[1]):
        rate = number / seen.seconds
        table.add_row(name, f"{rate:.2f}", f"{seen.workers / rate:.1f}")
    console.print(table)
    console.print(f"memory: {seen.memory_mb / seen.workers:.0f} MB a worker")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, default=50)
    parser.add_argument("--pool", choices=("solo", "prefork"), default="solo")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--lease", type=float, default=30.0)
    options = parser.parse_args()
    with (
        open_stage(lease_seconds=options.lease) as stage,
        open_meter(stage.stack) as meter,
    ):
        settings = meter.name_worker(stage.settings, lease_seconds=options.lease)
        with run_workers(settings, options.workers, options.pool) as workers:
            time.sleep(options.lease)
            seen = watch(stage, meter, workers, options.seconds)
        title = (
            f"{options.workers} idle workers, {options.pool}, lease {options.lease:g}"
        )
        print_tables(seen, title)


if __name__ == "__main__":
    main()
