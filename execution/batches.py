"""Batches: one act on many executions, and what came out for each of them.

Frozen values, and how people say how fast a batch may go and how much may go wrong.
Pure; knows neither how executions are chosen nor how an act is done.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from .acts import Act, judge
from .errors import BatchRequestError
from .places import nearest, shown
from .states import ExecutionStatus, StepStatus

USUAL_RATE_PER_SECOND = 100.0
_LEAST_RATE_PER_SECOND = 1 / 86_400
_MOST_FAILURES = 2**31 - 1
UNLIMITED = "unlimited"
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}
_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:/([smh]))?")
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")


class BatchAct(StrEnum):
    """What can be done to many executions."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    RETRY = "retry"
    SKIP = "skip"
    FORCE = "force"


class BatchStatus(StrEnum):
    """Where a batch stands."""

    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ItemStatus(StrEnum):
    """What came out for one execution of a batch."""

    PENDING = "pending"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


ENDED_BATCH_STATUSES = frozenset(
    {BatchStatus.COMPLETED, BatchStatus.FAILED, BatchStatus.CANCELLED}
)
STEP_ACTS = frozenset({BatchAct.SKIP, BatchAct.FORCE})
"""Those that are about one step of each execution."""
OPERATOR_ACTS = frozenset({BatchAct.RETRY, *STEP_ACTS})
"""Those that let an execution go on after its end."""


def read_act(word: str) -> BatchAct:
    """Return the act that a word stands for; raises BatchRequestError."""
    try:
        return BatchAct(word)
    except ValueError as error:
        acts = ", ".join(BatchAct)
        raise BatchRequestError(
            f"{shown(word)} is no act on many executions{nearest(word, BatchAct)};"
            f" there are {acts}"
        ) from error


def read_rate(text: str) -> float | None:
    """Return how many acts a second `10`, `30/m`, `100/h` mean; None of `unlimited`.

    Raises BatchRequestError for what is no rate.
    """
    if text == UNLIMITED:
        return None
    found = _RATE.fullmatch(text)
    if found is None:
        raise BatchRequestError(
            f"{shown(text)} is no rate; write how many a second, 10, a minute, 30/m, or"
            f" an hour, 100/h, or {UNLIMITED}"
        )
    return float(found[1]) / _UNIT_SECONDS[found[2] or "s"]


def list_open_to(act: BatchAct) -> tuple[ExecutionStatus, ...]:
    """Return the states in which an execution can be acted on like that."""
    some_step = StepStatus.WAITING, StepStatus.FAILED
    return tuple(
        status
        for status in ExecutionStatus
        if any(judge(Act(act.value), status, step).is_done for step in some_step)
    )


@dataclass(frozen=True)
class BatchLimits:
    """How fast a batch may go, and after how many failures it stops itself.

    `rate_per_second` None: as fast as the workers go. An item that is refused counts
    as a failure. `stop_after` is a number of failures or a share of all executions,
    `"5%"`; None: it does not stop. Raises BatchRequestError for what is neither.
    """

    rate_per_second: float | None = USUAL_RATE_PER_SECOND
    stop_after: int | str | None = None

    def __post_init__(self) -> None:
        """Refuse what makes no limit."""
        rate = self.rate_per_second
        if rate is not None and not (
            math.isfinite(rate) and rate >= _LEAST_RATE_PER_SECOND
        ):
            raise BatchRequestError(
                f"a rate of {rate} per second is none; give a number above 0, one act a"
                " day at least, or None for as fast as the workers go"
            )
        count, share = self.most_failures, self.failure_share
        if self.stop_after is not None and not (
            (count is not None and 1 <= count <= _MOST_FAILURES)
            or (share is not None and 0 < share <= 1)
        ):
            raise BatchRequestError(
                f"stop after {shown(self.stop_after)}: give a number of failures from"
                ' 1 on, such as 20, or a share of all executions, such as "5%"'
            )

    @property
    def most_failures(self) -> int | None:
        """The number of failures after which it stops, if it was given as a number."""
        given = self.stop_after
        if isinstance(given, str) and given.strip().isdecimal():
            return int(given)
        is_number = isinstance(given, int) and not isinstance(given, bool)
        return given if is_number else None  # type: ignore[return-value]  # an int

    @property
    def failure_share(self) -> float | None:
        """The share of all after which it stops, if it was given as a share."""
        found = _SHARE.fullmatch(str(self.stop_after).strip())
        return float(found[1]) / 100 if found else None


@dataclass(frozen=True)
class BatchOrder:
    """What is asked of many executions: the act, by whom and why, and within what."""

    act: BatchAct
    filter: Mapping[str, Any]
    by: str | None = None
    reason: str | None = None
    limits: BatchLimits = field(default_factory=BatchLimits)
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def step(self) -> str | None:
        """The step that it is about, if it is about one."""
        return self.arguments.get("step")


def build_arguments(
    act: BatchAct, step: str | None, result: str | None
) -> Mapping[str, Any]:
    """Return what an act is given beside the execution; `result` is JSON text.

    Raises BatchRequestError for what it does not take, or lacks.
    """
    if (step is not None) is not (act in STEP_ACTS):
        raise BatchRequestError(
            f"to {act} a step, name it" if step is None else f"{act} is about no step"
        )
    if (result is not None) is not (act is BatchAct.FORCE):
        raise BatchRequestError(
            f"to force step {step}, give its result"
            if result is None
            else f"{act} gives no result"
        )
    given = {} if step is None else {"step": step}
    return given if result is None else {**given, "result": json.loads(result)}


@dataclass(frozen=True)
class StepCost:
    """A step that would run in several executions, and what it has cost in them so far.

    It would run `times`, an item of a list each time counted; `repeats` of these have
    run before: what they did then, they may do once more.
    """

    step: str
    action: str
    executions: int
    times: int
    repeats: int
    attempts: int
    seconds: float


@dataclass(frozen=True)
class BatchCost:
    """What would run again if many executions went on after their end.

    Of the `looked_at` first of them, so many would be `refused`.
    """

    looked_at: int
    refused: int
    steps: tuple[StepCost, ...]

    @property
    def repeats(self) -> int:
        """Return how many steps would run that have run before."""
        return sum(step.repeats for step in self.steps)

    @property
    def seconds(self) -> float:
        """Return how long these steps have taken so far."""
        return sum(step.seconds for step in self.steps)


@dataclass(frozen=True)
class BatchPreview:
    """What a batch would do, and to how many executions; nothing is done yet.

    `chosen` counts the executions that would be acted on, by their states; `left_out`
    those that the filter finds as well and that do not stand so that they could be.
    `executions` are the first of the chosen. `cost` is what would run again, of an act
    that lets something run. `looked_at` is when that was so.
    """

    act: BatchAct
    chosen: Mapping[ExecutionStatus, int]
    left_out: Mapping[ExecutionStatus, int]
    executions: tuple[str, ...]
    cost: BatchCost | None
    looked_at: datetime

    @property
    def total(self) -> int:
        """How many executions would be acted on."""
        return sum(self.chosen.values())


@dataclass(frozen=True)
class BatchChange:
    """One change of a batch's state: who made it, and why; nobody, if it did itself."""

    from_status: BatchStatus
    to_status: BatchStatus
    by: str | None
    reason: str | None
    at: datetime


@dataclass(frozen=True)
class Batch:
    """One act on many executions: who asked for it, and how far it is.

    Of `total` executions, `done` stand as was asked, `refused` could not be acted on
    any more, `failed` went wrong, and `pending` have nothing done to them. It stops
    itself after `most_failures` that were refused or have failed.
    """

    id: str
    act: BatchAct
    status: BatchStatus
    total: int
    done: int
    refused: int
    failed: int
    pending: int
    filter: Mapping[str, Any]
    arguments: Mapping[str, Any]
    by: str | None
    reason: str | None
    rate_per_second: float | None
    most_failures: int | None
    created_at: datetime
    ended_at: datetime | None
    history: tuple[BatchChange, ...]

    @property
    def has_ended(self) -> bool:
        """Say whether nothing more is done for it."""
        return self.status in ENDED_BATCH_STATUSES


@dataclass(frozen=True)
class BatchPage:
    """One page of a list; `next_cursor` leads to the next one, None: it is the last."""

    items: tuple[Batch, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class BatchItem:
    """One execution of a batch: what came out for it, and when.

    `detail` says why it was refused or failed, or how it stood if nothing was to do.
    """

    position: int
    execution_id: str
    status: ItemStatus
    detail: str | None
    at: datetime | None


@dataclass(frozen=True)
class BatchItemPage:
    """One page of a batch's items; `next_position` is where the next one begins."""

    items: tuple[BatchItem, ...]
    next_position: int | None


def read_batch(row: Mapping[str, Any]) -> Batch:
    """Return the batch of a row, with what its `counts` say."""
    counts = row["counts"]
    return Batch(
        id=row["id"],
        act=BatchAct(row["act"]),
        status=BatchStatus(row["status"]),
        total=row["total"],
        done=counts.get(ItemStatus.DONE, 0),
        refused=counts.get(ItemStatus.REFUSED, 0),
        failed=counts.get(ItemStatus.FAILED, 0),
        pending=counts.get(ItemStatus.PENDING, 0),
        filter=row["filter"],
        arguments=row["arguments"],
        by=row["by"],
        reason=row["reason"],
        rate_per_second=row["rate_per_second"],
        most_failures=row["most_failures"],
        created_at=row["created_at"],
        ended_at=row["ended_at"],
        history=tuple(map(_read_change, row["history"])),
    )


def _read_change(change: Mapping[str, Any]) -> BatchChange:
    return BatchChange(
        from_status=BatchStatus(change["from_status"]),
        to_status=BatchStatus(change["to_status"]),
        by=change["by"],
        reason=change["reason"],
        at=datetime.fromisoformat(change["at"]),
    )


def read_item(row: Mapping[str, Any]) -> BatchItem:
    """Return the item of a row."""
    return BatchItem(
        position=row["position"],
        execution_id=row["execution_id"],
        status=ItemStatus(row["status"]),
        detail=row["detail"],
        at=row["at"],
    )
