"""`plans workers`, `show`: what was, and what is.

They only read.
"""

from enum import StrEnum
from typing import Annotated

import typer

from ..narration import choose_steps
from .connecting import connect
from .display import (
    build_events_table,
    build_history_table,
    build_signals_table,
    build_steps_table,
    build_summary,
    build_workers_table,
    count_statuses,
    write_error,
)
from .idleness import warn_of_waiting
from .options import AsJson, ExecutionId, Local
from .output import print_json, shape_record, write_json
from .record import Record, read_record
from .tables import open_console, print_table

_MOST_STEPS = 100
_MOST_EVENTS = 1_000


app = typer.Typer(add_completion=False)


class StepChoice(StrEnum):
    """Which steps of an execution are shown."""

    NOTABLE = "notable"
    ALL = "all"


@app.command("workers")
def list_workers(as_json: AsJson = False, _local: Local = False) -> None:
    """List the workers, and what their reconcilers have done.

    One that was killed is shown as silent, until another worker declares it dead.

      plans workers
    """
    with connect() as engine:
        workers = engine.list_workers()
        lease_seconds = engine.settings.lease_seconds
    if as_json:
        print_json({"items": workers})
        return
    print_table(
        open_console(), build_workers_table(workers, lease_seconds=lease_seconds)
    )


@app.command()
def show(
    execution_id: ExecutionId,
    events: Annotated[
        bool, typer.Option("--events", help="Also show the whole timeline.")
    ] = False,
    steps: Annotated[
        StepChoice, typer.Option(help="Which steps to show.")
    ] = StepChoice.NOTABLE,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Show one execution: steps, history, error, result.

    Of many steps the hundred that need a look most are shown, or all with
    --steps all, and of many events the last thousand; --json prints all.

      plans show 019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1 --events
    """
    with connect() as engine:
        record = read_record(engine, execution_id, with_events=events)
        if not as_json:
            warn_of_waiting(engine, record.steps)
    if as_json:
        print_json(shape_record(record, with_events=events))
    else:
        most = _MOST_STEPS if steps is StepChoice.NOTABLE else len(record.steps)
        _print_record(record, most_steps=most, with_events=events)


def _print_record(record: Record, *, most_steps: int, with_events: bool) -> None:
    console = open_console()
    execution = record.execution
    print_table(console, build_summary(execution))
    shown = choose_steps(record.steps, most_steps)
    print_table(console, build_steps_table(shown))
    if len(shown) < len(record.steps):
        counted = count_statuses(record.steps)
        console.print(f"{len(shown)} of {counted}; --steps all shows them all")
    print_table(console, build_history_table(record.history))
    if record.signals:
        print_table(console, build_signals_table(record.signals))
    if with_events:
        shown_events = record.events[-_MOST_EVENTS:]
        print_table(console, build_events_table(shown_events))
        if len(shown_events) < len(record.events):
            console.print(f"the last {_MOST_EVENTS:,} of {len(record.events):,} events")
    for name, value in (
        ("parameters", execution.parameters),
        ("variables", execution.variables),
        ("result", execution.result),
    ):
        if value:
            console.print(f"{name} {write_json(value)}", soft_wrap=True)
    if execution.error is not None:
        console.print(f"error {write_error(execution.error)}", soft_wrap=True)
