"""Pauses and resumes of all steps that use something.

It must not know who is let through when it is tried.
"""

from typing import Annotated

import typer

from ..dependencies import DependencyState
from ..dependency_records import PauseAnswer, ResumeAnswer
from .connecting import connect
from .exits import ExitCode, printable, write_count
from .output import print_json

AllThatUses = Annotated[
    str | None,
    typer.Option(
        "--uses", metavar="NAME", help="All steps that use this, of whichever plan."
    ),
]
AtOnce = Annotated[
    bool,
    typer.Option(
        "--at-once", help="With --uses: let all steps go on, and try none first."
    ),
]


def pause_uses(name: str, by: str | None, reason: str | None, *, as_json: bool) -> None:
    """Pause what steps use, and say who had it paused if that is so."""
    with connect() as engine:
        answer = engine.pause_dependency(name, by=by, reason=reason)
    if answer.warning is not None:
        typer.echo(f"plans: warning: {printable(answer.warning)}", err=True)
    whose = printable(f" by {answer.by}") if answer.by else ""
    said = "is paused" if answer.landed else f"is paused already{whose}"
    _tell(name, answer, said, as_json=as_json)


def resume_uses(
    name: str, by: str | None, reason: str | None, *, at_once: bool, as_json: bool
) -> None:
    """Let steps go on that use it, and say with how many."""
    with connect() as engine:
        answer = engine.resume_dependency(name, at_once=at_once, by=by, reason=reason)
    waiting = write_count(answer.parked_steps, "step")
    match answer.state:
        case DependencyState.FREE if answer.landed:
            said = "goes on"
        case DependencyState.CANARY if answer.landed:
            said = f"is tried with one step; {waiting} waited for it"
        case DependencyState.FREE:
            said = "is not paused"
        case _:
            said = f"is tried already; {waiting} wait for it"
    _tell(name, answer, said, as_json=as_json)


def _tell(
    name: str, answer: PauseAnswer | ResumeAnswer, said: str, *, as_json: bool
) -> None:
    if as_json:
        print_json(answer)
    else:
        typer.echo(f"dependency {name} {said}", err=not answer.landed)
    if not answer.landed:
        raise typer.Exit(ExitCode.FAILED)
