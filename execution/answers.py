"""What the database answers to those who run steps: claims, and where things stand.

Frozen values, and how the rows of the functions in `sql/` are read into them. Knows
neither how they are called nor what is done with an answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from .caching import CacheRule
from .large_values import Read, revive, revive_outcome, revive_whole
from .results import decode_json
from .retry import FATAL_ERRORS, RetryPolicy
from .states import (
    TERMINAL_EXECUTION_STATUSES,
    EndReason,
    ExecutionStatus,
    StepStatus,
)
from .windows import Window, read_windows


class ClaimOutcome(StrEnum):
    """What a claim came to; `sql/04_claim.sql` says what each asks of the caller."""

    CLAIMED = "claimed"
    SATISFIED = "satisfied"
    DROPPED = "dropped"
    PARKED = "parked"
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
    has_parent: bool = False
    """Whether a step of another execution waits for the end of this one."""


@dataclass(frozen=True)
class Rider:
    """Who goes on to a further step of a run within one delivery, under which token."""

    run: Run
    token: str
    worker_id: str
    delivery: str


@dataclass(frozen=True)
class LoopState:
    """How far a loop has come: how many iterations have begun, and ended, so far.

    `until` is the bare expression that ends the loop, `times` the most iterations that
    it may have. The others are those of the last iteration, None before there is one.
    """

    until: str | None
    times: int
    begun: int
    status: StepStatus | None
    result: Any
    error: Mapping[str, Any] | None


@dataclass(frozen=True)
class Guard:
    """A dependency of a step whose failures are counted, and which errors are those.

    `on` and `not_on` are as in a retry.
    """

    name: str
    on: tuple[str, ...]
    not_on: tuple[str, ...]

    def blames(self, error: BaseException) -> bool:
        """Say whether an error of the step's own counts as a failure of this."""
        return (
            isinstance(error, Exception)
            and not isinstance(error, FATAL_ERRORS)
            and RetryPolicy(on=self.on, not_on=self.not_on).covers(error)
        )


@dataclass(frozen=True)
class Claim:
    """A step that is ours to run, with all that its expressions may name."""

    held: HeldStep
    run: Run
    step: str
    action: str
    attempt: int
    failures: int
    retry: RetryPolicy
    scope: Mapping[str, Any]
    variables: Mapping[str, Any]
    condition: str | None
    inputs: Any
    for_each: str | None
    """The list whose items are to be run instead, if it has not been asked for yet."""
    subplan: str | None
    """The published plan that the step runs instead of an action."""
    loop: LoopState | None
    """Where the loop stands, if the step is one."""
    recorded_input: Any
    checkpoint: Mapping[str, Any]
    cache: CacheRule | None = None
    """How old a result may be that is used instead, if one may."""
    guards: tuple[Guard, ...] = ()
    """What the step uses of which somebody wants to know how it does."""


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


class Repeated(StrEnum):
    """Whether a loop's next iteration began; `sql/19_loops.sql` says what each asks."""

    BEGUN = "begun"
    REPEATED = "repeated"
    REFUSED = "refused"
    STALE = "stale"


@dataclass(frozen=True)
class RepeatAnswer:
    """The answer to a loop that goes on, and what to send."""

    outcome: Repeated
    last_seq: int
    windows: tuple[Window, ...]
    next_claim: Claim | None
    """The iteration, if it was claimed in the same transaction: the worker rides on."""


class Slept(StrEnum):
    """Whether a step sleeps; `sql/21_sleeps.sql` says what each asks."""

    ASLEEP = "asleep"
    OVER = "over"
    REFUSED = "refused"
    STALE = "stale"


@dataclass(frozen=True)
class SleepAnswer:
    """The answer to a step that is to sleep, and what to send."""

    outcome: Slept
    last_seq: int
    windows: tuple[Window, ...]


class Reused(StrEnum):
    """Whether there is a result that a step may use instead of running."""

    REUSED = "reused"
    MISSED = "missed"
    STALE = "stale"


@dataclass(frozen=True)
class ReuseAnswer:
    """The answer to a look for a result, which is JSON text."""

    outcome: Reused
    result: str | None
    last_seq: int | None


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


class Saved(StrEnum):
    """Whether a checkpoint was saved."""

    SAVED = "saved"
    ASKED = "asked"
    """It was, and the attempt may end here: it is asked to yield."""
    STALE = "stale"


@dataclass(frozen=True)
class Ending:
    """What the result of an execution is made of."""

    reason: EndReason
    template: Any
    scope: Mapping[str, Any]
    error: Mapping[str, Any] | None


def read_claim(
    run: Run,
    token: str,
    data: Mapping[str, Any],
    variables: Mapping[str, Any],
    read: Read,
) -> Claim:
    """Return a claim as the database tells it; `read` is for what is large in it."""
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
            "steps": read_outcomes(data["steps"], read),
            **(
                {"step": revive_outcome(data["undone"], read)} if data["undone"] else {}
            ),
            **_read_item(data["item"] or {}, read),
            **({"failure": data["failure"]} if data["failure"] else {}),
        },
        variables=variables,
        condition=data["condition"],
        inputs=data["inputs"],
        for_each=data["for_each"],
        subplan=data["subplan"],
        loop=_read_loop(data["loop"], read) if data["loop"] else None,
        recorded_input=revive(data["recorded"], read),
        checkpoint=data["checkpoint"] or {},
        cache=CacheRule.from_json(data["cache"]) if data["cache"] else None,
        guards=tuple(
            Guard(name, tuple(on), tuple(not_on))
            for name, on, not_on in data["guards"] or ()
        ),
    )


def read_outcomes(
    steps: Mapping[str, Any], read: Read
) -> Mapping[str, Mapping[str, Any]]:
    """Return what expressions may read of steps, by name."""
    return {name: revive_outcome(outcome, read) for name, outcome in steps.items()}


def _read_item(data: Mapping[str, Any], read: Read) -> Mapping[str, Any]:
    return {name: revive_whole(value, read) for name, value in data.items()}


def _read_loop(data: Mapping[str, Any], read: Read) -> LoopState:
    return LoopState(
        until=data["until"],
        times=data["times"],
        begun=data["begun"],
        status=StepStatus(data["status"]) if data["status"] else None,
        result=revive_whole(data["result"], read),
        error=data["error"],
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
