"""Warnings that nobody will do what was asked for.

A plan that no worker can take is stored all the same, and waits: a worker may come. So
these go to the standard error, and change no exit code.
"""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import typer

from ..results import StepSummary
from ..states import StepStatus

if TYPE_CHECKING:
    from ..engine import ExecutionEngine
    from ..plan import Plan


def warn_of_idleness(engine: "ExecutionEngine", plan: "Plan") -> None:
    """Say which steps of `plan` no worker would take if it were begun now."""
    if engine.count_living_workers() == 0:
        _warn_of_nobody()
    elif unserved := engine.list_unserved_queues(plan):
        _warn_of_queues(unserved, usual=engine.settings.queue)
    if unserved := engine.list_unserved_actions(plan):
        _warn(
            f"no worker has ever offered {', '.join(unserved)}; does PLANS_IMPORTS, or"
            " the app, of the workers name the modules?"
        )


def warn_of_waiting(engine: "ExecutionEngine", steps: Iterable[StepSummary]) -> None:
    """Say for which of `steps` it is only a worker that is missing."""
    wanted = {step.queue for step in steps if step.status is StepStatus.READY}
    if not wanted:
        return
    lease_seconds = engine.settings.lease_seconds
    living = [w for w in engine.list_workers() if w.beat_age_seconds <= lease_seconds]
    served = {queue for worker in living for queue in worker.queues}
    if not living:
        _warn_of_nobody()
    elif unserved := sorted(wanted - served):
        _warn_of_queues(unserved, usual=engine.settings.queue)


def _warn_of_nobody() -> None:
    _warn(
        "no worker runs; start one with `plans worker` or `plans up`, or one of your"
        " own Celery app"
    )


def _warn_of_queues(queues: Collection[str], *, usual: str) -> None:
    names = ",".join(queues)
    instead = (
        "; or set PLANS_QUEUE, before you submit, to a queue that `plans workers` shows"
        if usual in queues
        else ""
    )
    _warn(
        f"no worker serves {names.replace(',', ', ')}; start one with `-Q {names}`,"
        f" as in `plans worker -Q {names}`{instead}"
    )


def _warn(text: str) -> None:
    typer.echo(f"warning: {text}", err=True)
