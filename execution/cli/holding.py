"""`plans pauses`, and pauses of all of a plan, of a tag, of a queue, of a dependency.

It must not know how a hold is met; what has returned holds for whoever would start a
step next.
"""

from dataclasses import dataclass
from typing import Annotated

import typer
from rich.table import Table

from ..engine import ExecutionEngine
from ..holds import HoldKind
from ..receipts import HoldAnswer
from .completing import complete_executions, complete_plans
from .connecting import connect
from .display import describe_running, write_holder, write_time
from .exits import ExitCode, UsageError, printable
from .options import AsJson, Local
from .output import print_json
from .tables import open_console, print_table

Chosen = Annotated[
    str | None,
    typer.Argument(
        metavar="[ID]",
        help="The execution's id, unless a plan, tag, queue or dependency is named.",
        autocompletion=complete_executions,
    ),
]
AllOfPlan = Annotated[
    str | None,
    typer.Option(
        "--plan",
        metavar="NAME",
        help="All executions of this plan, in any version, later ones included.",
        autocompletion=complete_plans,
    ),
]
AllOfTag = Annotated[
    str | None,
    typer.Option("--tag", help="All executions with this tag, later ones included."),
]
AllOfQueue = Annotated[
    str | None,
    typer.Option(
        "--queue", help="All steps in this queue, whichever plan they are of."
    ),
]

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Target:
    """What is to be paused or resumed as a whole."""

    kind: HoldKind
    name: str


@app.command("pauses")
def list_pauses(as_json: AsJson = False, _local: Local = False) -> None:
    """List what is paused as a whole, by whom, and why.

    Plans, tags, queues, and what steps use. Executions that were paused by their ids
    are found by `plans list --status paused`.

      plans pauses
    """
    with connect() as engine:
        holds = engine.list_holds()
    if as_json:
        print_json({"items": holds})
        return
    table = Table("paused", "since", "by", "reason")
    for hold in holds:
        table.add_row(
            printable(hold),
            write_time(hold.created_at),
            printable(hold.by or "-"),
            printable(hold.reason or ""),
        )
    print_table(open_console(), table)


def choose_target(
    execution_id: str | None,
    plan: str | None,
    tag: str | None,
    queue: str | None,
    uses: str | None = None,
) -> Target | None:
    """Return what is to be paused or resumed as a whole; None: one execution is.

    Raises UsageError unless exactly one is named.
    """
    named = [
        Target(kind, name)
        for kind, name in (
            (HoldKind.PLAN, plan),
            (HoldKind.TAG, tag),
            (HoldKind.QUEUE, queue),
            (HoldKind.DEPENDENCY, uses),
        )
        if name is not None
    ]
    if len(named) + (execution_id is not None) != 1:
        raise UsageError("name one execution, or one --plan, --tag, --queue or --uses")
    return named[0] if named else None


def pause_all(
    target: Target, by: str | None, reason: str | None, *, as_json: bool
) -> None:
    """Pause all of it, and say what of it still runs."""
    with connect() as engine:
        answer = _PAUSES[target.kind](engine, target.name, by=by, reason=reason)
    if answer.warning is not None:
        typer.echo(f"plans: warning: {printable(answer.warning)}", err=True)
    still = describe_running(answer.running_steps)
    _tell(target, answer, f"is paused{still}", f"{_say_whose(answer)}{still}", as_json)


def resume_all(
    target: Target, by: str | None, reason: str | None, *, as_json: bool
) -> None:
    """Let all of it go on."""
    with connect() as engine:
        answer = _RESUMES[target.kind](engine, target.name, by=by, reason=reason)
    _tell(target, answer, "goes on", "is not paused", as_json)


_PAUSES = {
    HoldKind.PLAN: ExecutionEngine.pause_plan,
    HoldKind.TAG: ExecutionEngine.pause_tag,
    HoldKind.QUEUE: ExecutionEngine.pause_queue,
}
_RESUMES = {
    HoldKind.PLAN: ExecutionEngine.resume_plan,
    HoldKind.TAG: ExecutionEngine.resume_tag,
    HoldKind.QUEUE: ExecutionEngine.resume_queue,
}


def _tell(
    target: Target, answer: HoldAnswer, landed: str, refused: str, as_json: bool
) -> None:
    if as_json:
        print_json(answer)
    else:
        name = printable(f"{target.kind} {target.name}")
        said = landed if answer.landed else refused
        typer.echo(f"{name} {said}", err=not answer.landed)
    if not answer.landed:
        raise typer.Exit(ExitCode.FAILED)


def _say_whose(answer: HoldAnswer) -> str:
    hold = answer.hold
    return f"is paused already{write_holder(hold)}" if hold else "is not paused"
