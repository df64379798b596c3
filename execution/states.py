"""The states of executions and steps, and the moves between them.

One table per kind maps `(state, move)` to the next state. The guard in the
database, the validation in Python, the diagram in `docs/state_machine.md` and the
tests are all derived from these two tables, so that they cannot disagree.

Pure: knows nothing of SQL, Celery or time.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from .errors import InvalidExecutionStateError


class ExecutionStatus(StrEnum):
    """Where an execution stands."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    ENDING = "ending"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class ExecutionMove(StrEnum):
    """What can happen to an execution."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    REQUEUE = "requeue"
    END = "end"
    COMPLETE = "complete"
    FAIL = "fail"
    CANCEL = "cancel"
    TIME_OUT = "time_out"
    RETRY = "retry"


class EndReason(StrEnum):
    """Why an execution is ending; the first reason wins."""

    RESULT = "result"
    ABORT = "abort"
    CANCEL = "cancel"
    DEADLINE = "deadline"


class Section(StrEnum):
    """What part of a plan a step belongs to, and how far an execution has come.

    They follow each other in this order; the later ones belong to its end.
    """

    STEPS = "steps"
    ROLLBACK = "rollback"
    END = "end"
    OVER = "over"


class StepStatus(StrEnum):
    """Where a step stands."""

    PENDING = "pending"
    READY = "ready"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class StepMove(StrEnum):
    """What can happen to a step."""

    RELEASE = "release"
    CLAIM = "claim"
    RIDE = "ride"
    COMPLETE = "complete"
    FAIL = "fail"
    SKIP = "skip"
    TIME_OUT = "time_out"
    CANCEL = "cancel"
    GIVE_BACK = "give_back"
    WAIT = "wait"
    WAKE = "wake"
    RESTORE = "restore"
    RETRY = "retry"
    REJOIN = "rejoin"
    FORCE = "force"


_E, _EM = ExecutionStatus, ExecutionMove
_S, _SM = StepStatus, StepMove

EXECUTION_MOVES: Mapping[tuple[ExecutionStatus, ExecutionMove], ExecutionStatus] = (
    MappingProxyType(
        {
            (_E.PENDING, _EM.START): _E.RUNNING,
            (_E.PENDING, _EM.PAUSE): _E.PAUSED,
            (_E.PENDING, _EM.END): _E.ENDING,
            (_E.RUNNING, _EM.PAUSE): _E.PAUSED,
            (_E.RUNNING, _EM.END): _E.ENDING,
            (_E.PAUSED, _EM.RESUME): _E.RUNNING,
            # it still waits for its key
            (_E.PAUSED, _EM.REQUEUE): _E.PENDING,
            (_E.PAUSED, _EM.END): _E.ENDING,
            (_E.ENDING, _EM.COMPLETE): _E.COMPLETED,
            (_E.ENDING, _EM.FAIL): _E.FAILED,
            (_E.ENDING, _EM.CANCEL): _E.CANCELLED,
            (_E.ENDING, _EM.TIME_OUT): _E.TIMED_OUT,
            # somebody asks for it: an end is no end for ever
            (_E.FAILED, _EM.RETRY): _E.PENDING,
            (_E.CANCELLED, _EM.RETRY): _E.PENDING,
            (_E.TIMED_OUT, _EM.RETRY): _E.PENDING,
        }
    )
)

STEP_MOVES: Mapping[tuple[StepStatus, StepMove], StepStatus] = MappingProxyType(
    {
        (_S.PENDING, _SM.RELEASE): _S.READY,
        # released and claimed by one write, by who has completed what it waited for
        (_S.PENDING, _SM.RIDE): _S.RUNNING,
        (_S.PENDING, _SM.SKIP): _S.SKIPPED,
        (_S.PENDING, _SM.CANCEL): _S.CANCELLED,
        (_S.READY, _SM.CLAIM): _S.RUNNING,
        (_S.READY, _SM.CANCEL): _S.CANCELLED,
        (_S.READY, _SM.TIME_OUT): _S.TIMED_OUT,
        (_S.READY, _SM.SKIP): _S.SKIPPED,
        (_S.RUNNING, _SM.COMPLETE): _S.COMPLETED,
        (_S.RUNNING, _SM.FAIL): _S.FAILED,
        (_S.RUNNING, _SM.SKIP): _S.SKIPPED,
        (_S.RUNNING, _SM.TIME_OUT): _S.TIMED_OUT,
        (_S.RUNNING, _SM.CANCEL): _S.CANCELLED,
        (_S.RUNNING, _SM.GIVE_BACK): _S.READY,
        (_S.RUNNING, _SM.WAIT): _S.WAITING,
        (_S.WAITING, _SM.WAKE): _S.READY,
        # it waits for its fallback
        (_S.READY, _SM.WAIT): _S.WAITING,
        # its items do, or its fallback
        (_S.WAITING, _SM.COMPLETE): _S.COMPLETED,
        (_S.WAITING, _SM.FAIL): _S.FAILED,
        (_S.WAITING, _SM.CANCEL): _S.CANCELLED,
        (_S.WAITING, _SM.TIME_OUT): _S.TIMED_OUT,
        (_S.WAITING, _SM.SKIP): _S.SKIPPED,
        # the execution goes back to before it; one that failed has ended it
        (_S.READY, _SM.RESTORE): _S.PENDING,
        (_S.RUNNING, _SM.RESTORE): _S.PENDING,
        (_S.WAITING, _SM.RESTORE): _S.PENDING,
        (_S.COMPLETED, _SM.RESTORE): _S.PENDING,
        (_S.SKIPPED, _SM.RESTORE): _S.PENDING,
        # the execution goes on after its end: it begins anew
        (_S.FAILED, _SM.RETRY): _S.PENDING,
        (_S.CANCELLED, _SM.RETRY): _S.PENDING,
        (_S.TIMED_OUT, _SM.RETRY): _S.PENDING,
        # or what it waited for goes on
        (_S.FAILED, _SM.REJOIN): _S.WAITING,
        (_S.CANCELLED, _SM.REJOIN): _S.WAITING,
        (_S.TIMED_OUT, _SM.REJOIN): _S.WAITING,
        (_S.SKIPPED, _SM.REJOIN): _S.WAITING,
        # somebody says what it came to
        (_S.PENDING, _SM.FORCE): _S.COMPLETED,
        (_S.READY, _SM.FORCE): _S.COMPLETED,
        (_S.WAITING, _SM.FORCE): _S.COMPLETED,
    }
)

_WISHES: Mapping[ExecutionMove, str] = MappingProxyType(
    {
        _EM.PAUSE: "paused",
        _EM.RESUME: "resumed",
        _EM.END: "cancelled",
        _EM.RETRY: "retried",
    }
)
"""What people ask for; the other moves are the workers' to make."""

TERMINAL_EXECUTION_STATUSES = frozenset(ExecutionStatus) - {
    status for status, move in EXECUTION_MOVES if move is not _EM.RETRY
}
"""How an execution ends; from most of them it goes on if somebody says so."""
TERMINAL_STEP_STATUSES = frozenset(StepStatus) - {
    status
    for status, move in STEP_MOVES
    if move not in (_SM.RESTORE, _SM.RETRY, _SM.REJOIN)
}
"""How a step ends; a restore or a retry begins it anew."""
SETTLED_STEP_STATUSES = frozenset({StepStatus.COMPLETED, StepStatus.SKIPPED})
"""What a successor may follow: see "Failures, skips and joins" in `docs/plans.md`."""


def next_status(status: ExecutionStatus, move: ExecutionMove) -> ExecutionStatus:
    """Return the state that `move` leads to from `status`.

    Raises InvalidExecutionStateError when the table has no such move; the message
    names what can be asked of the execution instead.
    """
    try:
        return EXECUTION_MOVES[status, move]
    except KeyError:
        wish = f"be {_WISHES[move]}" if move in _WISHES else move.replace("_", " ")
        raise InvalidExecutionStateError(
            f"an execution that is {status} cannot {wish}; it {_say_prospect(status)}"
        ) from None


def _say_prospect(status: ExecutionStatus) -> str:
    if status is _E.COMPLETED:
        return "has ended for good"
    wishes = [
        wish for move, wish in _WISHES.items() if (status, move) in EXECUTION_MOVES
    ]
    return f"can be {' or '.join(wishes)}" if wishes else "comes to its end by itself"


def final_status(reason: EndReason) -> ExecutionStatus:
    """Return the terminal state that an execution ending for `reason` reaches."""
    match reason:
        case EndReason.RESULT:
            return ExecutionStatus.COMPLETED
        case EndReason.ABORT:
            return ExecutionStatus.FAILED
        case EndReason.CANCEL:
            return ExecutionStatus.CANCELLED
        case EndReason.DEADLINE:
            return ExecutionStatus.TIMED_OUT


def is_terminal(status: ExecutionStatus) -> bool:
    """Say whether an execution in this state has ended for good."""
    return status in TERMINAL_EXECUTION_STATUSES


def list_step_edges() -> tuple[tuple[str, str], ...]:
    """Return every `(from, to)` pair that a step may take, sorted."""
    return tuple(sorted({(s.value, to.value) for (s, _), to in STEP_MOVES.items()}))


def list_execution_edges() -> tuple[tuple[str, str], ...]:
    """Return every `(from, to)` pair that an execution may take, sorted."""
    return tuple(
        sorted({(s.value, to.value) for (s, _), to in EXECUTION_MOVES.items()})
    )
