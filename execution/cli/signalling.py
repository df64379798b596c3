"""`plans signal`: tell an execution what one of its steps waits for.

It is recorded with who sent it and why. It must not know how a step waits.
"""

import json
import sys
from typing import Annotated, Any

import typer

from .connecting import connect
from .exits import UsageError, printable
from .options import AsJson, ExecutionId, Local
from .output import print_json
from .steering import By, Reason, read_login

app = typer.Typer(add_completion=False)


@app.command("signal")
def signal(
    execution_id: ExecutionId,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What the step waits for.")
    ],
    payload: Annotated[
        str | None,
        typer.Argument(
            metavar="PAYLOAD",
            help="What it carries, as JSON; null without it, and `-` reads it.",
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="Sends nothing more if it was used for this already."),
    ] = None,
    by: By = None,
    reason: Reason = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Send an execution the signal that one of its steps waits for, or will.

    The payload becomes the result of that step. A signal that comes early is kept.

      plans signal 019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1 approval '{"approved": true}'
    """
    value = _read_payload(payload)
    with connect() as engine:
        sent = engine.signal(
            execution_id, name, value, by=by or read_login(), reason=reason, key=key
        )
    if as_json:
        print_json(sent)
    elif sent.taken_by is None:
        typer.echo(f"{printable(name)} is kept: no step waits for it yet")
    else:
        typer.echo(f"{printable(name)} was taken by step {printable(sent.taken_by)}")


def _read_payload(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(sys.stdin.read() if text == "-" else text)
    except ValueError as error:
        raise UsageError(
            f"PAYLOAD is no JSON: {error}; a text is written '\"so\"'"
        ) from error
