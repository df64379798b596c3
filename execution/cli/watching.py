"""`plans watch`: one execution until it has ended, or all that filters name.

Looking changes nothing; Ctrl-C ends the looking alone.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from ..filters import ExecutionFilter
from ..states import ExecutionStatus
from .choosing import with_filter
from .completing import complete_executions
from .connecting import connect, outliving
from .display import write_error
from .exits import ExitCode, UsageError
from .following import draw_bar, open_view
from .options import AsJson, Local
from .output import print_json
from .overseeing import follow_all
from .tables import open_console

if TYPE_CHECKING:
    from ..engine import ExecutionEngine

app = typer.Typer(add_completion=False)


@app.command()
@with_filter
def watch(
    wanted: ExecutionFilter,
    execution_id: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="The execution's id; without one, all that the filters name.",
            autocompletion=complete_executions,
        ),
    ] = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Follow an execution until it has ended, or all until Ctrl-C.

    Ends with exit code 0 when the execution completed, else with 1. Ctrl-C
    ends the watching, not the execution. With --json, each line is one update.

      plans watch 019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1

      plans watch --plan hello --tag greetings
    """
    if execution_id is None:
        with connect() as engine:
            follow_all(engine, wanted, as_json=as_json)
    elif wanted != ExecutionFilter():
        raise UsageError("filters are for watching all; leave them or the id away")
    else:
        _watch_one(execution_id, as_json=as_json)


def _watch_one(execution_id: str, *, as_json: bool) -> None:
    with connect() as engine, outliving(engine, execution_id):
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


def _show_updates(engine: "ExecutionEngine", execution_id: str) -> None:
    with open_view(open_console(), draw_bar, told=None) as view:
        for update in engine.monitor(execution_id):
            view.show(update)
