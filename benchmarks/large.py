"""What large plans cost for each of their steps, beside small ones: time and memory.

    python -m benchmarks.large [--few 1000] [--many 10000]

A chain and a fan-out with a join are compiled, submitted, run by a worker of two
processes, listed and watched from their first event on. If all of that is linear, a
step costs the same in both sizes. Memory is what Python holds at most meanwhile, and
for the run what its worker and PostgreSQL take at most.
"""

import argparse
import gc
import time
import tracemalloc
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.plans import build_chain, build_fan_out
from benchmarks.resources import PeakMemory
from benchmarks.stage import Stage, open_stage
from benchmarks.systems.celery_plans import PLANS, RunningPlans
from execution import Plan


@dataclass(frozen=True)
class Cost:
    """What something took."""

    seconds: float
    peak_mb: float


def build_plan(shape: str, steps: int) -> Plan:
    """Return a plan of so many steps."""
    return build_chain(steps) if shape == "chain" else build_fan_out(steps - 2)


def take(act: Callable[[], object]) -> Cost:
    """Do it twice: once for the time, and once, which is slower, for the memory."""
    gc.collect()
    begun = time.perf_counter()
    act()
    seconds = time.perf_counter() - begun
    gc.collect()
    tracemalloc.start()
    act()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return Cost(seconds, peak / 2**20)


def run_once(stage: Stage, running: RunningPlans, plan: Plan) -> tuple[str, Cost]:
    """Run the plan on the worker."""
    postgres = psutil.Process(stage.postgres.server_pid)
    with PeakMemory([*running.workers, postgres]) as memory:
        begun = time.perf_counter()
        execution_id = running.engine.submit(plan)
        running.wait([execution_id])
        seconds = time.perf_counter() - begun
    running.check([execution_id], len(plan.steps))
    return execution_id, Cost(seconds, memory.megabytes)


def measure(
    stage: Stage, running: RunningPlans, shape: str, steps: int
) -> dict[str, Cost]:
    """Take everything of one plan."""
    plan = build_plan(shape, steps)
    engine = running.engine
    engine.publish(plan)
    execution_id, run = run_once(stage, running, plan)
    submitted: list[str] = []
    costs = {
        "compile": take(partial(Plan.from_mapping, plan.definition)),
        "submit": take(lambda: submitted.append(engine.submit(plan))),
        "run": run,
        "show": take(partial(engine.list_steps, execution_id)),
        "monitor": take(lambda: deque(engine.monitor(execution_id), maxlen=1)),
    }
    running.wait(submitted)
    return costs


def print_table(shape: str, few: int, many: int, costs: list[dict[str, Cost]]) -> None:
    """Print what a step costs in each size."""
    table = Table(title=f"{shape}: {few:,} and {many:,} steps")
    headings = ("", "µs a step", "ratio", "MB in all", "ratio")
    for heading in headings:
        table.add_column(heading, justify="left" if not heading else "right")
    for name in costs[0]:
        small, large = (cost[name] for cost in costs)
        each = [1e6 * small.seconds / few, 1e6 * large.seconds / many]
        table.add_row(
            name,
            f"{each[0]:,.0f} / {each[1]:,.0f}",
            f"{each[1] / each[0]:.2f}",
            f"{small.peak_mb:,.1f} / {large.peak_mb:,.1f}",
            f"{large.peak_mb / small.peak_mb:.1f}",
        )
    Console(width=100).print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--few", type=int, default=1_000)
    parser.add_argument("--many", type=int, default=10_000)
    options = parser.parse_args()
    for shape in ("chain", "fan-out"):
        with open_stage() as stage, PLANS.run(stage) as running:
            costs = [
                measure(stage, running, shape, steps)
                for steps in (options.few, options.many)
            ]
        print_table(shape, options.few, options.many, costs)


if __name__ == "__main__":
    main()
