"""Calls the code of a step, again where its policy allows, and says how it ended.

tenacity drives the attempts of a step in place; each one is counted in PostgreSQL
before it begins, so that a process that dies in between does not start counting
anew. What comes out is the text that is recorded, nothing that the code has made.

Knows neither messages nor claims that failed.
"""

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from tenacity import RetryCallState, Retrying, retry_if_exception

from .actions import Action
from .answers import Claim
from .caching import CachePlace
from .capture import Capture
from .context import Context, StepYield
from .database import DatabaseUnavailableError
from .errors import (
    ErrorCode,
    ExecutionCancelledError,
    ExecutionError,
    PayloadError,
    PayloadLostError,
    StaleLeaseError,
    StepTimeoutError,
)
from .large_values import REFERENCE_KEY, load_all
from .payloads import PayloadStore
from .recovery import STRATEGY_PREFIX, RecoveryKind
from .results import (
    ErrorRecord,
    as_storable,
    decode_json,
    encode_json,
    error_code,
)
from .retry import FATAL_ERRORS
from .secrets import NO_SECRETS, StepSecrets
from .settings import Settings
from .states import StepStatus

_MOST_MESSAGE_CHARACTERS = 2_000
_MOST_TRACEBACK_CHARACTERS = 8_000
_SLICE_SECONDS = 0.5


@dataclass(frozen=True)
class Outcome:
    """How the last attempt of a step ended; the values are JSON texts."""

    status: StepStatus
    recorded_input: str | None = None
    result: str | None = None
    error: str | None = None
    variables: str = "{}"
    place: CachePlace | None = None
    """Where the result is to be stored, for others to use."""
    decision: str | None = None
    """What a recovery strategy has decided, unless the step succeeds with a result."""
    guards: tuple[str, ...] = ()
    """The dependencies that the attempt has used well, or that it failed of."""


class NoMoreAttemptsError(Exception):
    """No further attempt: the execution is ending, or the lease is gone."""


class StepParkedError(Exception):
    """The step waits, for another attempt or for its items: let go of it."""


@dataclass
class StepAttempts:
    """The attempts of one claimed step, from the claim's own one on.

    `begin_retry(error, wait_seconds, blamed)` counts a failed attempt, also for those
    dependencies, and begins the next; it raises NoMoreAttemptsError where none may
    follow, and StepParkedError where it does not follow here. In the block
    `interruptible(claim, attempt)`, StepTimeoutError or ExecutionCancelledError may be
    raised from outside. `secrets` are revealed to the action alone. What is large in
    inputs and results lies in `payloads`. What the action logs and prints, `capture`
    hears.
    """

    claim: Claim
    action: Action
    context: Context
    begin_retry: Callable[[str, float, tuple[str, ...]], None]
    sleep: Callable[[float], None]
    interruptible: Callable[[Claim, int], AbstractContextManager[None]]
    secrets: StepSecrets = NO_SECRETS
    payloads: PayloadStore = field(
        default_factory=lambda: PayloadStore.from_settings(Settings())
    )
    capture: Capture = field(default_factory=Capture)
    failures: int = field(init=False)

    def __post_init__(self) -> None:
        self.failures = self.claim.failures

    def run(self, inputs: Mapping[str, Any], recorded_input: str) -> Outcome:
        """Call the action until it succeeds or no attempt is left.

        Raises StepParkedError when the next attempt is to come later, StepYield when
        the code has ended at a checkpoint, StaleLeaseError when the step belongs to
        somebody else by now, and DatabaseUnavailableError when the process stops while
        PostgreSQL is away.
        """
        try:
            complete = load_all if REFERENCE_KEY in recorded_input else _leave
            result, variables = self._call_until_it_ends(
                lambda: complete(self.secrets.reveal(inputs))
            )
        except (StaleLeaseError, StepParkedError, DatabaseUnavailableError):
            # nothing of the code's own: not an attempt that failed
            raise
        except NoMoreAttemptsError as refusal:
            failure = refusal.__cause__ or refusal
        except Exception as error:  # noqa: BLE001  # users' code raises what it likes
            failure = error
        else:
            ended = Outcome(
                StepStatus.COMPLETED,
                recorded_input,
                result,
                None,
                variables,
                guards=tuple(guard.name for guard in self.claim.guards),
            )
            return _follow(ended, self.claim) if self._is_strategy else ended
        # not above: what this raises is logged, and would have in its context an error
        # that may quote a secret
        return self._end(failure, recorded_input)

    @property
    def _is_strategy(self) -> bool:
        return self.action.name.startswith(STRATEGY_PREFIX)

    def _end(self, error: BaseException, recorded_input: str) -> Outcome:
        # what the code told before it failed is what people look for
        self.context.end_attempt()
        is_used_up = self.failures >= self.claim.retry.max_attempts
        return Outcome(
            _judge(error),
            recorded_input,
            error=describe_error(
                error, self.claim, is_used_up=is_used_up, secrets=self.secrets
            ),
            guards=self._list_blamed(error),
        )

    def _list_blamed(self, error: BaseException) -> tuple[str, ...]:
        return tuple(guard.name for guard in self.claim.guards if guard.blames(error))

    def _call_until_it_ends(
        self, find_inputs: Callable[[], Mapping[str, Any]]
    ) -> tuple[str, str]:
        """Call once, and hand an error to tenacity as that of its first attempt.

        Its book-keeping costs more than a short step does, and most need none.
        """
        try:
            return self._call(find_inputs)
        except Exception as error:  # noqa: BLE001  # the policy decides on it
            outcomes = iter((error,))

        def call() -> tuple[str, str]:
            first = next(outcomes, None)
            if first is not None:
                raise first
            return self._call(find_inputs)

        retrying = Retrying(
            retry=retry_if_exception(self._may_retry),
            wait=self._compute_wait_seconds,
            before_sleep=self._count,
            sleep=self._sleep,
            reraise=True,
        )
        return retrying(call)

    def _call(self, find_inputs: Callable[[], Mapping[str, Any]]) -> tuple[str, str]:
        with self.interruptible(self.claim, self.context.attempt), _one_yield():
            value = self._call_heard(find_inputs())
        value = self.secrets.conceal_in(value)
        result = self._encode(value)
        changed = self.secrets.conceal_in(self.context.variables.changed)
        variables = encode_json(changed, place="variables") if changed else "{}"
        self.context.end_attempt()
        return result, variables

    def _call_heard(self, inputs: Mapping[str, Any]) -> Any:
        call, context = self.action.call, self.context
        if not self.action.capture:
            return call(context, inputs)
        return self.capture.call(context.lines, call, context, inputs)

    def _encode(self, value: Any) -> str:
        held, place = self.claim.held, f"the result of step {self.claim.step}"
        if self._is_strategy:
            # what was decided is read at once, and so does not lie elsewhere
            return encode_json(value, place=place)
        return self.payloads.keep(
            value,
            execution_id=held.execution_id,
            position=held.position,
            token=held.token,
            place=place,
        )

    def _may_retry(self, error: BaseException) -> bool:
        if isinstance(error, DatabaseUnavailableError | StepYield):
            return False
        self.failures += 1
        return self.claim.retry.allows(error, failures=self.failures)

    def _compute_wait_seconds(self, state: RetryCallState) -> float:
        return self.claim.retry.compute_wait_seconds(self.failures, _find_error(state))

    def _count(self, state: RetryCallState) -> None:
        error = _find_error(state)
        self.context.end_attempt()
        record = describe_error(error, self.claim, secrets=self.secrets)
        try:
            blamed = self._list_blamed(error)
            self.begin_retry(record, state.upcoming_sleep, blamed)
        except NoMoreAttemptsError as refusal:
            raise refusal from error

    def _sleep(self, seconds: float) -> None:
        left = seconds
        while left > 0:
            self.sleep(min(left, _SLICE_SECONDS))
            left -= _SLICE_SECONDS
            if left > 0:
                # who cancels does not wait for an attempt that has not begun
                self.context.raise_if_cancelled()


@contextmanager
def _one_yield() -> Iterator[None]:
    """Let a yield out of the group in which asyncio's TaskGroup wraps it.

    What else is in the group has failed: that counts.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        yields, rest = group.split(StepYield)
        if yields is None:
            raise
        if rest is not None:
            raise rest from group
        raise _find_leaf(yields) from group


def _find_leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    leaf: BaseException = group
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    return leaf


def _leave(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    return inputs


def _follow(decided: Outcome, claim: Claim) -> Outcome:
    """Return how a strategy's own step ends, by what it has decided."""
    decision = decode_json(str(decided.result))
    failure = encode_json(claim.scope["failure"], place="failure")
    kind = RecoveryKind(decision["kind"])
    match kind:
        case RecoveryKind.COMPLETE:
            result = encode_json(decision["result"], place="the result")
            return replace(decided, result=result)
        case RecoveryKind.SKIP:
            status, error = StepStatus.SKIPPED, None
        case RecoveryKind.ABORT | RecoveryKind.RESTORE:
            # it stands as it was: the error of the step, and not one of the strategy
            status, error = StepStatus.FAILED, failure
    told = encode_json(decision, place="the decision")
    return Outcome(status, decided.recorded_input, error=error, decision=told)


def _judge(error: BaseException) -> StepStatus:
    match error:
        case ExecutionCancelledError():
            return StepStatus.CANCELLED
        case StepTimeoutError():
            return StepStatus.TIMED_OUT
        case _:
            return StepStatus.FAILED


def _find_error(state: RetryCallState) -> BaseException:
    error = state.outcome.exception() if state.outcome else None
    assert error is not None  # noqa: S101  # tenacity asks only after an error
    return error


def end_by(
    error: ExecutionError,
    claim: Claim,
    recorded_input: str | None = None,
    secrets: StepSecrets = NO_SECRETS,
) -> Outcome:
    """Return how a step ends that could not be evaluated.

    Raises the error again where that is only so at the moment: a store is away.
    """
    if isinstance(error, PayloadError) and not isinstance(error, PayloadLostError):
        raise error
    record = describe_error(error, claim, secrets=secrets)
    return Outcome(StepStatus.FAILED, recorded_input, error=record)


def describe_error(
    error: BaseException,
    claim: Claim,
    *,
    is_used_up: bool = False,
    secrets: StepSecrets = NO_SECRETS,
) -> str:
    """Return the record of an error as JSON text, its traceback in it, bounded.

    The values of `secrets` are concealed before anything is cut.
    """
    text = f"{type(error).__name__}: {_say(error)}"
    code = error_code(error)
    # a timeout says more than that no attempt is left
    if is_used_up and not isinstance(error, (*FATAL_ERRORS, StepTimeoutError)):
        most = claim.retry.max_attempts
        text = f"attempt {most} of {most} failed: {text}"
        code = ErrorCode.RETRY_EXHAUSTED
    text = secrets.conceal(text)
    trace = secrets.conceal(_trace(error))
    record = ErrorRecord(
        code=code,
        message=as_storable(text[:_MOST_MESSAGE_CHARACTERS]),
        step=claim.step,
        timestamp=datetime.now(UTC),
        recoverable=not isinstance(error, FATAL_ERRORS),
        context={
            "type": f"{type(error).__module__}.{type(error).__qualname__}",
            "traceback": as_storable(trace[-_MOST_TRACEBACK_CHARACTERS:]),
        },
    )
    return encode_json(record.to_json(), place="error")


def _trace(error: BaseException) -> str:
    try:
        lines = traceback.format_exception(type(error), error, _own_part(error))
        return "".join(lines)
    except Exception:  # noqa: BLE001  # users' classes: notes, say, that raise when read
        return "<the traceback could not be written>"


def _own_part(error: BaseException) -> TracebackType | None:
    """Return the traceback from where the action's own code begins."""
    part = error.__traceback__
    while part is not None:
        if part.tb_frame.f_code is Action.call.__code__:
            return part.tb_next or part
        part = part.tb_next
    return error.__traceback__


def _say(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  # users' classes; the traceback says it in these words
        return "<exception str() failed>"
