"""The values that travel between modules, and how results become JSON.

All frozen; none of them knows where it was read from. `encode_json` is the one door
through which a step's result, progress or checkpoint passes into the database: what
JSON or PostgreSQL cannot hold is refused here, with its place.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .errors import (
    ErrorCode,
    ExecutionFailedError,
    ExecutionNotFinishedError,
    PlansError,
    ResultError,
)
from .holds import Hold
from .large_values import LargeValue
from .states import ExecutionStatus, StepStatus, is_terminal
from .storable import MAX_INTEGER, refuse_foreign

MAX_VALUE_BYTES = 256 * 1024
"""The most that one value may take inline, as JSON in UTF-8."""
_LEAST_FLOAT_DIGITS = len(str(-MAX_INTEGER)) + 1
"""More characters than the longest integer; the shorter ones are compared."""


def encode_json(
    value: object,
    *,
    place: str,
    most_bytes: int = MAX_VALUE_BYTES,
    remedy: str = "store it elsewhere and return where it lies",
) -> str:
    """Return `value` as JSON text that PostgreSQL stores unchanged.

    A LargeValue becomes a reference. Raises ResultError naming `place` when something
    in it is no JSON (NaN, a key that is no string, a class of its own), looks like a
    reference, cannot be stored (NUL, a lone surrogate, an integer beyond 2^53) or takes
    more than `most_bytes`, 256 kB by default; then `remedy` says what to do.
    """
    if value is None:
        return "null"
    refuse_foreign(value, place=place)
    text = _ENCODER.encode(value)
    size = len(text.encode())
    if size > most_bytes:
        raise ResultError(
            f"{place} takes {size:,} bytes as JSON and the limit is"
            f" {most_bytes:,}; {remedy}"
        )
    return text


def decode_json(text: str) -> Any:
    """Return what `encode_json` was given, from the text that PostgreSQL answers.

    jsonb writes 1e+23 as a one and twenty-three zeros. No integer of that size was
    ever let in, so a number without a point beyond 2^53 was a float.
    """
    return _DECODER.decode(text)


def _read_integer(digits: str) -> int | float:
    number = int(digits) if len(digits) < _LEAST_FLOAT_DIGITS else float(digits)
    return number if abs(number) <= MAX_INTEGER else float(digits)


_DECODER = json.JSONDecoder(parse_int=_read_integer)
_ENCODER = json.JSONEncoder(
    ensure_ascii=False,
    separators=(",", ":"),
    allow_nan=False,
    default=lambda value: (
        # what is left that json does not know are mappings that are no dicts
        value.to_json() if isinstance(value, LargeValue) else dict(value)
    ),
)


def as_storable(text: str) -> str:
    """Return `text` without NUL, and with `?` for each half of a surrogate pair."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


@dataclass(frozen=True)
class ErrorRecord:
    """An error as it is stored: code, message, step, time, context."""

    code: ErrorCode
    message: str
    step: str | None
    timestamp: datetime
    recoverable: bool
    context: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the record as the JSON object that the database keeps."""
        return {
            "code": self.code.value,
            "message": self.message,
            "step": self.step,
            "timestamp": self.timestamp.isoformat(),
            "recoverable": self.recoverable,
            "context": dict(self.context),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ErrorRecord":
        """Return the record that the database keeps as `data`."""
        return cls(
            code=ErrorCode(data["code"]),
            message=data["message"],
            step=data.get("step"),
            timestamp=datetime.fromisoformat(data["timestamp"]).astimezone(UTC),
            recoverable=data["recoverable"],
            context=data.get("context", {}),
        )


@dataclass(frozen=True)
class Event:
    """One entry of an execution's timeline."""

    execution_id: str
    seq: int
    type: str
    step: str | None
    data: Mapping[str, Any]
    at: datetime


@dataclass(frozen=True)
class StateChange:
    """One change of an execution's state."""

    from_status: ExecutionStatus | None
    to_status: ExecutionStatus
    by: str | None
    reason: str | None
    at: datetime


@dataclass(frozen=True)
class WorkerSummary:
    """A living worker: what it serves, and what its reconciler did.

    `in_hand` counts its messages, those included that wait for a slot. Its reconciler
    has looked everywhere `round_age_seconds` ago, for `round_seconds`; `deeds` is what
    all its rounds came to, `last_deeds` what the last did that had something to do,
    `last_deeds_age_seconds` ago. None: it has not told yet, or there was none.
    """

    id: str
    hostname: str
    pid: int
    pool: str
    slots: int
    in_hand: int
    queues: tuple[str, ...]
    started_at: datetime
    beat_age_seconds: float
    round_age_seconds: float | None
    round_seconds: float | None
    deeds: Mapping[str, int]
    last_deeds: Mapping[str, int]
    last_deeds_age_seconds: float | None


@dataclass(frozen=True)
class StepSummary:
    """A step of an execution, as shown to people."""

    position: int
    name: str
    action: str
    queue: str
    status: StepStatus
    reason: str | None
    attempt: int
    failures: int
    losses: int
    progress: float | None
    progress_message: str | None
    worker_id: str | None
    claimed_at: datetime | None
    ended_at: datetime | None
    error: ErrorRecord | None
    wake_at: datetime | None = None
    plan: str | None = None
    """The plan that the step runs, if it runs one: NAME or NAME@VERSION, as it says."""
    child_id: str | None = None
    """The execution of that plan, once it has begun."""
    iterations: int | None = None
    """How many it has begun, if it is a loop that has begun."""
    cached_from: Mapping[str, Any] | None = None
    waits_for: str | None = None
    """What it is parked for: `queue:io`, `plan:etl`, `tag:eu` or the like."""
    """Where its result was taken from: execution_id, step, stored_at, attempt."""


@dataclass(frozen=True)
class ExecutionSummary:
    """An execution, as shown to people.

    `concurrency_key` is what it shares with those that do not run beside it, if its
    plan says so; `admitted_at` is when it was given that key.
    """

    id: str
    plan: str
    version: str | None
    status: ExecutionStatus
    reason: str | None
    epoch: int
    last_seq: int
    open_steps: int
    total_steps: int
    tags: tuple[str, ...]
    parameters: Mapping[str, Any]
    variables: Mapping[str, Any]
    result: Any
    error: ErrorRecord | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    parent_id: str | None = None
    """The execution one of whose steps runs this one."""
    concurrency_key: str | None = None
    admitted_at: datetime | None = None
    holds: tuple[Hold, ...] = ()
    """What keeps it from going on: a pause of its plan, of a tag, of a queue."""
    starts_at: datetime | None = None
    """When it was to begin, where that was to come when it was submitted."""
    is_delayed: bool = False
    """Whether it still waits for that."""
    schedule: str | None = None
    """The schedule that has begun it."""
    scheduled_at: datetime | None = None
    """For which of its times, which may be earlier than its begin."""

    @property
    def waits_for_key(self) -> bool:
        """Say whether it has not begun because others have its key."""
        is_held = self.concurrency_key is not None and self.admitted_at is None
        return is_held and self.status in (
            ExecutionStatus.PENDING,
            ExecutionStatus.PAUSED,
        )

    @property
    def has_ended(self) -> bool:
        """Say whether the state is terminal."""
        return is_terminal(self.status)


@dataclass(frozen=True)
class Headway:
    """How far an execution has come: its state, and the number of its last event."""

    status: ExecutionStatus
    last_seq: int

    @property
    def has_ended(self) -> bool:
        """Say whether the state is terminal."""
        return is_terminal(self.status)


@dataclass(frozen=True)
class PlanVersion:
    """A published plan: which one, and when its name was last made to stand for it.

    `is_current` says whether the name stands for it now.
    """

    name: str
    version: str | None
    digest: str
    published_at: datetime
    is_current: bool


@dataclass(frozen=True)
class ExecutionPage:
    """One page of a list; `next_cursor` leads to the next one, None: it is the last."""

    items: tuple[ExecutionSummary, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class RunningSteps:
    """What of an execution runs at a moment, `seen_at`, by the database's clock.

    `progress_sum` adds up the percentages that the steps report; `names` are the first
    of them, `message` is what the last one that tells something tells.
    """

    count: int
    progress_sum: float
    names: tuple[str, ...]
    message: str | None
    seen_at: datetime


@dataclass(frozen=True)
class RunningStep:
    """A step that runs, and the execution that it is of.

    `pool` is that of its worker. `cut_at` is when it is cut, if it was told to end.
    """

    execution_id: str
    name: str
    pool: str | None = None
    cut_at: datetime | None = None

    @property
    def is_killable(self) -> bool:
        """Whether the process that runs it can be killed; a thread cannot."""
        return self.pool == "prefork"


@dataclass(frozen=True)
class ExecutionProgress:
    """How far an execution is. `eta_seconds` is None while nothing can be said.

    `current_steps` names the first hundred of the `running_steps` that run.
    """

    percentage: float
    completed_steps: int
    total_steps: int
    current_steps: tuple[str, ...]
    phase: str
    message: str | None
    eta_seconds: float | None
    running_steps: int = 0


@dataclass(frozen=True)
class ExecutionResult:
    """How an execution ended."""

    execution_id: str
    status: ExecutionStatus
    value: Any
    error: ErrorRecord | None
    started_at: datetime | None
    ended_at: datetime

    @property
    def is_success(self) -> bool:
        """Say whether the execution completed."""
        return self.status is ExecutionStatus.COMPLETED

    def unwrap(self) -> Any:
        """Return the value, or raise ExecutionFailedError when there is none."""
        if self.is_success:
            return self.value
        cause = f"{self.error.code} {self.error.message}" if self.error else "no error"
        raise ExecutionFailedError(
            f"execution {self.execution_id} is {self.status}: {cause}"
        )


def read_result(execution: ExecutionSummary) -> ExecutionResult:
    """Return the result of an execution that has ended.

    Raises ExecutionNotFinishedError while it runs.
    """
    if not execution.has_ended or execution.ended_at is None:
        raise ExecutionNotFinishedError(
            f"execution {execution.id} is {execution.status}; it has no result yet"
        )
    return ExecutionResult(
        execution_id=execution.id,
        status=execution.status,
        value=execution.result,
        error=execution.error,
        started_at=execution.started_at,
        ended_at=execution.ended_at,
    )


def error_code(error: BaseException) -> ErrorCode:
    """Return the stable code of an error; E003 for one that is not ours."""
    if isinstance(error, PlansError) and error.code is not None:
        return error.code
    return ErrorCode.EXECUTION
