"""`plans pause`, `resume`, `cancel`: stay in charge of an execution.

Each act is recorded with who asked for it and why. It must not know how a state is
changed; what has returned holds for whoever would start a step next.
"""

import getpass
from collections.abc import Callable
from typing import Annotated

import typer

from execution.cli.options import AsJson, Local
from execution.cli.output import print_json
from execution.engine import ExecutionEngine
from execution.results import StepSummary
from execution.states import ExecutionStatus, StepStatus

_MOST_NAMED_STEPS = 5
_GOING_ON = frozenset({ExecutionStatus.PENDING, ExecutionStatus.RUNNING})

ExecutionId = Annotated[str, typer.Argument(metavar="ID", help="The execution's id.")]
By = Annotated[
    str | None, typer.Option(help="Who asks for it; your login name by default.")
]
Reason = Annotated[str | None, typer.Option(help="Why, for the history.")]

app = typer.Typer()


@app.command("pause")
def pause(
    execution_id: ExecutionId,
    by: By = None,
    reason: Reason = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Start no further step until `resume`; what runs finishes and is recorded.

    Example: plans pause 019f… --reason "the bank is down"
    """
    _change(ExecutionEngine.pause, execution_id, by, reason, as_json=as_json)


@app.command("resume")
def resume(
    execution_id: ExecutionId,
    by: By = None,
    reason: Reason = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Go on where `pause` stopped."""
    _change(ExecutionEngine.resume, execution_id, by, reason, as_json=as_json)


@app.command("cancel")
def cancel(
    execution_id: ExecutionId,
    by: By = None,
    reason: Reason = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Start no further step, and end: undo, if the plan says so, then tidy up.

    Steps that run are told, and are waited for.
    """
    _change(ExecutionEngine.cancel, execution_id, by, reason, as_json=as_json)


def _change(
    act: Callable[..., ExecutionStatus],
    execution_id: str,
    by: str | None,
    reason: str | None,
    *,
    as_json: bool,
) -> None:
    with ExecutionEngine.connect() as engine:
        status = act(engine, execution_id, by=by or _read_login(), reason=reason)
        running = [
            step
            for step in engine.list_steps(execution_id)
            if step.status is StepStatus.RUNNING
        ]
    if as_json:
        names = [step.name for step in running]
        print_json(
            {"execution_id": execution_id, "status": status, "running_steps": names}
        )
        return
    # what goes on has steps that run as a matter of course
    still = "" if status in _GOING_ON else _describe(running)
    typer.echo(f"{execution_id} is {status.value}{still}")


def _read_login() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # a container's user need not have a name
        return None


def _describe(running: list[StepSummary]) -> str:
    if not running:
        return ""
    names = ", ".join(step.name for step in running[:_MOST_NAMED_STEPS])
    more = len(running) - _MOST_NAMED_STEPS
    return f"; still running: {names}" + (f" and {more:,} more" if more > 0 else "")
