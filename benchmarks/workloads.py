"""What is run on every system, and what is measured while it runs.

A workload that needs running workers is a function of a turn: one system with its
workers up. What a system cannot do raises NotThereError, and its row says so.
"""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.resources import PeakMemory, read_cpu
from benchmarks.results import Collector
from benchmarks.stage import Stage
from benchmarks.systems.system import Running, System

_ARRIVALS_SEED = 7


@dataclass(frozen=True)
class Size:
    """How much is run."""

    executions: int = 200
    steps: int = 10
    singles: int = 20
    """Executions that are run one at a time."""
    lengths: tuple[int, ...] = (100, 500, 1000)
    width: int = 200
    submitted: int = 1000
    arrivals: int = 80
    warm_ups: int = 10

    @classmethod
    def small(cls) -> "Size":
        """Return a size that only shows that everything works."""
        return cls(10, 10, 3, (20, 40), 20, 20, 10, 4)


@dataclass
class Turn:
    """One system, with its workers up, in one round."""

    stage: Stage
    system: System
    running: Running
    size: Size
    collector: Collector
    rate: float = field(default=0.0)
    """Steps per second of `chains` in this turn."""

    def add(self, workload: str, measure: str, unit: str, *values: float) -> None:
        """Keep what was measured."""
        self.collector.add(workload, self.system.name, measure, unit, *values)


def warm_up(turn: Turn) -> None:
    """Let every process import, connect and prepare what it needs."""
    turn.running.prepare_chain(turn.size.steps)
    turn.running.time_chains(turn.size.warm_ups, turn.size.steps)


def measure_chains(turn: Turn) -> None:
    """Many chains at once: steps per second, and what they cost."""
    size = turn.size
    steps = size.executions * size.steps
    before = read_cpu(turn.stage, turn.running.workers)
    with PeakMemory(turn.running.workers) as peak:
        seconds = turn.running.time_chains(size.executions, size.steps)
    after = read_cpu(turn.stage, turn.running.workers)
    turn.rate = steps / seconds
    turn.add("chains", "rate", "steps/s", turn.rate)
    turn.add("chains", "memory of workers", "MB", peak.megabytes)
    for who, cpu_ms in after.per_step_ms(before, steps).items():
        turn.add("chains", f"CPU {who}", "ms/step", cpu_ms)


def measure_latency(turn: Turn) -> None:
    """One chain at a time, on workers that have nothing else to do."""
    size = turn.size
    per_step = [
        1000 * turn.running.time_chains(1, size.steps) / size.steps
        for _ in range(size.singles)
    ]
    turn.add("latency", "step", "ms/step", *per_step)


def measure_long_chains(turn: Turn) -> None:
    """One long chain: is its thousandth step as fast as its first?"""
    for length in turn.size.lengths:
        turn.running.prepare_chain(length)
        seconds = turn.running.time_chains(1, length)
        turn.add("long-chain", f"{length} steps", "ms/step", 1000 * seconds / length)


def measure_fan_out(turn: Turn) -> None:
    """One step, many parallel ones, and one after all of them."""
    width = turn.size.width
    turn.running.prepare_fan_out(width)
    begun = time.perf_counter()
    name = turn.running.start_fan_out(width)
    turn.running.wait([name])
    seconds = time.perf_counter() - begun
    turn.running.check([name], width + 2)
    turn.add("fan-out", f"1 → {width} → 1", "s", seconds)


def measure_half_load(turn: Turn) -> None:
    """Chains that arrive whatever has become of those before, at half of the load.

    The time of one counts from when it was due, so that a late submit is no excuse.
    """
    size = turn.size
    if not turn.rate:
        seconds = turn.running.time_chains(size.executions, size.steps)
        turn.rate = size.executions * size.steps / seconds
    per_second = turn.rate / 2 / size.steps
    # the same arrivals for everyone, only faster or slower
    draw = random.Random(_ARRIVALS_SEED)
    due_at, due = time.time(), {}
    for _ in range(size.arrivals):
        due_at += draw.expovariate(per_second)
        time.sleep(max(0.0, due_at - time.time()))
        due[turn.running.start_chain(size.steps)] = due_at
    ends = turn.running.wait(list(due))
    turn.running.check(list(due), size.steps)
    took_ms = [1000 * (ends[name] - at) for name, at in due.items()]
    turn.add("half-load", "execution", "ms", *took_ms)


def measure_hops(turn: Turn) -> None:
    """One chain at a time, each step on another queue than the one before."""
    size = turn.size
    per_step = [
        1000 * turn.running.time_chains(1, size.steps) / size.steps
        for _ in range(size.singles)
    ]
    turn.add("hops", "step", "ms/step", *per_step)


WITH_WORKERS: Mapping[str, Callable[[Turn], None]] = {
    "chains": measure_chains,
    "latency": measure_latency,
    "long-chain": measure_long_chains,
    "fan-out": measure_fan_out,
    "half-load": measure_half_load,
}

NAMES = (*WITH_WORKERS, "submit", "hops", "counts")
"""Every workload, in the order of the tables."""

TITLES: Mapping[str, str] = {
    "chains": "many chains at once",
    "latency": "one idle chain at a time",
    "long-chain": "one long chain",
    "fan-out": "fan-out and join",
    "half-load": "chains that arrive at half of the measured load",
    "submit": "submitting, while no worker runs",
    "hops": "each step on the other of two queues",
    "counts": "celery-plans in counts for each step",
}
