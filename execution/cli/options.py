"""Options that several commands share.

`--local` stands for PLANS_LOCAL=1, and does just that: it sets the variable, from
which the settings are read later on. So it may stand before or after the command.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from .completing import complete_executions


def _choose_local(is_chosen: bool) -> bool:
    if is_chosen:
        os.environ["PLANS_LOCAL"] = "1"
    return is_chosen


Local = Annotated[
    bool,
    typer.Option(
        "--local",
        callback=_choose_local,
        help="Use the local stack for every server without a URL.",
    ),
]


def _forgo_color(is_chosen: bool) -> bool:
    if is_chosen:
        os.environ["NO_COLOR"] = "1"
    return is_chosen


NoColor = Annotated[
    bool,
    typer.Option("--no-color", callback=_forgo_color, help="As NO_COLOR=1 does."),
]
ExecutionId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The execution's id.",
        autocompletion=complete_executions,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Queues = Annotated[
    str | None,
    typer.Option(
        "-Q", "--queues", metavar="A,B", help="Queues to serve instead of PLANS_QUEUE."
    ),
]
Pairs = Annotated[
    list[str] | None,
    typer.Option(
        "-p",
        "--parameter",
        metavar="NAME=VALUE",
        help="A parameter, written as its declaration asks; wins over the file's.",
    ),
]
ParametersFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Parameters as a JSON object.")
]
