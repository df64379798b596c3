"""The frame of the command line: which commands there are, and how they end.

Promises: every error of this package becomes one message without a traceback and an
exit code that scripts can rely on; no password reaches the terminal; a reader that
went away is no error. It must not know what a command does: each is imported when it
is called, since all of them together take a second.
"""

import importlib
import os
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import typer.core

from ..errors import PlansError
from ..masking import mask
from .exits import ExitCode, exit_code, printable
from .interrupts import heeding_interrupts
from .options import Local, NoColor

_HELP = """Durable plans on Celery and PostgreSQL.

Servers are named by PLANS_DATABASE_URL and PLANS_BROKER_URL; where one is
not, `--local` runs it here.

Exit codes:

  0: all is well;
  1: what was asked about failed, is invalid or differs;
  2: wrong usage, settings or parameters;
  3: there is no execution, step, plan, action, … of that name;
  4: a server is unavailable;
  5: it works, and there are warnings (doctor);
  130: interrupted.
"""


@dataclass(frozen=True)
class _Entry:
    """Where a command lives, and its line in the list of all."""

    module: str
    line: str


_COMMANDS = {
    "demo": _Entry("demo", "See a worker killed in the middle of real work."),
    "up": _Entry("serving", "Run servers, workers and Flower until Ctrl-C."),
    "worker": _Entry("serving", "Run one worker."),
    "flower": _Entry("monitoring", "Run Flower, with a tab of executions."),
    "publish": _Entry("running", "Store a plan, to be submitted by its name."),
    "submit": _Entry("running", "Begin an execution and print its id."),
    "run": _Entry("running", "Begin an execution, wait, and print its result."),
    "list": _Entry("listing", "List executions, newest first."),
    "show": _Entry("looking", "Show one execution: steps, history, error, result."),
    "watch": _Entry(
        "watching", "Follow an execution until it has ended, or all until Ctrl-C."
    ),
    "logs": _Entry("logs", "Show what steps logged and printed, or follow it."),
    "pause": _Entry(
        "steering",
        "Start no further step until `resume`; what runs finishes and is recorded.",
    ),
    "resume": _Entry("steering", "Go on where `pause` stopped."),
    "pauses": _Entry("holding", "List what is paused as a whole, by whom, and why."),
    "dependency": _Entry(
        "guarding", "Look at what steps use, and state when it is paused by itself."
    ),
    "cancel": _Entry(
        "steering",
        "Start no further step, and end: undo, if the plan says so, then tidy up.",
    ),
    "why": _Entry("standing", "Say for each step that does not run what it waits for."),
    "doctor": _Entry(
        "doctoring", "Look at the whole installation, and say what is wrong with it."
    ),
    "retry": _Entry(
        "operating", "Go on after a failure: what failed or was cancelled begins anew."
    ),
    "skip": _Entry(
        "operating", "Go on without a step that failed, or that has not started."
    ),
    "force": _Entry(
        "operating", "Say what a step came to that failed, or that has not started."
    ),
    "signal": _Entry(
        "signalling", "Send an execution the signal that a step waits for, or will."
    ),
    "bulk": _Entry("bulk", "Act on all executions that filters find."),
    "batch": _Entry("batching", "Look at such acts, and stay in charge of them."),
    "schedule": _Entry(
        "scheduling", "Begin executions by the clock, and stay in charge of that."
    ),
    "workers": _Entry("looking", "List the workers, and what they mended."),
    "health": _Entry("health", "Say whether a worker here lives, or is ready."),
    "actions": _Entry("offering", "List the actions that workers have published."),
    "validate": _Entry("checking", "Find every fault of a plan, or of several."),
    "schema": _Entry("describing", "Print the JSON Schema of plans, for editors."),
    "graph": _Entry(
        "describing", "Draw a plan, or an execution with the states of its steps."
    ),
    "explain": _Entry(
        "describing",
        "Say what a plan would do: in which order, where, and for how long.",
    ),
    "versions": _Entry(
        "describing", "List what was published under a name, the current version first."
    ),
    "diff": _Entry("describing", "Say what B does differently from A."),
    "inspect-app": _Entry(
        "hosting", "Say which settings of a Celery app work against plans."
    ),
    "db": _Entry("checking", "Install, check or remove the database schema."),
}


class _Commands(typer.core.TyperGroup):
    """The commands by name; only the one that is called is imported."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # For lists and guesses; what runs comes from `resolve_command`.
        self.commands = {
            name: typer.core.TyperCommand(name, help=entry.line)
            for name, entry in _COMMANDS.items()
        }

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        return name, _load(str(name)), rest

    def invoke(self, ctx: Any) -> Any:
        try:
            with heeding_interrupts():
                return super().invoke(ctx)
        except PlansError as error:
            for line in mask(str(error)).splitlines():
                typer.echo(f"plans: {printable(line)}", err=True)
            raise typer.Exit(exit_code(error)) from error
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None


def _load(name: str) -> Any:
    module = importlib.import_module(f".{_COMMANDS[name].module}", __package__)
    command = typer.main.get_command(module.app)
    # typer makes no group of a module with a single command
    return getattr(command, "commands", {}).get(name, command)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"plans {version('celery-plans')}")
        raise typer.Exit


app = typer.Typer(
    cls=_Commands,
    help=_HELP,
    no_args_is_help=True,
    # its tracebacks show the values of variables, and so passwords
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _begin(
    _local: Local = False,
    _no_color: NoColor = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Show the version and exit.",
        ),
    ] = False,
) -> None:
    """What holds for every command."""


def main() -> NoReturn:
    """Run the command that the process was called with, and exit."""
    # a stream that the caller has closed; and no connection is to have its number
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115, PTH123  # for as long as the process
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115, PTH123  # the same
    for stream in (sys.stdout, sys.stderr):
        # a terminal that lacks a letter shows a question mark, not a traceback
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    try:
        app(prog_name="plans")
    except OSError as error:
        # such as a full disk; of a reader that went away typer knows
        typer.echo(f"plans: {printable(mask(str(error)))}", err=True)
        _forget_output()
        sys.exit(ExitCode.FAILED)
    sys.exit(ExitCode.OK)


def _forget_output() -> None:
    # what was not taken would be written once more at the end, and fail again
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), sys.stdout.fileno())
