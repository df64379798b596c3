"""`plans pause`, `resume`, `cancel`: stay in charge of executions.

Each act is recorded with who asked for it and why. It must not know how a state is
changed; what has returned holds for whoever would start a step next.
"""

import getpass
from functools import partial
from typing import Annotated, Any, Literal

import typer

from ..states import ExecutionStatus
from .connecting import connect
from .delaying import read_duration_option
from .depending import AllThatUses, AtOnce, pause_uses, resume_uses
from .display import describe_cuts, describe_running
from .holding import (
    AllOfPlan,
    AllOfQueue,
    AllOfTag,
    Chosen,
    choose_target,
    pause_all,
    resume_all,
)
from .options import AsJson, ExecutionId, Local
from .output import print_json

_GOING_ON = frozenset({ExecutionStatus.PENDING, ExecutionStatus.RUNNING})

By = Annotated[
    str | None, typer.Option(help="Who asks for it; your login name by default.")
]
Reason = Annotated[str | None, typer.Option(help="Why, for the history.")]
Grace = Annotated[
    str | None,
    typer.Option(
        help="How long what runs may take to end, such as 5s; what its worker says"
        " by default."
    ),
]

app = typer.Typer(add_completion=False)


@app.command("pause")
def pause(
    execution_id: Chosen = None,
    plan: AllOfPlan = None,
    tag: AllOfTag = None,
    queue: AllOfQueue = None,
    uses: AllThatUses = None,
    by: By = None,
    reason: Reason = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Start no further step until `resume`; what runs finishes and is recorded.

    Says which steps still run, those of plans within included. A plan, a tag, a
    queue or what steps use is paused as a whole, with what is submitted later; see
    `plans pauses`.

      plans pause 019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1 --reason "the bank is down"

      plans pause --queue bank --reason "the bank is down"

      plans pause --uses stripe --reason "stripe is down"
    """
    target = choose_target(execution_id, plan, tag, queue, uses)
    if uses is not None:
        pause_uses(uses, by or read_login(), reason, as_json=as_json)
    elif target is not None:
        pause_all(target, by or read_login(), reason, as_json=as_json)
    elif execution_id is not None:
        _change("pause", execution_id, by, reason, as_json=as_json)


@app.command("resume")
def resume(
    execution_id: Chosen = None,
    plan: AllOfPlan = None,
    tag: AllOfTag = None,
    queue: AllOfQueue = None,
    uses: AllThatUses = None,
    at_once: AtOnce = False,
    by: By = None,
    reason: Reason = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Go on where `pause` stopped.

    What steps use is tried with one of them first, and then with more and more.

      plans resume 019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1

      plans resume --queue bank

      plans resume --uses stripe
    """
    target = choose_target(execution_id, plan, tag, queue, uses)
    if uses is not None:
        who = by or read_login()
        resume_uses(uses, who, reason, at_once=at_once, as_json=as_json)
    elif target is not None:
        resume_all(target, by or read_login(), reason, as_json=as_json)
    elif execution_id is not None:
        _change("resume", execution_id, by, reason, as_json=as_json)


@app.command("cancel")
def cancel(
    execution_id: ExecutionId,
    grace: Grace = None,
    by: By = None,
    reason: Reason = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Start no further step, and end: undo, if the plan says so, then tidy up.

    Steps that run are told, and are cut if they have not ended after --grace; it says
    which they are. With another --grace, it can be said again.

      plans cancel 019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1 --reason "sent twice"

      plans cancel 019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1 --grace 5s
    """
    seconds = None if grace is None else _read_grace(grace)
    _change("cancel", execution_id, by, reason, as_json=as_json, grace_seconds=seconds)


def _read_grace(text: str) -> float:
    # which is no duration of a plan's, but means something here
    return 0.0 if text in {"0", "0s"} else read_duration_option("--grace", text)


def _change(
    act: Literal["pause", "resume", "cancel"],
    execution_id: str,
    by: str | None,
    reason: str | None,
    *,
    as_json: bool,
    grace_seconds: float | None = None,
) -> None:
    with connect() as engine:
        acts: dict[str, Any] = {
            "pause": engine.pause,
            "resume": engine.resume,
            "cancel": partial(engine.cancel, grace_seconds=grace_seconds),
        }
        status = acts[act](execution_id, by=by or read_login(), reason=reason)
        running = engine.list_running_steps(execution_id)
    if as_json:
        print_json(
            {"execution_id": execution_id, "status": status, "running_steps": running}
        )
        return
    # what goes on has steps that run as a matter of course
    still = "" if status in _GOING_ON else describe_running(running, execution_id)
    still += describe_cuts(running)
    typer.echo(f"{execution_id} is {status.value}{still}")


def read_login() -> str | None:
    """Return who asks, where nobody is named."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # a container's user need not have a name
        return None
