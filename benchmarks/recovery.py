"""How long it takes until work goes on after a kill, and after a flush of Redis.

    python -m benchmarks.recovery [--lease 30] [--kills 20]

Each time is PostgreSQL's own, from just before the kill or the flush to the claim that
makes up for it. The actions hold while they are killed and end at once when they run
again, so that nothing but finding and sending is measured. Kills of children and
flushes come at random moments of a beat; workers beat each in a phase of their own.
Prints p50, p99 and the longest, as multiples of the lease or the beat, beside the
budgets. Of every execution it is checked that it ended well and what it cost.
"""

import argparse
import os
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import redis
from rich.console import Console
from rich.table import Table

from execution import ExecutionEngine, Plan, Settings, Step, StepStatus
from execution.database import Database
from execution.installation import open_installation
from tests.polling import wait_until
from tests.timeline import check_timeline
from tests.worker_process import WorkerProcess

_STARTS_AT_ONCE = 4
_phases = random.SystemRandom()


@dataclass(frozen=True)
class Bench:
    """The servers, and how often something is killed."""

    settings: Settings
    engine: ExecutionEngine
    database: Database
    home: Path
    kills: int

    def read_clock(self) -> datetime:
        """Return the time of PostgreSQL."""
        row = self.database.query("SELECT clock_timestamp() AS now")[0]
        now: datetime = row["now"]
        return now

    def pause(self, beats: float) -> None:
        """Let so many beats pass: what is found depends on the moment in the beat."""
        time.sleep(beats * self.settings.beat_seconds)


@dataclass(frozen=True)
class Held:
    """A step that holds until its gate opens, half a minute at most."""

    execution_id: str
    ledger: Path
    gate: Path

    def find_pid(self) -> int:
        """Wait until the step has begun; return the process that runs it."""
        words = wait_until(
            lambda: self.ledger.exists() and self.ledger.read_text().split(),
            what="a step to begin",
            timeout_seconds=60,
        )
        assert words
        return int(words[-1])


@dataclass(frozen=True)
class Measured:
    """The times of one kind of loss, and what they are to be compared with."""

    name: str
    seconds: Sequence[float]
    unit: str
    unit_seconds: float
    budget: str


def submit_held(bench: Bench) -> Held:
    """Submit a step that holds."""
    folder = Path(tempfile.mkdtemp(dir=bench.home))
    ledger, gate = folder / "ledger", folder / "gate"
    step = Step(
        "held", action="test.hold", with_={"ledger": str(ledger), "gate": str(gate)}
    )
    return Held(bench.engine.submit(Plan("held", steps=[step])), ledger, gate)


def read_claim_time(bench: Bench, execution_id: str, *, losses: int) -> datetime:
    """Wait for an execution to end well; return when its last attempt was claimed."""
    most_seconds = 60 + 6 * bench.settings.lease_seconds
    assert bench.engine.wait(execution_id, timeout_seconds=most_seconds).is_success
    check_timeline(bench.engine, execution_id)
    (step,) = bench.engine.list_steps(execution_id)
    assert (step.status, step.attempt, step.losses) == (
        StepStatus.COMPLETED,
        losses + 1,
        losses,
    )
    assert step.claimed_at is not None
    return step.claimed_at


@contextmanager
def run_workers(
    bench: Bench, number: int, *, slots: int, pool: str
) -> Iterator[list[WorkerProcess]]:
    """Run so many workers for as long as the block runs."""

    def start(_: int) -> WorkerProcess:
        return WorkerProcess.start(bench.settings, slots=slots, pool=pool)

    with ExitStack() as stack, ThreadPoolExecutor(_STARTS_AT_ONCE) as starting:
        workers = list(starting.map(start, range(number)))
        for worker in workers:
            stack.enter_context(worker)
        yield workers


def measure_killed_workers(bench: Bench) -> list[float]:
    """Kill workers of one slot, all at one moment; two others take over."""
    with run_workers(bench, bench.kills, slots=1, pool="threads") as victims:
        held = [submit_held(bench) for _ in victims]
        assert {h.find_pid() for h in held} == {v.process.pid for v in victims}
        with run_workers(bench, 2, slots=bench.kills, pool="threads"):
            killed_at = bench.read_clock()
            for victim in victims:
                victim.process.kill()
            for step in held:
                step.gate.touch()
            claimed = [read_claim_time(bench, h.execution_id, losses=1) for h in held]
    return [(at - killed_at).total_seconds() for at in claimed]


def measure_killed_children(bench: Bench) -> list[float]:
    """Kill children, one after another; the workers that they belong to go on."""
    killed: list[tuple[Held, datetime]] = []
    with run_workers(bench, 2, slots=2, pool="prefork"):
        for _ in range(bench.kills):
            held = submit_held(bench)
            pid = held.find_pid()
            bench.pause(_phases.random())
            killed.append((held, bench.read_clock()))
            os.kill(pid, signal.SIGKILL)
            held.gate.touch()
        return [
            (read_claim_time(bench, h.execution_id, losses=1) - at).total_seconds()
            for h, at in killed
        ]


def measure_flushes(bench: Bench, *, age_beats: float) -> list[float]:
    """Flush Redis again and again while steps of that age wait in it."""
    seconds: list[float] = []
    with run_workers(bench, 2, slots=1, pool="threads") as workers:
        while len(seconds) < bench.kills:
            seconds += flush_once(bench, len(workers), age_beats)
    return seconds


def flush_once(bench: Bench, slots: int, age_beats: float) -> list[float]:
    """Flush behind busy slots, which are free from then on; time what was lost."""
    occupants = [submit_held(bench) for _ in range(slots)]
    for occupant in occupants:
        occupant.find_pid()
    bench.pause(_phases.random())
    plan = Plan("flushed", steps=[Step("only", action="test.nothing")])
    waiting = [bench.engine.submit(plan) for _ in range(slots)]
    bench.pause(age_beats)
    flushed_at = bench.read_clock()
    with redis.Redis.from_url(str(bench.settings.redis_url)) as client:
        client.flushall()
    for occupant in occupants:
        occupant.gate.touch()
    claimed = [read_claim_time(bench, i, losses=0) for i in waiting]
    check_sent_anew(bench, waiting)
    return [(at - flushed_at).total_seconds() for at in claimed]


def check_sent_anew(bench: Bench, execution_ids: Sequence[str]) -> None:
    """Assert that the messages really were lost."""
    rows = bench.database.query(
        "SELECT publishes FROM {schema}.execution_steps"
        " WHERE execution_id = ANY (%s::uuid[])",
        (list(execution_ids),),
    )
    assert all(row["publishes"] > 1 for row in rows)


def measure(bench: Bench) -> list[Measured]:
    """Measure everything."""
    lease, beat = bench.settings.lease_seconds, bench.settings.beat_seconds
    worker_budget = "p50 ≤ 1.2, p99 ≤ 2 leases"
    beats_budget = "p50 ≤ 2 beats"
    return [
        Measured(
            "a worker killed",
            measure_killed_workers(bench),
            "lease",
            lease,
            worker_budget,
        ),
        Measured(
            "a child killed", measure_killed_children(bench), "beat", beat, beats_budget
        ),
        Measured(
            "flushed, sent 2 beats before",
            measure_flushes(bench, age_beats=2),
            "beat",
            beat,
            beats_budget,
        ),
        Measured(
            "flushed, sent just before",
            measure_flushes(bench, age_beats=0),
            "beat",
            beat,
            beats_budget,
        ),
    ]


def print_table(settings: Settings, measured: Sequence[Measured]) -> None:
    """Print percentiles, in seconds and as multiples."""
    lease, beat = settings.lease_seconds, settings.beat_seconds
    table = Table(title=f"seconds until work goes on; lease {lease:g}, beat {beat:.3g}")
    for heading in ("", "samples", "p50", "p99", "max", "as multiples", "budget"):
        table.add_column(heading, justify="right")
    for kind in measured:
        percentiles = statistics.quantiles(kind.seconds, n=100, method="inclusive")
        figures = (percentiles[49], percentiles[98], max(kind.seconds))
        multiples = " / ".join(f"{f / kind.unit_seconds:.2f}" for f in figures)
        table.add_row(
            kind.name,
            str(len(kind.seconds)),
            *[f"{figure:.2f}" for figure in figures],
            f"{multiples} {kind.unit}s",
            kind.budget,
        )
    Console(width=120).print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--lease", type=float, default=30.0)
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="plans-bench-") as home:
        settings = Settings(
            local=True,
            home=Path(home),
            imports=("tests.actions",),
            lease_seconds=options.lease,
        )
        installation = open_installation(settings)
        settings = replace(installation.settings, local=False)
        assert settings.database_url is not None
        database = Database(settings.database_url, settings.schema)
        with ExecutionEngine(installation) as engine:
            bench = Bench(settings, engine, database, Path(home), options.kills)
            print_table(settings, measure(bench))
            database.close()


if __name__ == "__main__":
    main()
