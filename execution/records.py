"""The writes of those who run steps, each one call of a function in `sql/`.

Every method is one round trip and one transaction, fenced by a lease token or
another compare-and-set, and says in what it returns whether it landed. The tokens
are drawn by the callers beforehand, so that after an unknown commit the same call
can be made again and answers what happened.

Knows neither Celery nor Redis nor SQLAlchemy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from execution.database import Database
from execution.results import decode_json
from execution.retry import RetryPolicy
from execution.states import (
    TERMINAL_EXECUTION_STATUSES,
    EndReason,
    ExecutionStatus,
    StepStatus,
)
from execution.windows import Window, read_windows


class ClaimOutcome(StrEnum):
    """What a claim came to; `sql/04_claim.sql` says what each asks of the caller."""

    CLAIMED = "claimed"
    SATISFIED = "satisfied"
    DROPPED = "dropped"
    UNREGISTERED = "unregistered"
    REFUSED = "refused"


@dataclass(frozen=True)
class HeldStep:
    """A step that an attempt holds: what names it in every write."""

    execution_id: str
    position: int
    token: str


@dataclass(frozen=True)
class Run:
    """What all steps of an execution share; read once for each delivery."""

    execution_id: str
    plan: str
    parameters: Mapping[str, Any]
    facts: Mapping[str, Any]
    """The execution's id, creation time and tags, as inputs may name them."""


@dataclass(frozen=True)
class Rider:
    """Who goes on to a further step of a run within one delivery, under which token."""

    run: Run
    token: str
    worker_id: str
    delivery: str


@dataclass(frozen=True)
class Claim:
    """A step that is ours to run, with all that its inputs may name."""

    held: HeldStep
    run: Run
    step: str
    action: str
    attempt: int
    failures: int
    retry: RetryPolicy
    scope: Mapping[str, Any]
    variables: Mapping[str, Any]
    inputs: Any
    for_each: str | None
    """The list whose items are to be run instead, if it has not been asked for yet."""
    recorded_input: Any
    checkpoint: Mapping[str, Any]


@dataclass(frozen=True)
class ClaimAnswer:
    """The answer to a claim: its outcome and, where a step was claimed, the claim."""

    outcome: ClaimOutcome
    detail: str | None
    skipped: int
    last_seq: int | None
    claim: Claim | None


class Recorded(StrEnum):
    """Whether the end of a step landed."""

    RECORDED = "recorded"
    REPEATED = "repeated"
    STALE = "stale"


@dataclass(frozen=True)
class Completion:
    """Where the execution stands after a step has ended, and what to send.

    `status` is None when the execution was deleted in the meantime.
    """

    outcome: Recorded
    status: ExecutionStatus | None
    epoch: int
    open_steps: int
    last_seq: int
    windows: tuple[Window, ...]
    next_claim: Claim | None = None
    """The step that was claimed in the same transaction: the worker rides on."""

    @property
    def is_last(self) -> bool:
        """Say whether nothing is left but to finish the execution."""
        return self.status is ExecutionStatus.ENDING and self.open_steps == 0

    @property
    def has_ended(self) -> bool:
        """Say whether the execution has reached its terminal state."""
        return self.status in TERMINAL_EXECUTION_STATUSES


class Expanded(StrEnum):
    """Whether a step waits for its items; `sql/16_items.sql` says what each asks."""

    EXPANDED = "expanded"
    REPEATED = "repeated"
    EMPTY = "empty"
    REFUSED = "refused"
    STALE = "stale"


@dataclass(frozen=True)
class ExpandAnswer:
    """The answer to a list of items, and what to send."""

    outcome: Expanded
    last_seq: int
    windows: tuple[Window, ...]


class Retried(StrEnum):
    """What follows a failed attempt."""

    RETRYING = "retrying"
    """The next one, in place."""
    WAITING = "waiting"
    """The next one later on: the step waits in the database, and holds nothing."""
    REFUSED = "refused"
    """None: the execution is ending, or the step is somebody else's."""


@dataclass(frozen=True)
class RetryAnswer:
    """The answer to a failed attempt; `attempt` is the one that runs now, if any."""

    outcome: Retried
    attempt: int
    last_seq: int
    windows: tuple[Window, ...]


@dataclass(frozen=True)
class Ending:
    """What the result of an execution is made of."""

    reason: EndReason
    template: Any
    scope: Mapping[str, Any]
    error: Mapping[str, Any] | None


class StepRecords:
    """Claims steps, records how they end, and finishes executions."""

    def __init__(self, database: Database) -> None:
        """Write through `database`."""
        self._database = database

    # claims and their ends

    def claim(
        self,
        execution_id: str,
        positions: Sequence[int],
        *,
        epoch: int,
        token: str,
        worker_id: str,
        delivery: str,
    ) -> ClaimAnswer:
        """Take the first step of `positions` that may run, under `token`."""
        row = self._database.call(
            "claim_step",
            execution_id,
            list(positions),
            epoch,
            token,
            worker_id,
            delivery,
        )
        outcome = ClaimOutcome(row["outcome"])
        claim = None
        if outcome is ClaimOutcome.CLAIMED:
            run = Run(execution_id, row["plan"], row["parameters"], row["execution"])
            claim = _read_claim(run, token, row["claim"], row["variables"])
        return ClaimAnswer(
            outcome, row["detail"], row["skipped"], row["last_seq"], claim
        )

    def complete(
        self,
        held: HeldStep,
        status: StepStatus,
        *,
        result: str | None = None,
        recorded_input: str | None = None,
        error: str | None = None,
        variables: str = "{}",
        covered: int | None = None,
        epoch: int,
        rider: Rider | None = None,
    ) -> Completion:
        """Record how the last attempt of a step ended; values are JSON texts.

        `covered` is the position that the message's own chain sends next, in `epoch`.
        A `rider` claims after a success, in the same transaction, what it can go on to.
        """
        row = self._database.call(
            "complete_step",
            held.execution_id,
            held.position,
            held.token,
            status.value,
            result,
            recorded_input,
            error,
            variables,
            covered,
            epoch,
            *((rider.token, rider.worker_id, rider.delivery) if rider else ()),
        )
        claim = None
        if rider is not None and row["next"] is not None:
            claim = _read_claim(rider.run, rider.token, row["next"], row["variables"])
        return read_completion(
            held.execution_id, Recorded(row["outcome"]), row, next_claim=claim
        )

    def retry(
        self,
        held: HeldStep,
        *,
        attempt: int,
        recorded_input: str,
        error: str,
        wait_seconds: float,
        parks: bool,
    ) -> RetryAnswer:
        """Count a failed `attempt`; another one follows after `wait_seconds`.

        It begins in place, or, if the step `parks`, is sent again when its time has
        come: the step is not held any more then.
        """
        row = self._database.call(
            "retry_step",
            held.execution_id,
            held.position,
            held.token,
            attempt,
            recorded_input,
            error,
            wait_seconds,
            parks,
        )
        return RetryAnswer(
            Retried(row["outcome"]),
            row["attempt"],
            row["last_seq"],
            read_windows(held.execution_id, row["epoch"], row["windows"]),
        )

    def expand(self, held: HeldStep, *, attempt: int, items: str) -> ExpandAnswer:
        """Let a step wait for a step for each of `items`, a JSON array."""
        row = self._database.call(
            "expand_step", held.execution_id, held.position, held.token, attempt, items
        )
        return ExpandAnswer(
            Expanded(row["outcome"]),
            row["last_seq"],
            read_windows(held.execution_id, row["epoch"], row["windows"]),
        )

    # what a running step tells

    def report_progress(
        self,
        held: HeldStep,
        percent: float,
        message: str | None,
        *,
        chunks: int | None,
        records: int | None,
    ) -> int | None:
        """Store progress; return the event's number, None when the token is stale."""
        row = self._database.call(
            "report_progress",
            held.execution_id,
            held.position,
            held.token,
            percent,
            message,
            chunks,
            records,
        )
        return row["last_seq"] if row["landed"] else None

    def save_checkpoint(self, held: HeldStep, data: str) -> bool:
        """Store what a step has done so far; say whether the token still held."""
        row = self._database.call(
            "save_checkpoint", held.execution_id, held.position, held.token, data
        )
        return bool(row["landed"])

    def append_observations(self, held: HeldStep, logs: str, metrics: str) -> bool:
        """Store log lines and metrics; say whether the token still held."""
        row = self._database.call(
            "append_observations",
            held.execution_id,
            held.position,
            held.token,
            logs,
            metrics,
        )
        return bool(row["landed"])

    def is_unwanted(self, held: HeldStep) -> bool:
        """Say whether the attempt should stop: cancelled, or no longer ours."""
        row = self._database.call(
            "is_unwanted", held.execution_id, held.position, held.token
        )
        return bool(row["is_unwanted"])

    # the end of an execution

    def read_ending(self, execution_id: str) -> Ending | None:
        """Return what the result is made of; None unless the end is due."""
        row = self._database.call("read_ending", execution_id)
        if row["reason"] is None:
            return None
        scope = {name: row[name] for name in ("parameters", "execution", "steps")}
        return Ending(EndReason(row["reason"]), row["template"], scope, row["error"])

    def finish(
        self,
        execution_id: str,
        status: ExecutionStatus,
        *,
        result: str | None,
        error: str | None,
    ) -> tuple[bool, int | None]:
        """Reach the terminal state; say whether it landed, and the last event."""
        row = self._database.call(
            "finish_execution", execution_id, status.value, result, error
        )
        return row["landed"], row["last_seq"]


def _read_claim(
    run: Run, token: str, data: Mapping[str, Any], variables: Mapping[str, Any]
) -> Claim:
    return Claim(
        held=HeldStep(run.execution_id, data["position"], token),
        run=run,
        step=data["name"],
        action=data["action"],
        attempt=data["attempt"],
        failures=data["failures"],
        retry=_read_policy(data["retry"]),
        scope={
            "parameters": run.parameters,
            "execution": run.facts,
            "steps": data["steps"],
            **({"step": data["undone"]} if data["undone"] else {}),
            **(data["item"] or {}),
        },
        variables=variables,
        inputs=data["inputs"],
        for_each=data["for_each"],
        recorded_input=data["recorded"],
        checkpoint=data["checkpoint"] or {},
    )


@lru_cache(maxsize=1024)
def _read_policy(text: str) -> RetryPolicy:
    # the steps of a plan, and of its executions, have few of them
    return RetryPolicy.from_json(decode_json(text))


def read_completion(
    execution_id: str,
    outcome: Recorded,
    row: Mapping[str, Any],
    *,
    next_claim: Claim | None = None,
) -> Completion:
    """Return what the database answered to the end of a step."""
    return Completion(
        outcome=outcome,
        status=ExecutionStatus(row["status"]) if row["status"] else None,
        epoch=row["epoch"],
        open_steps=row["open_steps"],
        last_seq=row["last_seq"],
        windows=read_windows(execution_id, row["epoch"], row["windows"]),
        next_claim=next_claim,
    )
