"""Options that several commands share.

`--local` stands for PLANS_LOCAL=1, and does just that: it sets the variable, from
which the settings are read later on. So it may stand before or after the command.
"""

import os
from pathlib import Path
from typing import Annotated

import typer


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
