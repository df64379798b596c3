"""`plans actions`: what workers offer, and what a plan can call.

It only reads what workers have published; no code of an action is imported.
"""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ..catalogue import ActionParameter, ActionSummary
from ..errors import ActionNotFoundError
from ..places import nearest
from ..recovery import STRATEGY_PREFIX
from .completing import complete_actions
from .connecting import connect
from .display import write_time
from .exits import printable
from .options import AsJson, Local
from .output import print_json, write_json
from .tables import open_console, print_table

app = typer.Typer(add_completion=False)


@app.command("actions")
def list_actions(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Show all of this one.",
            autocompletion=complete_actions,
        ),
    ] = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """List the actions that workers have published.

    With a name, show what it takes and returns, and its documentation. An
    action that no worker offers any more stays in the list.

      plans actions greet.compose
    """
    with connect() as engine:
        actions = engine.list_actions()
    if name is None:
        _print_all(actions, as_json=as_json)
    else:
        _print_one(choose_action(actions, name), as_json=as_json)


def choose_action(actions: Sequence[ActionSummary], name: str) -> ActionSummary:
    """Return the action of that name.

    Raises ActionNotFoundError, with the most similar name, when there is none.
    """
    for wanted in (name, f"{STRATEGY_PREFIX}{name}"):
        for action in actions:
            if action.name == wanted:
                return action
    near = nearest(name, [action.name for action in actions])
    raise ActionNotFoundError(f"no worker has published an action {name!r}{near}")


def _print_all(actions: Sequence[ActionSummary], *, as_json: bool) -> None:
    if as_json:
        print_json({"items": actions})
    else:
        print_table(open_console(), build_actions_table(actions))


def build_actions_table(actions: Sequence[ActionSummary]) -> Table:
    """Return the catalogue: an action is a row."""
    table = Table("action", "parameters", "timeout", "workers", "")
    for action in actions:
        table.add_row(
            printable(_write_kind(action)),
            printable(_list_parameters(action)),
            _write_timeout(action.timeout_seconds),
            str(len(action.workers) or "none"),
            printable((action.doc or "").partition("\n")[0]),
        )
    return table


def _write_kind(action: ActionSummary) -> str:
    """Return a name; that of a strategy says that it is one."""
    name = action.name.removeprefix(STRATEGY_PREFIX)
    return name if name == action.name else f"strategy {name}"


def _list_parameters(action: ActionSummary) -> str:
    if action.signature is None:
        return "not known"
    names = [_write_name(parameter) for parameter in action.signature.parameters]
    return ", ".join([*names, *(() if action.signature.others is None else ("…",))])


def _write_name(parameter: ActionParameter) -> str:
    return parameter.name if parameter.is_required else f"[{parameter.name}]"


def _write_timeout(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:g} s"


def _print_one(action: ActionSummary, *, as_json: bool) -> None:
    if as_json:
        print_json(action)
        return
    console = open_console()
    print_table(console, _build_head(action))
    if action.signature is not None:
        for parameter in action.signature.parameters:
            _print_schema(console, str(parameter), parameter.schema)
        if action.signature.others is not None:
            _print_schema(console, "… others", action.signature.others)
        _print_schema(console, "returns", action.signature.result)
    for line in (action.doc or "").splitlines():
        console.print(printable(line), soft_wrap=True)


def _print_schema(console: Console, title: str, schema: object) -> None:
    text = write_json(schema, on_one_line=True) if schema else "anything"
    console.print(f"{printable(title)}\n    {printable(text)}", soft_wrap=True)


def _build_head(action: ActionSummary) -> Table:
    table = Table.grid(padding=(0, 2))
    kind = "strategy" if action.name.startswith(STRATEGY_PREFIX) else "action"
    table.add_row(kind, printable(action.name.removeprefix(STRATEGY_PREFIX)))
    table.add_row("timeout", _write_timeout(action.timeout_seconds))
    if action.uses:
        table.add_row("uses", printable(", ".join(action.uses)))
    table.add_row("workers", printable(", ".join(action.workers) or "none"))
    by = f" by {action.published_by}" if action.published_by else ""
    table.add_row("published", printable(write_time(action.published_at) + by))
    return table
