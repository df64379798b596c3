"""The frame of the command line: which commands there are, and how they end.

Promises: every error of this package becomes one message without a traceback and an
exit code that scripts can rely on; no password reaches the terminal; a reader that
went away is no error. It must not know what a command does: each is imported when it
is called, since all of them together take a second.
"""

import importlib
import sys
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Any, NoReturn

import typer
import typer.core

from execution.cli.exits import ExitCode, exit_code, mask, printable
from execution.cli.options import Local
from execution.errors import PlansError

_HELP = """Durable plans on Celery and PostgreSQL.

Servers are named by PLANS_DATABASE_URL and PLANS_BROKER_URL; where one is
not, `--local` runs it here.

Exit codes:

  0: all is well;
  1: what was asked about failed, is invalid or differs;
  2: wrong usage, settings or parameters;
  3: there is no such execution, plan or action;
  4: a server is unavailable;
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
    "publish": _Entry("running", "Store a plan, to be submitted by its name."),
    "submit": _Entry("running", "Begin an execution and print its id."),
    "run": _Entry("running", "Begin an execution, wait, and print its result."),
    "list": _Entry("looking", "List executions, newest first."),
    "show": _Entry("looking", "Show one execution: steps, history, error, result."),
    "watch": _Entry("looking", "Follow an execution until it has ended."),
    "pause": _Entry(
        "steering",
        "Start no further step until `resume`; what runs finishes and is recorded.",
    ),
    "resume": _Entry("steering", "Go on where `pause` stopped."),
    "cancel": _Entry(
        "steering",
        "Start no further step, and end: undo, if the plan says so, then tidy up.",
    ),
    "workers": _Entry("looking", "List the workers, and what they mended."),
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
    "db": _Entry("checking", "Install, check or remove the database schema."),
}


class _Commands(typer.core.TyperGroup):
    """The commands by name; only the one that is called is imported."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        # For the list of commands; what runs comes from `resolve_command`.
        entry = _COMMANDS.get(cmd_name)
        return entry and typer.core.TyperCommand(cmd_name, help=entry.line)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        return name, _load(str(name)), rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except PlansError as error:
            for line in mask(str(error)).splitlines():
                typer.echo(f"plans: {printable(line)}", err=True)
            raise typer.Exit(exit_code(error)) from error
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None


def _load(name: str) -> Any:
    module = importlib.import_module(f"execution.cli.{_COMMANDS[name].module}")
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
    for stream in (sys.stdout, sys.stderr):
        # a terminal that lacks a letter shows a question mark, not a traceback
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    app(prog_name="plans")
    sys.exit(ExitCode.OK)
