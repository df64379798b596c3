"""`plans why`: for each step that does not run, every reason for that.

It only reads.
"""

from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..durations import write_duration
from ..obstacles import Obstacle, Standstill, StillStep
from .connecting import connect
from .exits import printable
from .options import AsJson, ExecutionId, Local
from .output import print_json
from .tables import open_console

_MOST_STEPS = 20

app = typer.Typer(add_completion=False)


@app.command("why")
def tell_why(
    execution_id: ExecutionId,
    step: Annotated[
        str | None, typer.Argument(metavar="[STEP]", help="Of this step alone.")
    ] = None,
    most_steps: Annotated[
        int, typer.Option("--most", min=1, max=10_000, help="At most so many steps.")
    ] = _MOST_STEPS,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Say for each step that does not run what it waits for, and what ends the wait.

    First those that are about to run, then those that failed, then those that
    wait for others; of many the first twenty.

      plans why 019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1 charge
    """
    with connect() as engine:
        found = engine.why(execution_id, step=step, most_steps=most_steps)
    if as_json:
        print_json(found)
    else:
        _print(open_console(), found)


def _print(console: Console, found: Standstill) -> None:
    running = f"; running: {', '.join(found.running)}" if found.running else ""
    console.print(
        f"{found.execution_id} is {found.status}{printable(running)}",
        soft_wrap=True,
        highlight=False,
    )
    for still in found.steps:
        _print_step(console, still, found.seen_at)
    left = found.steps_in_all - len(found.steps)
    if left:
        console.print(f"and {left:,} more, which --most shows")
    elif not found.steps:
        console.print("every step that was asked about runs, or has completed")


def _print_step(console: Console, still: StillStep, now: datetime) -> None:
    console.print(
        Text.assemble((printable(still.name), "bold"), f" is {still.status}"),
        soft_wrap=True,
    )
    for obstacle in still.obstacles:
        console.print(f"  {_describe(obstacle, now)}", soft_wrap=True, highlight=False)


def _describe(obstacle: Obstacle, now: datetime) -> str:
    parts = [printable(obstacle.text)]
    if obstacle.until is not None:
        left_seconds = max(0, round((obstacle.until - now).total_seconds()))
        due = obstacle.until.astimezone().isoformat(" ", "seconds")
        parts.append(f"until {due}, in {write_duration(left_seconds)}")
    if obstacle.advice is not None:
        parts.append(f"see: {printable(obstacle.advice)}")
    return "; ".join(parts)
