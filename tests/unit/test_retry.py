"""Whether an attempt is followed by another, and after how long."""

import pytest

from execution.errors import (
    ActionInputError,
    DatabaseError,
    ExecutionCancelledError,
    ExpressionError,
    PlansError,
    ResultError,
    StaleLeaseError,
    StepTimeoutError,
)
from execution.retry import FATAL_ERRORS, compute_wait_seconds, may_retry


@pytest.mark.parametrize(
    ("failures", "max_attempts", "answer"),
    [
        (1, 1, False),
        (1, 2, True),
        (2, 2, False),
        (2, 3, True),
        (9, 10, True),
        (10, 10, False),
        (11, 10, False),
    ],
)
def test_attempts_are_followed_until_they_are_used_up(
    failures: int, max_attempts: int, answer: bool
) -> None:
    error = ValueError()

    assert may_retry(error, failures=failures, max_attempts=max_attempts) is answer


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        OSError(),
        PlansError(),
        DatabaseError(),
        StepTimeoutError(),
        ExceptionGroup("two", [ValueError(), KeyError()]),
    ],
)
def test_what_may_pass_is_tried_again(error: Exception) -> None:
    assert may_retry(error, failures=1, max_attempts=2)


@pytest.mark.parametrize(
    "error",
    [
        ActionInputError(),
        ExecutionCancelledError(),
        ExpressionError(),
        ResultError(),
        StaleLeaseError(),
        KeyboardInterrupt(),
        SystemExit(1),
        GeneratorExit(),
    ],
)
def test_what_would_only_repeat_itself_is_not(error: BaseException) -> None:
    assert not may_retry(error, failures=1, max_attempts=99)


def test_the_fatal_errors_are_these() -> None:
    assert set(FATAL_ERRORS) == {
        ActionInputError,
        ExecutionCancelledError,
        ExpressionError,
        ResultError,
        StaleLeaseError,
    }


@pytest.mark.parametrize(
    ("failures", "least"),
    [(1, 0.1), (2, 0.2), (3, 0.4), (4, 0.8), (5, 1.6), (6, 2.0), (7, 2.0)],
)
def test_each_wait_is_twice_the_one_before_up_to_two_seconds(
    failures: int, least: float
) -> None:
    waits = [compute_wait_seconds(failures) for _ in range(50)]

    assert all(least <= wait <= min(least + 0.1, 2.1) for wait in waits)


def test_waits_are_spread() -> None:
    assert len({compute_wait_seconds(1) for _ in range(20)}) > 1


@pytest.mark.parametrize("failures", [64, 1_000, 1_100, 10_000])
def test_many_failures_still_have_a_wait(failures: int) -> None:
    assert compute_wait_seconds(failures) <= 2.1
