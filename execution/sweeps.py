"""What a look of a reconciler finds: of each kind, what somebody has to see to.

Frozen values, and how the row of `sweep` is read into them. Knows neither when somebody
looks nor what is done about it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from .overdue import OverdueStep, read_overdue
from .schedule_records import DueSchedule, read_due

_T = TypeVar("_T")


@dataclass(frozen=True)
class LostStep:
    """A step that a sweep found, and the token it was held by."""

    execution_id: str
    position: int
    token: str


@dataclass(frozen=True)
class ExpiredStep:
    """A step that waits beyond its deadline."""

    execution_id: str
    position: int


@dataclass(frozen=True)
class UnsentStep:
    """A ready step whose message is missing, and how often it was sent."""

    execution_id: str
    position: int
    publishes: int


@dataclass(frozen=True)
class Sweep:
    """What one look found: of each kind, what somebody has to see to.

    `looking_workers` is how many workers look like this, as far as they have told;
    `comes_soon` says that there will be something within a few ticks. `told_tokens` are
    those of this worker's own steps that are told to end.
    """

    dead_workers: int = 0
    looking_workers: int = 0
    comes_soon: bool = False
    lost_steps: tuple[LostStep, ...] = ()
    expired_executions: tuple[str, ...] = ()
    expired_steps: tuple[ExpiredStep, ...] = ()
    due_executions: tuple[str, ...] = ()
    unsent_steps: tuple[UnsentStep, ...] = ()
    unsent_executions: tuple[str, ...] = ()
    unfinished_executions: tuple[str, ...] = ()
    due_keys: tuple[str, ...] = ()
    overdue_steps: tuple[OverdueStep, ...] = ()
    relaying_executions: tuple[str, ...] = ()
    resumable_executions: tuple[str, ...] = ()
    delayed_executions: tuple[str, ...] = ()
    due_batches: tuple[str, ...] = ()
    signalled_executions: tuple[str, ...] = ()
    due_dependencies: tuple[str, ...] = ()
    told_tokens: tuple[str, ...] = ()
    due_schedules: tuple[DueSchedule, ...] = ()
    queued_schedules: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Say whether there is nothing to see to."""
        return self == Sweep(
            looking_workers=self.looking_workers, comes_soon=self.comes_soon
        )


def read_sweep(row: Mapping[str, Any]) -> Sweep:
    """Return what a look found, as the database tells it."""
    return Sweep(
        dead_workers=row["dead_workers"],
        looking_workers=row["looking_workers"],
        comes_soon=row["comes_soon"],
        lost_steps=_read_each(LostStep, row["lost"]),
        expired_executions=_read_each(str, row["expired_executions"]),
        expired_steps=_read_each(ExpiredStep, row["expired_steps"]),
        due_executions=_read_each(str, row["due"]),
        unsent_steps=_read_each(UnsentStep, row["unsent_steps"]),
        unsent_executions=_read_each(str, row["unsent_executions"]),
        unfinished_executions=_read_each(str, row["unfinished"]),
        due_keys=_read_each(str, row["due_keys"]),
        overdue_steps=_read_each(read_overdue, row["overdue"]),
        relaying_executions=_read_each(str, row["relaying"]),
        resumable_executions=_read_each(str, row["resumable"]),
        delayed_executions=_read_each(str, row["delayed"]),
        due_batches=_read_each(str, row["batches"]),
        signalled_executions=_read_each(str, row["signalled"]),
        due_dependencies=_read_each(str, row["due_dependencies"]),
        told_tokens=_read_each(str, row["told"]),
        due_schedules=tuple(map(read_due, row["due_schedules"] or ())),
        queued_schedules=_read_each(str, row["queued_schedules"]),
    )


def _read_each(
    build: Callable[..., _T], found: Sequence[Sequence[Any]] | None
) -> tuple[_T, ...]:
    return tuple(build(*columns) for columns in found or ())
