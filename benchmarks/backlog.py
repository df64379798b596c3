"""A backlog that nobody lost: how many of its steps are sent more than once.

    python -m benchmarks.backlog [--steps 10000] [--lease 30]

Everything is submitted before the worker starts, so that most steps wait for long in a
queue that is sound. Whoever takes a waiting message for a lost one sends it again: that
does no harm, but it is work for nothing. Two shapes are measured: executions of one
step, all of whose messages lie in the broker, and wide plans, which are sent a few at a
time. It is checked that every step ended well, at its first attempt.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from execution import ExecutionEngine, Plan, Settings, Step
from execution.database import Database
from execution.installation import open_installation
from tests.worker_process import WorkerProcess

WIDTH = 500
"""Steps of a wide plan."""


@dataclass(frozen=True)
class Drained:
    """What became of a backlog."""

    steps: int
    seconds: float
    resent_steps: int
    """Steps that were sent more than once."""
    extra_messages: int
    """Messages beyond the first of each step."""
    good_steps: int
    """Steps that completed at their first attempt."""


def build_plan(width: int) -> Plan:
    """Return a plan of so many steps that need nothing and do nothing."""
    return Plan(
        f"backlog-{width}",
        steps=[
            Step(f"s{n}", action="test.nothing", needs=[] if width > 1 else None)
            for n in range(width)
        ],
    )


def submit_backlog(engine: ExecutionEngine, steps: int, *, width: int) -> list[str]:
    """Submit executions of `width` steps until there are so many steps."""
    plan = build_plan(width)
    return [engine.submit(plan) for _ in range(steps // width)]


def drain(
    engine: ExecutionEngine,
    database: Database,
    execution_ids: Sequence[str],
    *,
    timeout_seconds: float,
) -> Drained:
    """Wait for a backlog to end, and count."""
    begun = time.monotonic()
    for execution_id in execution_ids:
        left = begun + timeout_seconds - time.monotonic()
        assert engine.wait(execution_id, timeout_seconds=max(left, 0.1)).is_success
    seconds = time.monotonic() - begun
    row = database.query(
        "SELECT count(*) AS steps, count(*) FILTER (WHERE publishes > 1) AS resent,"
        " sum(publishes - 1) AS extra,"
        " count(*) FILTER (WHERE status = 'completed' AND attempt = 1) AS good"
        " FROM {schema}.execution_steps WHERE execution_id = ANY (%s::uuid[])",
        (list(execution_ids),),
    )[0]
    return Drained(row["steps"], seconds, row["resent"], int(row["extra"]), row["good"])


def measure(
    engine: ExecutionEngine, settings: Settings, steps: int, *, width: int
) -> Drained:
    """Submit a backlog, start a worker of two processes, and see it drained."""
    assert settings.database_url is not None
    database = Database(settings.database_url, settings.schema)
    execution_ids = submit_backlog(engine, steps, width=width)
    with WorkerProcess.start(settings, slots=2):
        drained = drain(engine, database, execution_ids, timeout_seconds=steps / 10)
    database.close()
    assert drained.good_steps == drained.steps == steps
    return drained


def print_table(drained: dict[str, Drained], lease_seconds: float) -> None:
    """Print what was counted."""
    table = Table(title=f"backlogs of one worker of two slots; lease {lease_seconds:g}")
    headings = ("", "steps", "seconds", "sent more than once", "messages too many")
    for heading in headings:
        table.add_column(heading, justify="right")
    for name, done in drained.items():
        figures = (done.steps, f"{done.seconds:.1f}", done.resent_steps)
        table.add_row(name, *map(str, figures), str(done.extra_messages))
    Console(width=100).print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--lease", type=float, default=30.0)
    options = parser.parse_args()
    steps = max(1, options.steps // WIDTH) * WIDTH
    with tempfile.TemporaryDirectory(prefix="plans-bench-") as home:
        asked = Settings(
            local=True,
            home=Path(home),
            imports=("tests.actions",),
            lease_seconds=options.lease,
        )
        installation = open_installation(asked)
        settings = replace(installation.settings, local=False)
        with ExecutionEngine(installation) as engine:
            drained = {
                "executions of one step": measure(engine, settings, steps, width=1),
                f"plans of {WIDTH} steps": measure(
                    engine, settings, steps, width=WIDTH
                ),
            }
        print_table(drained, options.lease)


if __name__ == "__main__":
    main()
