"""Chains of steps that do nothing: celery-plans beside raw Celery, in one run.

    python -m benchmarks.chains [--executions 100] [--steps 10] [--rounds 5]

Both run on the same servers and with the same two worker processes; the rounds
alternate. Of celery-plans every step is checked afterwards: completed, by exactly one
success. Prints a table with medians, the ratio, and the memory of the workers.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import redis
from celery import Celery, chain
from rich.console import Console
from rich.table import Table

from benchmarks import raw_celery
from execution import ExecutionEngine, Plan, Settings, Step, StepStatus
from execution.installation import open_installation

ROOT = Path(__file__).parent.parent
RAW_APP = "benchmarks.raw_celery:app"


@dataclass(frozen=True)
class Workload:
    """How much is run, and how often."""

    executions: int
    steps: int
    rounds: int

    @property
    def total_steps(self) -> int:
        """Steps in one round."""
        return self.executions * self.steps


@contextmanager
def run_worker(
    app: str, queue: str, environment: dict[str, str]
) -> Iterator[psutil.Process]:
    """Run a worker of two processes for as long as the block runs."""
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        app,
        "worker",
        "-c",
        "2",
        "-Q",
        queue,
    ]
    command += [
        "--without-gossip",
        "--without-mingle",
        "-l",
        "WARNING",
        "-n",
        f"{queue}@bench",
    ]
    process = subprocess.Popen(command, cwd=ROOT, env=environment)  # noqa: S603  # arguments of our own
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def measure_memory_mb(worker: psutil.Process) -> float:
    """Return what a worker and its children take, shared pages counted by share."""
    processes = [worker, *worker.children(recursive=True)]
    return sum(p.memory_full_info().pss for p in processes) / 2**20


def run_raw(app: Celery, client: redis.Redis, work: Workload) -> float:
    """Return the seconds that raw Celery takes for one round."""
    client.delete(raw_celery.DONE)
    step, last = app.tasks["raw.step"], app.tasks["raw.last"]
    begun = time.perf_counter()
    for _ in range(work.executions):
        chain(*[step.si() for _ in range(work.steps - 1)], last.si()).apply_async()
    for _ in range(work.executions):
        assert client.brpop([raw_celery.DONE], timeout=120)
    return time.perf_counter() - begun


def run_plans(engine: ExecutionEngine, work: Workload) -> float:
    """Return the seconds that celery-plans takes for one round, and check the round."""
    plan = Plan(
        "bench",
        steps=[Step(f"s{n}", action="bench.nothing") for n in range(work.steps)],
    )
    begun = time.perf_counter()
    ids = [engine.submit(plan) for _ in range(work.executions)]
    for execution_id in ids:
        assert engine.wait(execution_id, timeout_seconds=120).is_success
    seconds = time.perf_counter() - begun
    for execution_id in ids:
        check_steps(engine, execution_id)
    return seconds


def check_steps(engine: ExecutionEngine, execution_id: str) -> None:
    """Assert that every step completed, with one record of success."""
    steps = engine.list_steps(execution_id)
    assert all(step.status is StepStatus.COMPLETED for step in steps)
    events = engine.list_events(execution_id)
    successes = Counter(e.step for e in events if e.type == "step.completed")
    assert successes == Counter(step.name for step in steps)


def read_workload() -> Workload:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--executions", type=int, default=100)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    return Workload(**vars(parser.parse_args()))


def print_table(
    work: Workload, seconds: dict[str, list[float]], memory: dict[str, float]
) -> None:
    """Print medians, ranges, the ratio and the memory."""
    rates = {
        name: [work.total_steps / s for s in all_] for name, all_ in seconds.items()
    }
    reference = statistics.median(rates["raw Celery"])
    size = f"{work.executions} executions of {work.steps} steps"
    table = Table(title=f"{size}, {work.rounds} rounds")
    for heading in ("", "steps/s (median)", "range", "against raw", "workers, MB"):
        table.add_column(heading, justify="right")
    for name, values in rates.items():
        median = statistics.median(values)
        spread = f"{min(values):.0f} to {max(values):.0f}"
        table.add_row(
            name,
            f"{median:.0f}",
            spread,
            f"{median / reference:.2f}",
            f"{memory[name]:.0f}",
        )
    Console().print(table)


def main() -> None:
    """Measure and print."""
    work = read_workload()
    with tempfile.TemporaryDirectory(prefix="plans-bench-") as home:
        settings = Settings(
            local=True, home=Path(home), imports=("benchmarks.actions",)
        )
        installation = open_installation(settings)
        settings = replace(installation.settings, local=False)
        environment = {
            **os.environ,
            "PLANS_DATABASE_URL": str(settings.database_url),
            "PLANS_BROKER_URL": str(settings.broker_url),
            "PLANS_REDIS_URL": str(settings.redis_url),
            "PLANS_IMPORTS": "benchmarks.actions",
        }
        os.environ.update(environment)
        raw_celery.app.conf.broker_url = settings.broker_url
        seconds: dict[str, list[float]] = {"raw Celery": [], "celery-plans": []}
        with (
            ExecutionEngine(installation) as engine,
            redis.Redis.from_url(str(settings.redis_url)) as client,
            run_worker(RAW_APP, raw_celery.QUEUE, environment) as raw_worker,
            run_worker("workers.app", settings.queue, environment) as plans_worker,
        ):
            warm_up = replace(work, executions=10)
            run_raw(raw_celery.app, client, warm_up)
            run_plans(engine, warm_up)
            for _ in range(work.rounds):
                seconds["raw Celery"].append(run_raw(raw_celery.app, client, work))
                seconds["celery-plans"].append(run_plans(engine, work))
            memory = {
                "raw Celery": measure_memory_mb(raw_worker),
                "celery-plans": measure_memory_mb(plans_worker),
            }
        print_table(work, seconds, memory)


if __name__ == "__main__":
    main()
