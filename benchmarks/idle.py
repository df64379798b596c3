"""What workers cost that have nothing to do, together and each, beside bare Celery.

    python -m benchmarks.idle [--workers 50] [--bare 5] [--seconds 30]

Workers of the pool `solo` on servers of their own. Statements are counted by PostgreSQL
as transactions: workers call it with autocommit. The share of a core is that of each
process over the time that is measured; bare Celery workers, of an app without plans but
with the same settings and options, idle in the same time for comparison.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from execution import Settings
from execution.database import Database
from execution.local import LocalStack
from execution.schema import upgrade
from tests.polling import wait_until
from tests.worker_process import ROOT, build_environment

_STARTS_AT_ONCE = 4
_SETTLE_SECONDS = 15.0
_COMMITS = """
    SELECT xact_commit + xact_rollback AS n FROM pg_stat_database
     WHERE datname = current_database()
"""
_SIGNED_ON = "SELECT count(*) AS n FROM {schema}.workers WHERE ended_at IS NULL"
_OPTIONS = ["-P", "solo", "-l", "WARNING", "--without-gossip", "--without-mingle"]


@dataclass(frozen=True)
class Measured:
    """What was used in the time that was measured."""

    statements_a_second: float
    worker_percents: Sequence[float]
    bare_percents: Sequence[float]


@contextmanager
def run_worker(app: str, settings: Settings, name: str) -> Iterator[psutil.Popen]:
    """Run one worker of the app at `app` for as long as the block runs."""
    command = [sys.executable, "-m", "celery", "-A", app, "worker", *_OPTIONS]
    process = psutil.Popen(
        [*command, "-Q", settings.queue, "-n", f"{name}@idle"],
        cwd=ROOT,
        env=build_environment(settings),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def start_workers(
    stack: ExitStack, database: Database, settings: Settings, number: int
) -> list[psutil.Popen]:
    """Start workers, a few at a time, and wait until all have signed on."""
    started: list[psutil.Popen] = []
    while len(started) < number:
        for _ in range(min(_STARTS_AT_ONCE, number - len(started))):
            name = f"worker{len(started)}"
            started.append(
                stack.enter_context(run_worker("workers.app", settings, name))
            )
        expected = len(started)
        wait_until(
            lambda n=expected: database.query(_SIGNED_ON)[0]["n"] >= n,  # type: ignore[misc]  # bound to this round
            what=f"{expected} workers to sign on",
            timeout_seconds=120,
        )
    return started


def read_cpu_seconds(processes: Sequence[psutil.Process]) -> list[float]:
    """Return what each process has used so far."""
    times = [process.cpu_times() for process in processes]
    return [t.user + t.system for t in times]


def measure(
    database: Database,
    workers: Sequence[psutil.Process],
    bare: Sequence[psutil.Process],
    seconds: float,
) -> Measured:
    """Let them idle for `seconds`, and look at what that took."""
    everybody = [*workers, *bare]
    cpu_before = read_cpu_seconds(everybody)
    commits = database.query(_COMMITS)[0]["n"]
    begun = time.monotonic()
    time.sleep(seconds)
    commits = database.query(_COMMITS)[0]["n"] - commits
    passed = time.monotonic() - begun
    used = [
        100 * (after - before) / passed
        for before, after in zip(cpu_before, read_cpu_seconds(everybody), strict=True)
    ]
    return Measured(commits / passed, used[: len(workers)], used[len(workers) :])


def main() -> None:
    """Start servers and workers, wait, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=50)
    parser.add_argument("--bare", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--lease", type=float, default=30.0)
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="plans-idle-", dir="/tmp"))
    with ExitStack() as stack:
        servers = stack.enter_context(LocalStack.start(home))
        settings = Settings(
            database_url=servers.urls.database_url,
            broker_url=servers.urls.broker_url,
            redis_url=servers.urls.redis_url,
            imports=("tests.actions",),
            lease_seconds=options.lease,
        )
        assert settings.database_url is not None
        upgrade(settings.database_url, settings.schema)
        database = Database(settings.database_url, settings.schema)
        bare = [
            stack.enter_context(
                run_worker(
                    "benchmarks.bare_celery",
                    replace(settings, queue="bare"),
                    f"bare{n}",
                )
            )
            for n in range(options.bare)
        ]
        workers = start_workers(stack, database, settings, options.workers)
        time.sleep(_SETTLE_SECONDS)
        show(measure(database, workers, bare, options.seconds))
        database.close()


def show(measured: Measured) -> None:
    """Print a table."""
    table = Table(title=f"{len(measured.worker_percents)} idle workers")
    for column in ("", "p50", "most"):
        table.add_column(column)
    rate = f"{measured.statements_a_second:.1f}"
    table.add_row("statements a second, together", rate, "")
    for name, percents in (
        ("% of a core, each", measured.worker_percents),
        ("% of a core, bare Celery", measured.bare_percents),
    ):
        if percents:
            middle = statistics.median(percents)
            table.add_row(name, f"{middle:.2f}", f"{max(percents):.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
