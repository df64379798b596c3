"""`plans list`, `workers`, `show`, `watch`: what was, what is, and what comes.

They only read. Pages are cut by the database; the timeline of one execution is read
whole.
"""

import json
import math
from typing import Annotated

import typer

from execution.cli.display import (
    build_events_table,
    build_executions_table,
    build_history_table,
    build_steps_table,
    build_summary,
    build_workers_table,
    choose_steps,
    count_statuses,
    open_console,
    write_error,
)
from execution.cli.exits import ExitCode
from execution.cli.following import ROUTINE, UNIMPORTANT, draw_bar, open_view
from execution.cli.options import AsJson, Local
from execution.cli.output import print_json, shape_record, to_json
from execution.cli.record import Record, read_record
from execution.engine import ExecutionEngine
from execution.events import EVENT_TYPES
from execution.queries import ExecutionFilter
from execution.states import ExecutionStatus

_MOST_PAGE_SIZE = 500
_MOST_STEPS = 100
_MOST_EVENTS = 1_000

ExecutionId = Annotated[str, typer.Argument(metavar="ID", help="The execution's id.")]

app = typer.Typer()


@app.command("list")
def list_executions(
    status: Annotated[
        ExecutionStatus | None, typer.Option(help="Only those in this state.")
    ] = None,
    plan: Annotated[str | None, typer.Option(help="Only those of this plan.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only those with this tag.")] = None,
    parent: Annotated[
        str | None, typer.Option(help="Only those that this execution has begun.")
    ] = None,
    page: Annotated[int, typer.Option(min=1, help="Which page.")] = 1,
    page_size: Annotated[
        int, typer.Option(min=1, max=_MOST_PAGE_SIZE, help="Executions on a page.")
    ] = 20,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """List executions, newest first."""
    wanted = ExecutionFilter(status=status, plan=plan, tag=tag, parent_id=parent)
    with ExecutionEngine.connect() as engine:
        if parent is not None:
            engine.get_status(parent)
        found = engine.list_executions(wanted, page=page, page_size=page_size)
    if as_json:
        print_json(found)
        return
    console = open_console()
    console.print(build_executions_table(found.items))
    pages = max(1, math.ceil(found.total / found.page_size))
    console.print(f"page {found.page} of {pages}, {found.total} in all")


@app.command("workers")
def list_workers(as_json: AsJson = False, _local: Local = False) -> None:
    """List the workers, and what their reconcilers have done.

    One that was killed is shown as silent, until another worker declares it dead.
    """
    with ExecutionEngine.connect() as engine:
        workers = engine.list_workers()
        lease_seconds = engine.settings.lease_seconds
    if as_json:
        print_json({"items": workers})
        return
    open_console().print(build_workers_table(workers, lease_seconds=lease_seconds))


@app.command()
def show(
    execution_id: ExecutionId,
    events: Annotated[
        bool, typer.Option("--events", help="Also show the whole timeline.")
    ] = False,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Show one execution: steps, history, error, result.

    Of many steps the hundred that need a look most are shown, and of many
    events the last thousand; --json prints all.
    """
    with ExecutionEngine.connect() as engine:
        record = read_record(engine, execution_id, with_events=events)
    if as_json:
        print_json(shape_record(record, with_events=events))
    else:
        _print_record(record, with_events=events)


def _print_record(record: Record, *, with_events: bool) -> None:
    console = open_console()
    execution = record.execution
    console.print(build_summary(execution))
    shown = choose_steps(record.steps, _MOST_STEPS)
    console.print(build_steps_table(shown))
    if len(shown) < len(record.steps):
        console.print(f"{len(shown)} of {count_statuses(record.steps)}")
    console.print(build_history_table(record.history))
    if with_events:
        shown_events = record.events[-_MOST_EVENTS:]
        console.print(build_events_table(shown_events))
        if len(shown_events) < len(record.events):
            console.print(f"the last {_MOST_EVENTS:,} of {len(record.events):,} events")
    for name, value in (
        ("parameters", execution.parameters),
        ("variables", execution.variables),
        ("result", execution.result),
    ):
        if value:
            text = json.dumps(to_json(value), indent=2, ensure_ascii=False)
            console.print(f"{name} {text}", soft_wrap=True)
    if execution.error is not None:
        console.print(f"error {write_error(execution.error)}", soft_wrap=True)


@app.command()
def watch(
    execution_id: ExecutionId,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Follow an execution until it has ended.

    Ends with exit code 0 when the execution completed, else with 1. With
    --json, each line is one update.
    """
    with ExecutionEngine.connect() as engine:
        if as_json:
            for update in engine.monitor(execution_id):
                print_json(update, on_one_line=True)
        else:
            _show_updates(engine, execution_id)
        execution = engine.get_status(execution_id)
    if execution.error is not None and not as_json:
        typer.echo(write_error(execution.error), err=True)
    if execution.status is not ExecutionStatus.COMPLETED:
        raise typer.Exit(ExitCode.FAILED)


def _show_updates(engine: ExecutionEngine, execution_id: str) -> None:
    total_steps = engine.get_status(execution_id).total_steps
    # that a step began or ended well is news as long as there are few
    told = EVENT_TYPES - (ROUTINE if total_steps > _MOST_STEPS else UNIMPORTANT)
    with open_view(open_console(), draw_bar, told=told) as view:
        for update in engine.monitor(execution_id):
            view.show(update)
