"""What who watches an execution is told: where it stands, and what is new.

Frozen values. They do not know where they were read from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from .cursors import Mark, count_ticks
from .holds import Hold
from .results import Event, ExecutionProgress, ExecutionSummary, RunningSteps
from .states import ExecutionStatus


@dataclass(frozen=True)
class ProgressMessage:
    """A word of a step on how far it is."""

    step: str | None
    message: str
    at: datetime


@dataclass(frozen=True)
class LatestMetric:
    """The number that a step reported last under a name."""

    step: str
    name: str
    value: float
    at: datetime


@dataclass(frozen=True)
class Standing:
    """An execution, what of it runs, and its latest metrics, all of one moment."""

    execution: ExecutionSummary
    running: RunningSteps
    metrics: tuple[LatestMetric, ...]


@dataclass(frozen=True)
class ExecutionUpdate:
    """Where an execution stands, and what is new since the last update.

    `cursor` continues after this update, also in another process. `messages` are what
    the steps told with their progress in the new events; `metrics` are the latest of
    each step and name, a hundred at most, among the last thousand that were reported.
    """

    execution_id: str
    status: ExecutionStatus
    progress: ExecutionProgress
    events: tuple[Event, ...]
    last_seq: int
    cursor: str = "0"
    messages: tuple[ProgressMessage, ...] = ()
    metrics: tuple[LatestMetric, ...] = ()
    holds: tuple[Hold, ...] = ()
    """What keeps it from going on: a pause of its plan, of a tag, of a queue."""


def collect_messages(events: Sequence[Event]) -> tuple[ProgressMessage, ...]:
    """Return what steps told with their progress, in order."""
    return tuple(
        ProgressMessage(event.step, event.data["message"], event.at)
        for event in events
        if event.type == "step.progress" and event.data.get("message")
    )


def mark_last(events: Sequence[Event], mark: Mark) -> Mark:
    """Return how far a reader is who has read `events` after `mark`."""
    if not events:
        return mark
    return Mark(events[-1].seq, count_ticks(events[-1].at))
