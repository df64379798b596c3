"""`plans health`: whether the worker of this machine lives, and is ready.

It reads the file that the worker writes, and asks no server. Asked in the usual words,
it is answered by `quick`, which loads next to nothing; what is said here as well is for
people who ask for help, for JSON, or in words that nobody knows.
"""

import math
from typing import Annotated

import typer

from ..health import USUAL_WITHIN_SECONDS
from .exits import ExitCode, UsageError, printable
from .options import AsJson
from .output import print_json
from .quick import HealthQuestion

app = typer.Typer(add_completion=False)

_Live = Annotated[
    bool,
    typer.Option(
        "--live/--ready",
        help="Whether its loop turns, or whether it also can do its work.",
    ),
]
_File = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        envvar="PLANS_HEALTH_FILE",
        show_envvar=False,
        help="What the worker writes, instead of PLANS_HEALTH_FILE.",
    ),
]
_Within = Annotated[
    float,
    typer.Option(
        min=0, metavar="SECONDS", help="How old may be what the worker has said."
    ),
]


@app.command("health")
def check_health(
    live: _Live = False,
    file: _File = None,
    within: _Within = USUAL_WITHIN_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Say whether a worker of this machine lives and is ready, by exit code 0 or 1.

    The worker writes it down in PLANS_HEALTH_FILE. No server is asked. A worker
    that waits for its servers, or was told to stop, lives and is not ready:
    restart what does not live, and wait for what is not ready.

      plans health --live --within 60
    """
    if file is None:
        raise UsageError("name the worker's file: --file, or PLANS_HEALTH_FILE")
    if "%" in file:
        raise UsageError(f"{file} is of several workers; name one worker's: --file")
    if math.isnan(within):
        raise UsageError("--within is a number of seconds")
    verdict, is_well = HealthQuestion(file, within, live).ask()
    if as_json:
        print_json(verdict)
    else:
        typer.echo(printable(verdict.reason))
    if not is_well:
        raise typer.Exit(ExitCode.FAILED)
