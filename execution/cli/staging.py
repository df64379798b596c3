"""What the demo stages and tells: the kill, the picture, the outcome.

Promises: the worker is killed once, while it runs a step that others of its kind have
already finished, and in no gentler way than `kill -9` of its main process.
"""

import os
import signal
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console, RenderableType
from rich.text import Text

from ..engine import ExecutionEngine
from ..results import StepSummary
from ..states import StepStatus
from ..updates import ExecutionUpdate
from .children import Child
from .display import build_steps_table
from .exits import printable
from .following import View
from .record import Record
from .verdict import Verdict

_ACTION = "census.parse"
_PLACES = ("report", "picture")
_HEADLINES = (
    "python",
    "packages",
    "files",
    "failed_files",
    "lines",
    "code_lines",
    "classes",
    "functions",
    "methods",
    "docstring_coverage",
    "most_imported",
)
_BEGUN, _NEARLY_DONE = 0.0, 70.0


class Staging:
    """Watches one execution and kills one of its workers."""

    def __init__(
        self, engine: ExecutionEngine, execution_id: str, workers: Mapping[str, Child]
    ) -> None:
        """Watch `execution_id`; `workers` are those that may be killed, by name."""
        self._engine = engine
        self._execution_id = execution_id
        self._workers = workers
        self._hosts: dict[str, str] = {}
        self._finished: set[str | None] = set()
        self._has_killed = False

    def note(self, update: ExecutionUpdate) -> None:
        """Remember which worker goes by which name, and what is done."""
        for event in update.events:
            if event.type == "step.started":
                self._hosts[event.data["worker"]] = event.data["host"]
            elif event.type == "step.completed":
                self._finished.add(event.step)

    def draw(self, update: ExecutionUpdate) -> RenderableType:
        """Return the picture of this moment."""
        steps = self._engine.list_steps(update.execution_id)
        table = build_steps_table(steps, self._hosts)
        table.caption = f"{update.status}, {update.progress.percentage:.0f} %"
        return table

    def kill_in_the_middle(self, view: View) -> None:
        """Kill a worker if this is the moment for it."""
        if self._has_killed:
            return
        steps = self._engine.list_steps(self._execution_id)
        worker_id = choose_victim(steps, self._finished)
        name = self._hosts.get(worker_id or "", "").partition("@")[0]
        if name not in self._workers:
            return
        self._has_killed = True
        pid = self._workers[name].pid
        os.kill(pid, signal.SIGKILL)
        cut_off = [step.name for step in _running(steps) if step.worker_id == worker_id]
        view.say(
            f"kill -9 {pid}: worker {name} is gone, in the middle of"
            f" {' and '.join(cut_off)}",
            style="bold red",
        )
        lease_seconds = self._engine.settings.lease_seconds
        view.say(
            f"after {lease_seconds:g} s of silence its steps are taken back and given"
            " to another worker"
        )


def choose_victim(
    steps: Sequence[StepSummary], finished: Collection[str | None]
) -> str | None:
    """Return the worker to kill now, or None while it is too early or too late.

    `finished` are the steps whose completion was shown. Something is lost for certain
    only with a worker whose step has some way to go.
    """
    if not any(step.action == _ACTION and step.name in finished for step in steps):
        return None
    return next(
        (
            step.worker_id
            for step in _running(steps)
            if _BEGUN < (step.progress or _BEGUN) < _NEARLY_DONE
        ),
        None,
    )


def _running(steps: Sequence[StepSummary]) -> Iterator[StepSummary]:
    return (
        step
        for step in steps
        if step.action == _ACTION and step.status is StepStatus.RUNNING
    )


def print_outcome(
    console: Console, record: Record, verdict: Verdict, place: Path
) -> None:
    """Say what the record shows, what was counted, and where everything is."""
    console.print("\nWhat the record in PostgreSQL says", style="bold")
    for fault in verdict.faults:
        console.print(Text(f"  ✗ {printable(fault)}", style="bold red"))
    if not verdict.faults:
        _print_kept_promises(console, verdict)
    if isinstance(record.execution.result, Mapping):
        _print_result(console, record.execution.result)
    console.print(
        f"logs    {place / 'logs'}\n"
        f"again   PLANS_HOME={place} plans --local show {record.execution.id} --events",
        soft_wrap=True,
    )


def _print_kept_promises(console: Console, verdict: Verdict) -> None:
    console.print(f"  ✓ each of {verdict.steps} steps has exactly one success")
    for repeat in verdict.repeats:
        console.print(
            f"  ✓ {printable(repeat.step)} was lost with its worker; attempt"
            f" {repeat.attempt} succeeded"
        )
    console.print(
        f"  ✓ the timeline is numbered from 1 to {verdict.last_seq} without a gap"
    )


def _print_result(console: Console, result: Mapping[str, object]) -> None:
    console.print("\nWhat was counted", style="bold")
    for name in sorted(result, key=_rank):
        if name not in _PLACES:
            console.print(f"  {name.replace('_', ' '):<20}{_write_value(result[name])}")
    console.print()
    for name in _PLACES:
        console.print(f"{name:<8}{printable(result.get(name, '-'))}", soft_wrap=True)


def _rank(name: str) -> int:
    # an object that comes out of PostgreSQL has lost its order
    return _HEADLINES.index(name) if name in _HEADLINES else len(_HEADLINES)


def _write_value(value: object) -> str:
    match value:
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.1%}"
        case list():
            return ", ".join(printable(item) for item in value)
        case _:
            return printable(value)
