"""`plans retry`, `skip`, `force`: let an execution go on after a failure.

Each act is recorded with who asked for it and why; with --dry-run it only says what
would run, what of it has run before, and what that took. It must not know how an
execution goes on.
"""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ..acts import ActPreview, PreviewedStep
from ..states import ExecutionStatus
from .connecting import connect
from .exits import UsageError, printable, write_count
from .options import AsJson, ExecutionId, Local
from .output import print_json
from .steering import By, Reason, read_login
from .tables import open_console, print_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine import ExecutionEngine

DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Change nothing; say what would run, at what cost."),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="STEP.NAME=VALUE",
        help="A new input of a step that begins anew: JSON, or else a text.",
    ),
]
StepName = Annotated[
    str, typer.Argument(metavar="STEP", help="Its name; of an item, `parse[3]`.")
]

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class _Manner:
    """How an act was asked for."""

    by: str | None
    reason: str | None
    is_dry: bool
    as_json: bool

    @property
    def said(self) -> dict[str, Any]:
        return {"by": self.by or read_login(), "reason": self.reason}


@app.command("retry")
def retry(
    execution_id: ExecutionId,
    inputs: Inputs = None,
    dry_run: DryRun = False,
    by: By = None,
    reason: Reason = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Go on after a failure: what failed or was cancelled begins anew.

    What has completed or was skipped stays. Steps have all their attempts once more,
    and the idempotency keys that they had.

      plans retry 019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1 --dry-run

      plans retry 019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1 --reason "the bank is back"

      plans retry 019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1 --input charge.amount=5
    """
    manner, given = _Manner(by, reason, dry_run, as_json), _read_inputs(inputs or [])
    _act(
        execution_id,
        manner,
        lambda engine: engine.preview_retry(execution_id, inputs=given),
        lambda engine: engine.retry(execution_id, inputs=given, **manner.said),
    )


@app.command("skip")
def skip(
    execution_id: ExecutionId,
    step: StepName,
    dry_run: DryRun = False,
    by: By = None,
    reason: Reason = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Go on without a step that failed, or that has not started.

    It counts as skipped; an execution that has ended for it goes on, as by `retry`.

      plans skip 019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1 notify --reason "told by phone"
    """
    manner = _Manner(by, reason, dry_run, as_json)
    _act(
        execution_id,
        manner,
        lambda engine: engine.preview_skip(execution_id, step),
        lambda engine: engine.skip(execution_id, step, **manner.said),
    )


@app.command("force")
def force(
    execution_id: ExecutionId,
    step: StepName,
    result: Annotated[
        str, typer.Argument(metavar="RESULT", help="What it came to, as JSON.")
    ],
    dry_run: DryRun = False,
    by: By = None,
    reason: Reason = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Say what a step came to that failed, or that has not started.

    It counts as completed with that; an execution that has ended for it goes on, as by
    `retry`.

      plans force 019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1 charge '{"id": 7}' --by ann
    """
    manner, value = _Manner(by, reason, dry_run, as_json), read_json(result)
    _act(
        execution_id,
        manner,
        lambda engine: engine.preview_force_result(execution_id, step),
        lambda engine: engine.force_result(execution_id, step, value, **manner.said),
    )


def _act(
    execution_id: str,
    manner: _Manner,
    preview: "Callable[[ExecutionEngine], ActPreview]",
    act: "Callable[[ExecutionEngine], ExecutionStatus]",
) -> None:
    with connect() as engine:
        found = preview(engine)
        status = found.status if manner.is_dry else act(engine)
    if manner.as_json:
        print_json(_shape(found, status, is_dry=manner.is_dry))
    elif manner.is_dry:
        _show(found)
    else:
        ran = write_count(len(found.steps), "step")
        more = f"; {ran} to run" if found.steps else ""
        typer.echo(f"{execution_id} is {status.value}{more}")


def _shape(
    found: ActPreview, status: ExecutionStatus, *, is_dry: bool
) -> dict[str, Any]:
    return {
        "execution_id": found.execution_id,
        "dry_run": is_dry,
        "status": status,
        "steps": [_shape_step(step) for step in found.steps],
        "attempts": found.attempts,
        "seconds": found.seconds,
    }


def _shape_step(step: PreviewedStep) -> dict[str, Any]:
    return {
        "execution_id": step.execution_id,
        "step": step.step,
        "action": step.action,
        "status": step.status,
        "attempts": step.attempts,
        "seconds": step.seconds,
        "repeats": step.repeats,
        "idempotency_key": step.idempotency_key,
    }


def _show(found: ActPreview) -> None:
    if not found.steps:
        typer.echo("nothing would run that has not been about to")
        return
    table = Table("step", "action", "is", "attempts", "seconds", "effects")
    for step in found.steps:
        table.add_row(
            printable(_name(step, found)),
            printable(step.action),
            step.status.value,
            str(step.attempts),
            f"{step.seconds:.1f}",
            "may repeat" if step.repeats else "not yet done",
        )
    print_table(open_console(), table)
    if not found.repeated:
        typer.echo("none of these has run before")
        return
    repeated = write_count(len(found.repeated), "step")
    typer.echo(
        f"{repeated} would run again, after {write_count(found.attempts, 'attempt')}"
        f" of {found.seconds:.1f} s in all, under the same idempotency keys"
    )


def _name(step: PreviewedStep, found: ActPreview) -> str:
    if step.execution_id == found.execution_id:
        return step.step
    return f"{step.step} of {step.execution_id}"


def _read_inputs(pairs: list[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for pair in pairs:
        place, equals, text = pair.partition("=")
        step, point, name = place.partition(".")
        if not (equals and point and step and name):
            raise UsageError(f"--input {pair}: is not of the form STEP.NAME=VALUE")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        found.setdefault(step, {})[name] = value
    return found


def read_json(text: str) -> Any:
    """Return the value that a RESULT stands for; raises UsageError."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(
            f"RESULT is no JSON: {error}; a text is written '\"so\"', nothing is null"
        ) from error
