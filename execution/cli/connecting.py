"""The engine that a command works with, loaded when it is needed.

It takes a second to load. Help, completion and what is wrong with a command line must
not wait for it, so the modules of commands name it for the type checker alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from .exits import ExitCode

if TYPE_CHECKING:
    from ..engine import ExecutionEngine


def connect() -> "ExecutionEngine":
    """Return an engine for the settings of the environment, to be closed."""
    from ..engine import ExecutionEngine  # see above

    return ExecutionEngine.connect()


@contextmanager
def outliving(engine: "ExecutionEngine", execution_id: str) -> Iterator[None]:
    """Look at an execution; Ctrl-C ends the looking, and how to go on is said."""
    try:
        yield
    except KeyboardInterrupt:
        local = "--local " if engine.settings.local else ""
        typer.echo(
            f"execution {execution_id} goes on; follow it with:"
            f" plans {local}watch {execution_id}",
            err=True,
        )
        raise typer.Exit(ExitCode.INTERRUPTED) from None
