"""Checks what the demo claims, against the record of an execution. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..results import Event, ExecutionSummary, StepSummary
from ..states import ExecutionStatus, StepStatus
from .record import Record


@dataclass(frozen=True)
class Repeat:
    """A step that was lost with its worker, and the attempt that succeeded."""

    step: str
    losses: int
    attempt: int


@dataclass(frozen=True)
class Verdict:
    """What the record says. `faults` is empty when every promise was kept."""

    steps: int
    last_seq: int
    repeats: tuple[Repeat, ...]
    faults: tuple[str, ...]


def judge(record: Record) -> Verdict:
    """Compare an execution that has ended with what was promised of it."""
    losses = Counter(event.step for event in record.events if event.type == "step.lost")
    repeats = tuple(
        Repeat(step.name, losses[step.name], step.attempt)
        for step in record.steps
        if losses[step.name]
    )
    faults = (
        *_find_unfinished(record.execution),
        *_find_miscounted_successes(record.steps, record.events),
        *_find_gaps(record.execution, record.events),
        *_find_unrepeated(repeats),
    )
    return Verdict(len(record.steps), record.execution.last_seq, repeats, faults)


def _find_unfinished(execution: ExecutionSummary) -> list[str]:
    if execution.status is ExecutionStatus.COMPLETED:
        return []
    cause = f": {execution.error.message}" if execution.error else ""
    return [f"the execution is {execution.status}{cause}"]


def _find_miscounted_successes(
    steps: Sequence[StepSummary], events: Sequence[Event]
) -> list[str]:
    successes = Counter(e.step for e in events if e.type == "step.completed")
    return [
        f"step {step.name} is {step.status} with {successes[step.name]} successes"
        for step in steps
        if step.status is not StepStatus.COMPLETED or successes[step.name] != 1
    ]


def _find_gaps(execution: ExecutionSummary, events: Sequence[Event]) -> list[str]:
    expected = list(range(1, execution.last_seq + 1))
    if [event.seq for event in events] == expected:
        return []
    return [f"the timeline is not numbered from 1 to {execution.last_seq}"]


def _find_unrepeated(repeats: Sequence[Repeat]) -> list[str]:
    if not repeats:
        return ["the kill cost no step: nothing had to be repeated"]
    return [
        f"step {repeat.step} was lost {repeat.losses} times, yet its success is"
        f" attempt {repeat.attempt}"
        for repeat in repeats
        if repeat.attempt <= repeat.losses
    ]
