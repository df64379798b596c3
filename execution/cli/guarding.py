"""`plans dependency`: what steps use, and when it is paused by itself.

It must not know how failures are counted, or who is let through.
"""

from typing import Annotated

import typer
from rich.table import Table

from ..dependencies import DependencyGuard, DependencySummary
from .connecting import connect
from .delaying import read_duration_option
from .display import styled, write_time
from .exits import ExitCode, printable, write_count
from .options import AsJson, Local
from .output import print_json
from .steering import By, Reason, read_login
from .tables import open_console, print_table

_NO_GUARD = DependencyGuard()

Name = Annotated[str, typer.Argument(metavar="NAME", help="What steps use.")]
PauseAt = Annotated[
    float,
    typer.Option(min=0, max=1, help="Which share of failed attempts pauses it."),
]
OfLast = Annotated[
    int, typer.Option(min=1, help="Of how many attempts, the last ones.")
]
Window = Annotated[
    str | None,
    typer.Option(metavar="DURATION", help="How old these may be; any by default."),
]
Cooldown = Annotated[
    str,
    typer.Option(metavar="DURATION", help="After how long it is tried again."),
]
Counted = Annotated[
    list[str] | None,
    typer.Option(metavar="ERROR", help="Errors that count; all by default."),
]
Uncounted = Annotated[
    list[str] | None, typer.Option(metavar="ERROR", help="Errors that do not.")
]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="""Look at what steps use, and state when it is paused by itself.

    It is paused by hand with `plans pause --uses NAME`.

      plans dependency list
    """,
)


@app.command("list")
def list_dependencies(as_json: AsJson = False, _local: Local = False) -> None:
    """List what was paused or guarded once, those first that are not free.

    plans dependency list
    """
    with connect() as engine:
        found = engine.list_dependencies()
    if as_json:
        print_json({"items": found})
        return
    table = Table("dependency", "state", "since", "parked", "failed", "guard", "why")
    for one in found:
        table.add_row(
            one.name,
            styled(one.state),
            write_time(one.since),
            f"{one.parked_steps:,}",
            f"{one.failures} of {one.attempts}" if one.attempts else "-",
            _write_guard(one.guard),
            printable(_write_cause(one)),
        )
    print_table(open_console(), table)


@app.command("guard")
def guard(
    name: Name,
    pause_at: PauseAt,
    of_last: OfLast = _NO_GUARD.of_last,
    window: Window = None,
    cooldown: Cooldown = "30s",
    on: Counted = None,
    not_on: Uncounted = None,
    by: By = None,
    reason: Reason = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Pause it by itself when too many attempts of steps that use it fail.

    plans dependency guard stripe --pause-at 0.5 --of-last 20 --cooldown 1m
    """
    window_seconds = read_duration_option("--window", window) if window else None
    cooldown_seconds = read_duration_option("--cooldown", cooldown)
    with connect() as engine:
        engine.guard_dependency(
            name,
            pause_at=pause_at,
            of_last=of_last,
            window_seconds=window_seconds,
            cooldown_seconds=cooldown_seconds,
            on=on or (),
            not_on=not_on or (),
            by=by or read_login(),
            reason=reason,
        )
        found = next(one for one in engine.list_dependencies() if one.name == name)
    if as_json:
        print_json(found)
    else:
        share = f"{pause_at:.0%} of its last {write_count(of_last, 'attempt')}"
        typer.echo(f"{name} is paused when {share} have failed")


@app.command("unguard")
def unguard(
    name: Name,
    by: By = None,
    reason: Reason = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Let only people pause it; what is paused stays so.

    plans dependency unguard stripe
    """
    with connect() as engine:
        was_guarded = engine.unguard_dependency(
            name, by=by or read_login(), reason=reason
        )
    if as_json:
        print_json({"name": name, "was_guarded": was_guarded})
    else:
        said = "is guarded no more" if was_guarded else "was not guarded"
        typer.echo(f"{name} {said}", err=not was_guarded)
    if not was_guarded:
        raise typer.Exit(ExitCode.FAILED)


def _write_guard(guard: DependencyGuard) -> str:
    if guard.pause_at is None:
        return "-"
    return f"{guard.pause_at:.0%} of {guard.of_last:,}"


def _write_cause(one: DependencySummary) -> str:
    by = f"{one.by}: " if one.by else ""
    return f"{by}{one.reason or ''}" if one.reason else (one.by or "")
