"""Whether an attempt is followed by another, and after how long.

Both are pure functions of the number of failures, which PostgreSQL counts: a policy
does not forget when its process does. The waits are short enough to be sat out in
place.
"""

from tenacity import RetryCallState, wait_exponential, wait_random

from execution.errors import (
    ActionInputError,
    ExecutionCancelledError,
    ExpressionError,
    ResultError,
    StaleLeaseError,
)

FATAL_ERRORS: tuple[type[Exception], ...] = (
    ActionInputError,
    ExecutionCancelledError,
    ExpressionError,
    ResultError,
    StaleLeaseError,
)
"""Errors that another attempt would only repeat, or that forbid one."""

_WAIT = wait_exponential(multiplier=0.1, max=2.0) + wait_random(0, 0.1)


def may_retry(error: BaseException, *, failures: int, max_attempts: int) -> bool:
    """Say whether another attempt follows `error`, the `failures`-th of the step."""
    return (
        isinstance(error, Exception)
        and not isinstance(error, FATAL_ERRORS)
        and failures < max_attempts
    )


def compute_wait_seconds(failures: int) -> float:
    """Return how long to wait after the `failures`-th failure, 2.1 s at most."""
    state = RetryCallState(None, None, (), {})  # type: ignore[arg-type]  # no retrying needed: a wait reads only the number
    state.attempt_number = failures
    return float(_WAIT(state))
