"""The attempts of one step in place: how many, how they are counted, how they end."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from execution.actions import ActionRegistry
from execution.attempts import (
    NoMoreAttemptsError,
    Outcome,
    StepAttempts,
    describe_error,
)
from execution.context import Context
from execution.database import Database
from execution.errors import (
    ErrorCode,
    ExecutionCancelledError,
    ExpressionError,
    StaleLeaseError,
)
from execution.patience import Patience
from execution.records import Claim, HeldStep, StepRecords
from execution.results import ErrorRecord
from execution.states import StepStatus

CLAIM = Claim(
    held=HeldStep("e1", 3, "t1"),
    plan="census",
    step="scan",
    action="census.scan",
    attempt=1,
    failures=0,
    max_attempts=3,
    scope={},
    variables={},
    inputs={},
    recorded_input=None,
    checkpoint={},
)
NOWHERE = StepRecords(Database("postgresql://nobody@/none?host=/nowhere", "none"))


@dataclass
class Bench:
    """Runs a function as the action of a claim, and notes what it asked for."""

    claim: Claim = CLAIM
    refuses_retries: bool = False
    notes: list[str] = field(default_factory=list)
    counted: list[dict[str, Any]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def run(self, function: Callable[..., Any]) -> Outcome:
        self.context = Context(self.claim, NOWHERE, lambda _: None, Patience())
        attempts = StepAttempts(
            self.claim,
            ActionRegistry().add("census.scan", function, None),
            self.context,
            self._begin_retry,
            self._sleep,
        )
        return attempts.run({}, "{}")

    def _begin_retry(self, error: str, wait_seconds: float) -> None:
        self.notes.append("count")
        if self.refuses_retries:
            raise NoMoreAttemptsError
        self.counted.append(json.loads(error))
        self.waits.append(wait_seconds)
        self.context.begin_attempt(self.context.attempt + 1)

    def _sleep(self, seconds: float) -> None:
        self.notes.append("sleep")
        assert seconds == self.waits[-1]


def failing(*errors: BaseException) -> Callable[[], str]:
    """Return a function that raises these, one a call, and then succeeds."""
    rest = iter(errors)

    def fail() -> str:
        for error in rest:
            raise error
        return "done"

    return fail


def error_of(outcome: Outcome) -> ErrorRecord:
    assert outcome.status in {StepStatus.FAILED, StepStatus.CANCELLED}
    assert outcome.error is not None
    return ErrorRecord.from_json(json.loads(outcome.error))


def test_a_success_is_recorded_as_json() -> None:
    outcome = Bench().run(lambda: {"n": (1, "é")})

    assert outcome == Outcome(
        StepStatus.COMPLETED, recorded_input="{}", result='{"n":[1,"é"]}'
    )


def test_what_a_success_has_set_is_recorded() -> None:
    def set_variables(ctx: Context) -> None:
        ctx.variables["n"] = 900

    assert Bench().run(set_variables).variables == '{"n":900}'


def test_a_failure_is_followed_by_another_attempt() -> None:
    bench = Bench()

    outcome = bench.run(failing(ValueError("first"), OSError("second")))

    assert outcome.result == '"done"'
    assert [error["message"] for error in bench.counted] == [
        "ValueError: first",
        "OSError: second",
    ]
    assert bench.context.attempt == 3


def test_an_attempt_is_counted_before_the_wait() -> None:
    bench = Bench()

    bench.run(failing(ValueError()))

    assert bench.notes == ["count", "sleep"]


def test_what_a_failed_attempt_has_set_is_forgotten() -> None:
    def fail_first(ctx: Context) -> None:
        if ctx.attempt == 1:
            ctx.variables["n"] = 1
            raise ValueError

    assert Bench().run(fail_first).variables == "{}"


def test_used_up_attempts_end_with_the_cause() -> None:
    bench = Bench()

    error = error_of(bench.run(failing(*map(ValueError, "abc"))))

    assert error.code is ErrorCode.RETRY_EXHAUSTED
    assert error.message == "attempt 3 of 3 failed: ValueError: c"
    assert error.step == "scan"
    assert len(bench.counted) == 2


def test_failures_before_the_claim_count() -> None:
    bench = Bench(replace(CLAIM, failures=2))

    outcome = bench.run(failing(ValueError("last")))

    assert error_of(outcome).message == "attempt 3 of 3 failed: ValueError: last"
    assert bench.counted == []


def test_waits_grow_with_all_failures_of_the_step() -> None:
    bench = Bench(replace(CLAIM, failures=5, max_attempts=9))

    bench.run(failing(ValueError()))

    assert bench.waits[0] >= 2.0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ExecutionCancelledError("no longer wanted"), ErrorCode.CANCELLED),
        (ExpressionError("names nothing"), ErrorCode.EXPRESSION),
    ],
)
@pytest.mark.parametrize("max_attempts", [1, 3])
def test_what_would_only_repeat_itself_ends_the_step(
    error: Exception, code: ErrorCode, max_attempts: int
) -> None:
    bench = Bench(replace(CLAIM, max_attempts=max_attempts))

    record = error_of(bench.run(failing(error)))

    assert record.code is code
    assert record.message == f"{type(error).__name__}: {error}"
    assert not record.recoverable
    assert bench.counted == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ExecutionCancelledError("no longer wanted"), StepStatus.CANCELLED),
        (ValueError("no"), StepStatus.FAILED),
    ],
)
def test_code_that_obeys_a_cancel_is_cancelled_and_not_failed(
    error: Exception, status: StepStatus
) -> None:
    outcome = Bench(replace(CLAIM, max_attempts=1)).run(failing(error))

    assert outcome.status is status


def test_a_result_that_is_no_json_ends_the_step() -> None:
    record = error_of(Bench().run(lambda: {"when": object()}))

    assert record.code is ErrorCode.EXECUTION
    assert record.message.startswith(
        "ResultError: the result of step scan.when is a object"
    )


def test_variables_that_are_no_json_end_the_step() -> None:
    def set_variables(ctx: Context) -> None:
        ctx.variables["n"] = {1}

    record = error_of(Bench().run(set_variables))

    assert record.message.startswith("ResultError: variables.n is a set")


def test_a_lost_lease_is_for_the_caller() -> None:
    with pytest.raises(StaleLeaseError):
        Bench().run(failing(StaleLeaseError("taken")))


def test_a_refused_retry_ends_the_step_with_the_cause() -> None:
    bench = Bench(refuses_retries=True)

    record = error_of(bench.run(failing(ValueError("cause"))))

    assert record.code is ErrorCode.EXECUTION
    assert record.message == "ValueError: cause"
    assert bench.notes == ["count"]


def test_an_interrupt_is_not_an_attempts_failure() -> None:
    bench = Bench()

    with pytest.raises(KeyboardInterrupt):
        bench.run(failing(KeyboardInterrupt()))

    assert bench.counted == []


def test_a_record_says_what_was_raised_where() -> None:
    error = error_of(Bench().run(failing(*[LookupError("x")] * 3)))

    assert error.context["type"] == "builtins.LookupError"
    assert "in fail\n" in error.context["traceback"]
    assert error.context["traceback"].endswith("LookupError: x\n")


def test_a_record_has_the_time() -> None:
    before = datetime.now(UTC)

    record = json.loads(describe_error(ValueError(), CLAIM))

    assert before <= datetime.fromisoformat(record["timestamp"]) <= datetime.now(UTC)


class MuteError(Exception):
    """An error of somebody's whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("x" * 5_000), "ValueError: " + "x" * 1_988),
        (ValueError("a\x00b\ud800c"), "ValueError: ab?c"),
        (
            ExceptionGroup("two", [ValueError(1)]),
            "ExceptionGroup: two (1 sub-exception)",
        ),
        (MuteError(), "MuteError: <exception str() failed>"),
    ],
    ids=["long", "unstorable", "group", "mute"],
)
def test_every_error_can_be_stored(error: BaseException, message: str) -> None:
    assert json.loads(describe_error(error, CLAIM))["message"] == message


def test_a_long_traceback_keeps_its_end() -> None:
    error = ValueError("\n".join(f"line {n}" for n in range(5_000)))

    trace = json.loads(describe_error(error, CLAIM))["context"]["traceback"]

    assert len(trace) == 8_000
    assert trace.endswith("line 4999\n")
