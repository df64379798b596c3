"""Calls the code of a step, again where its policy allows, and says how it ended.

tenacity drives the attempts of a step in place; each one is counted in PostgreSQL
before it begins, so that a process that dies in between does not start counting
anew. What comes out is the text that is recorded, nothing that the code has made.

Knows neither messages nor claims that failed.
"""

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tenacity import RetryCallState, Retrying, retry_if_exception

from execution.actions import Action
from execution.context import Context
from execution.database import DatabaseUnavailableError
from execution.errors import ErrorCode, ExecutionCancelledError, StaleLeaseError
from execution.records import Claim
from execution.results import ErrorRecord, as_storable, encode_json, error_code
from execution.retry import FATAL_ERRORS, compute_wait_seconds, may_retry
from execution.states import StepStatus

_MOST_MESSAGE_CHARACTERS = 2_000
_MOST_TRACEBACK_CHARACTERS = 8_000


@dataclass(frozen=True)
class Outcome:
    """How the last attempt of a step ended; the values are JSON texts."""

    status: StepStatus
    recorded_input: str | None = None
    result: str | None = None
    error: str | None = None
    variables: str = "{}"


class NoMoreAttemptsError(Exception):
    """No further attempt: the execution is ending, or the lease is gone."""


@dataclass
class StepAttempts:
    """The attempts of one claimed step, from the claim's own one on.

    `begin_retry(error, wait_seconds)` counts a failed attempt and begins the next; it
    raises NoMoreAttemptsError where none may follow.
    """

    claim: Claim
    action: Action
    context: Context
    begin_retry: Callable[[str, float], None]
    sleep: Callable[[float], None]
    failures: int = field(init=False)

    def __post_init__(self) -> None:
        self.failures = self.claim.failures

    def run(self, inputs: Mapping[str, Any], recorded_input: str) -> Outcome:
        """Call the action until it succeeds or no attempt is left.

        Raises StaleLeaseError when the step belongs to somebody else by now, and
        DatabaseUnavailableError when the process stops while PostgreSQL is away.
        """
        retrying = Retrying(
            retry=retry_if_exception(self._may_retry),
            wait=lambda _: compute_wait_seconds(self.failures),
            before_sleep=self._count,
            sleep=self.sleep,
            reraise=True,
        )
        try:
            result, variables = retrying(self._call, inputs)
        except (StaleLeaseError, DatabaseUnavailableError):
            # nothing of the code's own: not an attempt that failed
            raise
        except NoMoreAttemptsError as refusal:
            return self._end(refusal.__cause__ or refusal, recorded_input)
        except Exception as error:  # noqa: BLE001  # users' code raises what it likes
            return self._end(error, recorded_input)
        return Outcome(StepStatus.COMPLETED, recorded_input, result, None, variables)

    def _end(self, error: BaseException, recorded_input: str) -> Outcome:
        # what the code told before it failed is what people look for
        self.context.flush()
        is_obeying = isinstance(error, ExecutionCancelledError)
        is_used_up = self.failures >= self.claim.max_attempts
        return Outcome(
            StepStatus.CANCELLED if is_obeying else StepStatus.FAILED,
            recorded_input,
            error=describe_error(error, self.claim, is_used_up=is_used_up),
        )

    def _call(self, inputs: Mapping[str, Any]) -> tuple[str, str]:
        value = self.action.call(self.context, inputs)
        result = encode_json(value, place=f"the result of step {self.claim.step}")
        variables = encode_json(self.context.variables.changed, place="variables")
        self.context.flush()
        return result, variables

    def _may_retry(self, error: BaseException) -> bool:
        if isinstance(error, DatabaseUnavailableError):
            return False
        self.failures += 1
        return may_retry(
            error, failures=self.failures, max_attempts=self.claim.max_attempts
        )

    def _count(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        assert error is not None  # noqa: S101  # tenacity sleeps only after an error
        self.context.flush()
        try:
            self.begin_retry(describe_error(error, self.claim), state.upcoming_sleep)
        except NoMoreAttemptsError as refusal:
            raise refusal from error


def describe_error(
    error: BaseException, claim: Claim, *, is_used_up: bool = False
) -> str:
    """Return the record of an error as JSON text, its traceback in it, bounded."""
    text = f"{type(error).__name__}: {_say(error)}"
    code = error_code(error)
    if is_used_up and not isinstance(error, FATAL_ERRORS):
        text = f"attempt {claim.max_attempts} of {claim.max_attempts} failed: {text}"
        code = ErrorCode.RETRY_EXHAUSTED
    trace = "".join(traceback.format_exception(error))
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


def _say(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  # users' classes; the traceback says it in these words
        return "<exception str() failed>"
