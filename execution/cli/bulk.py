"""`plans bulk`: one act on all executions that filters find.

It says how many there are and asks before it begins, unless it is told not to. The
workers carry it out, also without it; `plans batch` looks after that.
"""

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..acting import NOT_GIVEN
from ..batches import BatchAct, BatchCost, BatchLimits, BatchPreview, read_rate
from ..errors import ExecutionNotFoundError
from ..filters import ExecutionFilter
from .batching import end_with, tell
from .choosing import with_filter, with_options
from .connecting import connect
from .exits import UsageError, printable, write_count
from .operating import StepName, read_json
from .options import AsJson, Local
from .output import print_json
from .steering import By, Reason, read_login

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..engine import ExecutionEngine

_MOST_NAMED = 5
_DEEDS = {
    BatchAct.PAUSE: "paused",
    BatchAct.RESUME: "resumed",
    BatchAct.CANCEL: "cancelled",
    BatchAct.RETRY: "retried",
    BatchAct.SKIP: "let go on without it",
    BatchAct.FORCE: "given its result",
}

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="""Act on all executions that filters find.

    They are chosen once, and each is acted on by the workers, at a rate, also
    when this command has long ended: `plans batch` looks after that. Ends with
    exit code 3 when nothing is found that could be acted on.

      plans bulk cancel --plan adding --status running --dry-run
    """,
)


@dataclass(frozen=True)
class _How:
    """By whom, why and how fast, and what is done beside."""

    by: str | None
    reason: str | None
    limits: BatchLimits
    everything: bool
    dry_run: bool
    yes: bool
    wait: bool
    as_json: bool


def _build_how(
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Act on all executions, without a filter.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    rate: Annotated[
        str,
        typer.Option(
            metavar="RATE",
            help="How many a second at most: 10, 30/m, 100/h, or unlimited.",
        ),
    ] = "100",
    stop_after: Annotated[
        str | None,
        typer.Option(
            metavar="FAILURES",
            help="Stop after so many that are refused or go wrong: 20, or 5%.",
        ),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait", help="Wait for the end; 1 unless all of them could be acted on."
        ),
    ] = False,
    by: By = None,
    reason: Reason = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> _How:
    """Return what the options ask for; raises UsageError."""
    if dry_run and wait:
        raise UsageError("--dry-run begins nothing that --wait could wait for")
    limits = BatchLimits(read_rate(rate), stop_after)
    by = by or read_login()
    return _How(by, reason, limits, everything, dry_run, yes, wait, as_json)


@app.command("pause")
@with_filter
@with_options(_build_how, "how")
def pause(wanted: ExecutionFilter, how: _How) -> None:
    """Pause the executions that are pending or running now.

    Those that are submitted later go on: `plans pause` of a plan, a tag or a
    queue holds them as well.

      plans bulk pause --tag eu --since 2h --reason "the bank is down"
    """
    _act(BatchAct.PAUSE, wanted, how)


@app.command("resume")
@with_filter
@with_options(_build_how, "how")
def resume(wanted: ExecutionFilter, how: _How) -> None:
    """Let the executions go on that are paused.

    plans bulk resume --plan adding --rate 10 --stop-after 5%
    """
    _act(BatchAct.RESUME, wanted, how)


@app.command("cancel")
@with_filter
@with_options(_build_how, "how")
def cancel(wanted: ExecutionFilter, how: _How) -> None:
    """Let the executions end that have not ended.

    plans bulk cancel --where 'parameters.customer == "acme"' --dry-run
    """
    _act(BatchAct.CANCEL, wanted, how)


@app.command("retry")
@with_filter
@with_options(_build_how, "how")
def retry(wanted: ExecutionFilter, how: _How) -> None:
    """Let the executions go on that have failed, timed out or were cancelled.

    As `plans retry` does. With --dry-run: which steps would run, which of them
    have run before, so that their effects may repeat, and what that took.

      plans bulk retry --plan adding --status failed --since 2h --dry-run

      plans bulk retry --plan adding --status failed --rate 5 --stop-after 5%
    """
    _act(BatchAct.RETRY, wanted, how)


@app.command("skip")
@with_filter
@with_options(_build_how, "how")
def skip(wanted: ExecutionFilter, how: _How, step: StepName) -> None:
    """Let executions go on without a step that failed, or that has not started.

    As `plans skip` does.

      plans bulk skip notify --plan adding --status failed
    """
    _act(BatchAct.SKIP, wanted, how, step)


@app.command("force")
@with_filter
@with_options(_build_how, "how")
def force(
    wanted: ExecutionFilter,
    how: _How,
    step: StepName,
    result: Annotated[
        str, typer.Argument(metavar="RESULT", help="What it came to, as JSON.")
    ],
) -> None:
    """Say what a step came to that failed, or that has not started.

    As `plans force` does.

      plans bulk force charge null --plan adding --tag eu --reason "paid by hand"
    """
    _act(BatchAct.FORCE, wanted, how, step, read_json(result))


def _act(
    act: BatchAct,
    wanted: ExecutionFilter,
    how: _How,
    step: str | None = None,
    result: Any = NOT_GIVEN,
) -> None:
    with connect() as engine:
        preview = _preview(engine, act, wanted, how, step)
        if how.dry_run and how.as_json:
            print_json({"preview": preview})
            return
        if how.dry_run or not how.as_json:
            typer.echo(_describe(preview), err=not how.dry_run)
        if how.dry_run:
            return
        _refuse_nothing(preview)
        _ask(preview, how)
        # what was submitted since it was asked about was not meant
        until = preview.looked_at if wanted.until is None else wanted.until
        batch_id = engine.act_on_many(
            act,
            replace(wanted, until=until),
            by=how.by,
            reason=how.reason,
            rate_per_second=how.limits.rate_per_second,
            stop_after=how.limits.stop_after,
            step=step,
            result=result,
            everything=how.everything,
        )
        batch = engine.wait_batch(batch_id) if how.wait else engine.get_batch(batch_id)
    tell(batch, as_json=how.as_json)
    if how.wait:
        end_with(batch)


def _preview(
    engine: "ExecutionEngine",
    act: BatchAct,
    wanted: ExecutionFilter,
    how: _How,
    step: str | None,
) -> BatchPreview:
    if wanted == ExecutionFilter() and not how.everything:
        raise UsageError(
            "every execution would be acted on; name a plan, a tag, a state or a time,"
            " or say that all are meant: --all"
        )
    return engine.preview_act(act, wanted, step=step, everything=how.everything)


def _refuse_nothing(preview: BatchPreview) -> None:
    if not preview.total:
        raise ExecutionNotFoundError(
            "there is no execution that these filters find and that can be"
            f" {_DEEDS[preview.act]}"
        )


def _ask(preview: BatchPreview, how: _How) -> None:
    if how.yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nobody is here to be asked; look with --dry-run, then --yes")
    count = write_count(preview.total, "execution")
    typer.confirm(f"{preview.act.capitalize()} {count}?", abort=True, err=True)


def _describe(preview: BatchPreview) -> str:
    deed = _DEEDS[preview.act]
    states = ", ".join(f"{n:,} {status}" for status, n in preview.chosen.items())
    lines = [
        f"{write_count(preview.total, 'execution')} to be {deed}"
        + (f": {states}" if states else "")
    ]
    if preview.left_out:
        others = ", ".join(f"{n:,} {status}" for status, n in preview.left_out.items())
        lines.append(f"not to be {deed}: {others}")
    lines += [f"  {one}" for one in preview.executions[:_MOST_NAMED]]
    if preview.total > _MOST_NAMED:
        lines.append(f"  and {preview.total - _MOST_NAMED:,} more")
    if preview.cost is not None:
        lines += _describe_cost(preview.cost, preview.total)
    return "\n".join(lines)


def _describe_cost(cost: BatchCost, total: int) -> "Iterator[str]":
    scope = "" if cost.looked_at == total else f" of the first {cost.looked_at:,}"
    if cost.refused:
        yield f"to be refused{scope}: {cost.refused:,}"
    yield f"steps to run{scope}, and what they took before:"
    for step in cost.steps:
        effects = f"{step.repeats:,} may repeat" if step.repeats else "new"
        name = f"{printable(step.step)} ({printable(step.action)})"
        took = f"{write_count(step.attempts, 'attempt')}, {step.seconds:.1f} s"
        yield f"  {name}: {step.times:,} times, {effects}, {took}"
    yield f"in all {write_count(cost.repeats, 'repeat')}, {cost.seconds:.1f} s"
