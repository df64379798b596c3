"""`plans logs`: what the steps of an execution logged and printed.

Promises: a line of a step takes one line, and those that its message has beyond the
first are indented; what a terminal would obey is not in them. It must not know where
lines come from.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..observations import LineLevel, LogLine
from ..states import ExecutionStatus
from .connecting import connect, outliving
from .display import write_error
from .exits import ExitCode, UsageError, printable
from .options import AsJson, ExecutionId, Local
from .output import print_json
from .tables import open_console

if TYPE_CHECKING:
    from ..engine import ExecutionEngine

_MOST_ID = 2**63 - 1
_MOST_NAMED_STEPS = 10
_STYLES = {
    LineLevel.DEBUG: "dim",
    LineLevel.INFO: "",
    LineLevel.WARNING: "yellow",
    LineLevel.ERROR: "red",
    LineLevel.CRITICAL: "bold red",
}
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

app = typer.Typer(add_completion=False)


@app.command("logs")
def show_logs(
    execution_id: ExecutionId,
    step: Annotated[
        str | None, typer.Option(help="Only this step, with its items and iterations.")
    ] = None,
    level: Annotated[
        LineLevel, typer.Option(help="Only this level and those above it.")
    ] = LineLevel.DEBUG,
    follow: Annotated[
        bool,
        typer.Option("-f", "--follow", help="Go on until the execution has ended."),
    ] = False,
    since_id: Annotated[
        int,
        typer.Option(
            min=0, max=_MOST_ID, help="Only lines after the one with this id."
        ),
    ] = 0,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Show what the steps of an execution logged and printed.

    With --follow it goes on until the execution has ended, and ends with exit
    code 0 when that completed, else with 1; with --json, each line is one line
    of a step then.

      plans logs 019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1 --level warning --follow
    """
    with connect() as engine, outliving(engine, execution_id):
        _refuse_unknown(engine, execution_id, step)
        read = engine.follow_logs if follow else partial(_read_all, engine)
        lines = read(execution_id, step=step, level=level, after=since_id)
        if as_json and not follow:
            print_json({"items": list(lines)})
        else:
            _print(lines, as_json=as_json)
        if follow:
            _end_as(engine, execution_id, as_json=as_json)


def _refuse_unknown(
    engine: "ExecutionEngine", execution_id: str, step: str | None
) -> None:
    if step is None:
        return
    names = [one.name for one in engine.list_steps(execution_id)]
    # an item may be there only later
    if step not in names and step.partition("[")[0] not in names:
        more = ", …" if len(names) > _MOST_NAMED_STEPS else ""
        known = ", ".join(names[:_MOST_NAMED_STEPS]) + more
        raise UsageError(f"the execution has no step {step!r}; it has {known}")


def _read_all(
    engine: "ExecutionEngine",
    execution_id: str,
    *,
    step: str | None,
    level: LineLevel,
    after: int,
) -> Iterator[LogLine]:
    while page := engine.list_logs(execution_id, step=step, level=level, after=after):
        yield from page
        after = page[-1].id


def _print(lines: Iterator[LogLine], *, as_json: bool) -> None:
    console = open_console()
    is_silent = True
    for line in lines:
        is_silent = False
        if as_json:
            print_json(line, on_one_line=True)
        else:
            _print_line(console, line)
    if is_silent and not as_json:
        typer.echo("no step has logged or printed such lines", err=True)


def _print_line(console: Console, line: LogLine) -> None:
    first, *others = _COLOURS.sub("", line.message).split("\n")
    attempt = f" #{line.attempt}" if line.attempt > 1 else ""
    shown = Text.assemble(
        (f"{_write_moment(line.at)} ", "dim"),
        (f"{line.level:8} ", _STYLES[line.level]),
        (f"{printable(line.step)}{attempt} ", "cyan"),
        (f"{printable(line.source)}: ", "dim"),
        (printable(first), _STYLES[line.level]),
    )
    for other in others:
        shown.append(f"\n    {printable(other)}", style=_STYLES[line.level])
    console.print(shown, soft_wrap=True)


def _write_moment(moment: datetime) -> str:
    return moment.astimezone().isoformat(" ", "milliseconds")[:23]


def _end_as(engine: "ExecutionEngine", execution_id: str, *, as_json: bool) -> None:
    execution = engine.get_status(execution_id)
    if execution.error is not None and not as_json:
        typer.echo(write_error(execution.error), err=True)
    if execution.status is not ExecutionStatus.COMPLETED:
        raise typer.Exit(ExitCode.FAILED)
