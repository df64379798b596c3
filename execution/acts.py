"""What people can do to executions, and what each act comes to in every state.

`judge` is the table (act, state) → result: the page in the documentation and the tests
that walk it are made of it, and the database, which decides, agrees with it.

Pure: knows neither the database nor the command line.
"""

from dataclasses import dataclass
from enum import StrEnum

from .errors import (
    ConcurrencyConflictError,
    ExecutionNotFoundError,
    InvalidExecutionStateError,
    PlansError,
    StepNotFoundError,
)
from .states import (
    EXECUTION_MOVES,
    TERMINAL_EXECUTION_STATUSES,
    ExecutionMove,
    ExecutionStatus,
    StepStatus,
)


class Act(StrEnum):
    """What a person can do to an execution."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    RETRY = "retry"
    SKIP = "skip"
    FORCE = "force"
    DELETE = "delete"


STEP_ACTS = frozenset({Act.SKIP, Act.FORCE})
"""Those that are about one step of it."""


class Refusal(StrEnum):
    """Why the database refuses an act; the same words as in `sql/28_operations.sql`."""

    NO_EXECUTION = "no_execution"
    STATE = "state"
    CHILD = "child"
    ROLLED_BACK = "rolled_back"
    NOTHING_FAILED = "nothing_failed"
    KEY_TAKEN = "key_taken"
    CHANGED = "changed"
    NO_STEP = "no_step"
    SECTION = "section"
    ITERATION = "iteration"
    STEP_STATE = "step_state"
    HAS_ITEMS = "has_items"
    STANDS_IN = "stands_in"
    FALLS_BACK = "falls_back"
    BLOCKED = "blocked"


class StepRole(StrEnum):
    """What a retry makes of a step that it lets run."""

    ANEW = "anew"
    AGAIN = "again"
    PART = "part"


PARTS = frozenset({StepRole.ANEW, StepRole.PART})
"""What begins anew, and can have other inputs then."""


@dataclass(frozen=True)
class PreviewedStep:
    """A step that would run, and what it has cost so far.

    `attempts` and `seconds` are those of all its attempts; `status` is where it stands.
    """

    execution_id: str
    step: str
    action: str
    role: StepRole
    status: StepStatus
    attempts: int
    seconds: float

    @property
    def repeats(self) -> bool:
        """Say whether it has run before: what it did then, it may do once more."""
        return self.attempts > 0

    @property
    def idempotency_key(self) -> str:
        """Return the key that it had, and will have."""
        return f"{self.execution_id}:{self.step}"


@dataclass(frozen=True)
class ActPreview:
    """What an act would come to: the steps that would run, unless something skips them.

    Of an execution that is still running an act lets none run that would not anyway.
    """

    act: Act
    execution_id: str
    status: ExecutionStatus
    steps: tuple[PreviewedStep, ...]

    @property
    def repeated(self) -> tuple[PreviewedStep, ...]:
        """Return those that have run before: their effects may repeat."""
        return tuple(step for step in self.steps if step.repeats)

    @property
    def attempts(self) -> int:
        """Return how many attempts these have had."""
        return sum(step.attempts for step in self.steps)

    @property
    def seconds(self) -> float:
        """Return how long these attempts took."""
        return sum(step.seconds for step in self.steps)


@dataclass(frozen=True)
class Verdict:
    """What an act comes to: the states that it may leave, or the error that it raises.

    `says` is what there is to say beside that.
    """

    leads_to: frozenset[ExecutionStatus]
    error: type[PlansError] | None = None
    says: str = ""

    @property
    def is_done(self) -> bool:
        """Say whether the act is done."""
        return self.error is None


_E, _S = ExecutionStatus, StepStatus
_LIVE = frozenset({_E.PENDING, _E.RUNNING, _E.PAUSED})
_RETRIED = frozenset(
    status for status, move in EXECUTION_MOVES if move is ExecutionMove.RETRY
)
_MOVES = {
    Act.PAUSE: (ExecutionMove.PAUSE,),
    Act.RESUME: (ExecutionMove.RESUME, ExecutionMove.REQUEUE),
    Act.CANCEL: (ExecutionMove.END,),
    Act.RETRY: (ExecutionMove.RETRY,),
}
_UNSTARTED = frozenset({_S.READY, _S.WAITING})
_STOPPED = frozenset({_S.FAILED, _S.TIMED_OUT, _S.CANCELLED})
_REFUSED = Verdict(frozenset(), InvalidExecutionStateError)


def judge(act: Act, status: ExecutionStatus, step: StepStatus | None = None) -> Verdict:
    """Return what an act comes to for an execution in a state, and a step of it.

    It is what holds as a rule; `explain_refusal` says what else can be in the way.
    """
    if act in STEP_ACTS and step is not None:
        return _judge_step(status, step)
    if act is Act.DELETE:
        if status in TERMINAL_EXECUTION_STATUSES:
            return Verdict(frozenset(), says="deleted")
        return Verdict(frozenset({status}), says="not deleted: it has not ended")
    if act is Act.CANCEL and status is _E.ENDING:
        return Verdict(frozenset({status}), says="what runs is given another time")
    found = frozenset(
        EXECUTION_MOVES[status, move]
        for move in _MOVES.get(act, ())
        if (status, move) in EXECUTION_MOVES
    )
    return Verdict(found) if found else _REFUSED


def _judge_step(status: ExecutionStatus, step: StepStatus) -> Verdict:
    if status in _LIVE and step in _UNSTARTED:
        return Verdict(frozenset({status, _E.ENDING, _E.COMPLETED}))
    if status in _RETRIED and step in _STOPPED:
        return Verdict(
            frozenset({_E.PENDING, _E.ENDING, _E.COMPLETED}), says="and is retried"
        )
    return _REFUSED


def can_be(status: ExecutionStatus, step: StepStatus) -> bool:
    """Say whether an execution in this state can have a step in that one."""
    is_over = status in TERMINAL_EXECUTION_STATUSES
    if step in {_S.PENDING, _S.READY, _S.WAITING}:
        # the steps of its end, while it comes to that
        return not is_over
    if step is _S.RUNNING:
        return status not in TERMINAL_EXECUTION_STATUSES | {_E.PENDING}
    return True


_ABOUT_STATE = {
    ExecutionStatus.ENDING: "it comes to its end by itself; wait for that",
    ExecutionStatus.COMPLETED: "nothing of it has failed",
}
_DONE = {Act.RETRY: "retried", Act.SKIP: "skipped", Act.FORCE: "given a result"}


def explain_refusal(
    act: Act, execution_id: str, step: str | None, refusal: Refusal, about: str | None
) -> PlansError:
    """Return the error for an act that was refused, saying what can be done instead."""
    done, place = _DONE[act], f"step {step} of execution {execution_id}"
    match refusal:
        case Refusal.NO_EXECUTION:
            return ExecutionNotFoundError(
                f"there is no execution {execution_id!r}; see `plans list`"
            )
        case Refusal.NO_STEP:
            return StepNotFoundError(
                f"execution {execution_id} has no step {step!r};"
                f" see `plans show {execution_id}`"
            )
        case Refusal.KEY_TAKEN:
            return ConcurrencyConflictError(
                f"execution {execution_id} cannot go on: its plan has `on_conflict:"
                f" reject`, and its key belongs to {about}; wait until that has ended",
                tuple((about or "").split(", ")),
            )
        case Refusal.STATE | Refusal.STEP_STATE:
            what = f"execution {execution_id}" if refusal is Refusal.STATE else place
            message = f"{what} is {about}, and cannot be {done}; {_advise(act, about)}"
        case _:
            message = _HINDRANCES[refusal].format(
                place=place, done=done, about=about, id=execution_id
            )
    return InvalidExecutionStateError(message)


def _advise(act: Act, status: str | None) -> str:
    match status:
        case ExecutionStatus.RUNNING if act is not Act.RETRY:
            return "wait until its attempt has ended, or cancel the execution"
        case ExecutionStatus.ENDING:
            return "it comes to its end by itself: wait for that"
        case ExecutionStatus.PENDING | ExecutionStatus.RUNNING | ExecutionStatus.PAUSED:
            return "only what has ended can go on after its end"
        case _:
            return "only what has failed, was cut or was cancelled can"


_HINDRANCES = {
    Refusal.CHILD: (
        "execution {id} runs within {about}, and goes on with that alone:"
        " plans retry {about}"
    ),
    Refusal.ROLLED_BACK: (
        "execution {id} was rolled back by {about}: what it did is undone, and its"
        " idempotency keys stand for what is undone; submit its plan anew"
    ),
    Refusal.NOTHING_FAILED: (
        "no step of execution {id} has failed: its result could not be made of what"
        " they came to, and nothing would run again; submit its plan anew"
    ),
    Refusal.CHANGED: "execution {id} changed while it was asked to; look again",
    Refusal.SECTION: (
        "{place} belongs to the end of the execution, and cannot be {done}"
    ),
    Refusal.ITERATION: (
        "{place} is an iteration, and cannot be {done} by itself; name the loop:"
        " {about}"
    ),
    Refusal.HAS_ITEMS: (
        "{place} runs for each item of a list, and has their results; force those of"
        " its items, by their names, or skip it"
    ),
    Refusal.STANDS_IN: "{place} stands in for {about}; name that one",
    Refusal.FALLS_BACK: "{place} waits for {about}, which stands in for it; name that",
    Refusal.BLOCKED: (
        "{place} cannot be {done} before what it needs is settled: {about}"
    ),
}
