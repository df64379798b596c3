"""Whether an attempt is followed by another, and after how long."""

import json
import random

import pytest

from execution.errors import (
    ActionExitError,
    ActionInputError,
    DatabaseError,
    ExecutionCancelledError,
    ExpressionError,
    FatalError,
    LoopExhaustedError,
    PayloadLostError,
    PlansError,
    ResultError,
    RetryableError,
    SecretError,
    StaleLeaseError,
    StepTimeoutError,
)
from execution.retry import (
    FATAL_ERRORS,
    RetryPolicy,
    RetryWait,
)

FATAL: list[BaseException] = [
    ActionInputError(),
    ExecutionCancelledError(),
    ExpressionError(),
    FatalError("no"),
    LoopExhaustedError("no"),
    ResultError(),
    StaleLeaseError(),
]
NO_ERRORS: list[BaseException] = [KeyboardInterrupt(), SystemExit(1), GeneratorExit()]


@pytest.fixture
def _seeded() -> None:
    """Make the waits of a test repeatable; the seed is shown when it fails."""
    seed = random.randrange(2**32)
    print(f"random.seed({seed})")  # noqa: T201  # for who repeats the test
    random.seed(seed)


def test_a_policy_is_stored_as_plain_json() -> None:
    policy = RetryPolicy(5, RetryWait.RANDOM, 0.5, 90.0, 0.0, ("E002",), ("OSError",))

    assert policy.to_json() == {
        "max_attempts": 5,
        "wait": "random",
        "initial_seconds": 0.5,
        "max_seconds": 90.0,
        "jitter_seconds": 0.0,
        "on": ["E002"],
        "not_on": ["OSError"],
    }
    assert type(policy.to_json()["wait"]) is str
    assert RetryPolicy.from_json(json.loads(json.dumps(policy.to_json()))) == policy


def test_a_stored_policy_without_keys_has_the_defaults() -> None:
    assert RetryPolicy.from_json({}) == RetryPolicy()
    assert RetryPolicy() == RetryPolicy(1, RetryWait.EXPONENTIAL, 1.0, 60.0, 0.1)


def test_a_stored_policy_of_another_release_is_read() -> None:
    policy = RetryPolicy.from_json({"max_attempts": 2, "max_seconds": 5, "later": 1})

    assert policy == RetryPolicy(max_attempts=2, max_seconds=5.0)
    assert type(policy.max_seconds) is float


def test_a_stored_policy_with_an_unknown_wait_is_refused() -> None:
    with pytest.raises(ValueError, match="fibonacci"):
        RetryPolicy.from_json({"wait": "fibonacci"})


@pytest.mark.parametrize(
    ("failures", "max_attempts", "answer"),
    [(1, 1, False), (1, 2, True), (2, 2, False), (9, 10, True), (11, 10, False)],
)
def test_a_policy_allows_attempts_until_they_are_used_up(
    failures: int, max_attempts: int, answer: bool
) -> None:
    policy = RetryPolicy(max_attempts=max_attempts)

    assert policy.allows(ValueError(), failures=failures) is answer
    assert policy.allows(RetryableError("busy"), failures=failures) is answer


@pytest.mark.parametrize(
    "error", FATAL + NO_ERRORS, ids=lambda error: type(error).__name__
)
@pytest.mark.parametrize("on", [(), ("E003", "Exception"), ("builtins.object",)])
def test_no_policy_retries_what_would_only_repeat_itself(
    error: BaseException, on: tuple[str, ...]
) -> None:
    assert not RetryPolicy(max_attempts=99, on=on).allows(error, failures=1)


def test_without_on_every_other_error_is_retried() -> None:
    for error in (ValueError(), PlansError(), DatabaseError(), ActionExitError()):
        assert RetryPolicy(max_attempts=2).allows(error, failures=1)


def test_not_on_wins_over_on() -> None:
    policy = RetryPolicy(
        max_attempts=9, on=("OSError", "E002"), not_on=("FileNotFoundError",)
    )

    assert policy.allows(OSError(), failures=1)
    assert policy.allows(StepTimeoutError(), failures=1)
    assert not policy.allows(FileNotFoundError(), failures=1)
    assert not policy.allows(ValueError(), failures=1)


def test_a_retryable_error_is_retried_whatever_on_says() -> None:
    error = RetryableError("busy")

    assert RetryPolicy(max_attempts=2, on=("OSError",)).allows(error, failures=1)


@pytest.mark.parametrize(
    "name", ["execution.errors.RetryableError", "execution.RetryableError", "E003"]
)
def test_a_retryable_error_that_not_on_names_is_not_retried(name: str) -> None:
    policy = RetryPolicy(max_attempts=2, not_on=(name,))

    assert not policy.allows(RetryableError("busy"), failures=1)


@pytest.mark.parametrize(
    ("on", "not_on", "answer"),
    [
        ((), (), True),
        (("E002",), (), True),
        (("OSError",), (), False),
        (("execution.errors.StepTimeoutError",), (), True),
        (("ValueError",), (), False),
        (("E003",), (), False),
        ((), ("E002",), False),
        ((), ("ValueError",), True),
        (("PlansError",), ("E002",), False),
    ],
)
def test_timeouts_are_retried_as_any_other_error(
    on: tuple[str, ...], not_on: tuple[str, ...], answer: bool
) -> None:
    assert RetryPolicy(on=on, not_on=not_on).retries_timeouts is answer


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(1, 0.5), (2, 1), (3, 2), (6, 16), (7, 20), (8, 20), (64, 20), (10_000, 20)],
)
def test_an_exponential_wait_doubles_up_to_its_maximum(
    failures: int, seconds: float
) -> None:
    policy = RetryPolicy(initial_seconds=0.5, max_seconds=20.0, jitter_seconds=0.0)

    assert policy.compute_wait_seconds(failures) == seconds


@pytest.mark.parametrize("failures", [1, 2, 1_000, 1_100, 10_000])
def test_no_wait_at_first_stays_none(failures: int) -> None:
    policy = RetryPolicy(initial_seconds=0.0, jitter_seconds=0.0)

    assert policy.compute_wait_seconds(failures) == 0


@pytest.mark.parametrize("failures", [1, 2, 10_000])
def test_a_fixed_wait_is_always_the_same(failures: int) -> None:
    policy = RetryPolicy(wait=RetryWait.FIXED, initial_seconds=90.0, jitter_seconds=0.0)

    assert policy.compute_wait_seconds(failures) == 90


@pytest.mark.usefixtures("_seeded")
@pytest.mark.parametrize("failures", [1, 10_000])
def test_a_random_wait_is_anywhere_between_its_bounds(failures: int) -> None:
    policy = RetryPolicy(
        wait=RetryWait.RANDOM, initial_seconds=2.0, max_seconds=6.0, jitter_seconds=0.0
    )

    waits = [policy.compute_wait_seconds(failures) for _ in range(500)]

    assert all(2 <= wait <= 6 for wait in waits)
    assert min(waits) < 3
    assert max(waits) > 5


@pytest.mark.usefixtures("_seeded")
@pytest.mark.parametrize("wait", RetryWait)
def test_jitter_is_added_to_every_kind_of_wait(wait: RetryWait) -> None:
    policy = RetryPolicy(
        wait=wait, initial_seconds=4.0, max_seconds=4.0, jitter_seconds=2.0
    )

    waits = [policy.compute_wait_seconds(3) for _ in range(500)]

    assert all(4 <= wait <= 6 for wait in waits)
    assert min(waits) < 4.5
    assert max(waits) > 5.5


def test_the_fatal_errors_are_these() -> None:
    assert set(FATAL_ERRORS) == {
        ActionInputError,
        ExecutionCancelledError,
        ExpressionError,
        FatalError,
        LoopExhaustedError,
        PayloadLostError,
        ResultError,
        SecretError,
        StaleLeaseError,
    }
