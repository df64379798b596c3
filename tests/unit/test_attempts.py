"""The attempts of one step in place: how many, how they are counted, how they end."""

import json
import traceback
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from execution.actions import ActionRegistry
from execution.answers import Claim, HeldStep, Run
from execution.attempts import (
    NoMoreAttemptsError,
    Outcome,
    StepAttempts,
    StepParkedError,
)
from execution.context import Context
from execution.database import Database, DatabaseUnavailableError
from execution.errors import (
    ErrorCode,
    ExecutionCancelledError,
    ExpressionError,
    FatalError,
    RetryableError,
    StaleLeaseError,
    StepTimeoutError,
)
from execution.identity import draw_execution_id
from execution.large_values import is_reference
from execution.patience import Patience
from execution.payloads import PayloadStore
from execution.records import StepRecords
from execution.results import ErrorRecord
from execution.retry import RetryPolicy
from execution.secrets import SecretStore, StepSecrets
from execution.states import StepStatus

POLICY = RetryPolicy(max_attempts=3, initial_seconds=0.01, jitter_seconds=0.0)
CLAIM = Claim(
    held=HeldStep("e1", 3, "t1"),
    run=Run("e1", "census", {}, {}),
    step="scan",
    action="census.scan",
    attempt=1,
    failures=0,
    retry=POLICY,
    scope={},
    variables={},
    condition=None,
    inputs={},
    for_each=None,
    subplan=None,
    loop=None,
    recorded_input=None,
    checkpoint={},
)
NOWHERE = StepRecords(Database("postgresql://nobody@/none?host=/nowhere", "none"))


@dataclass
class Bench:
    """Runs a function as the action of a claim, and notes what it asked for."""

    claim: Claim = CLAIM
    refuses_retries: bool = False
    parks: bool = False
    patience: Patience = field(default_factory=Patience)
    notes: list[str] = field(default_factory=list)
    counted: list[dict[str, Any]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    blamed: list[tuple[str, ...]] = field(default_factory=list)

    def run(self, function: Callable[..., Any]) -> Outcome:
        self.context = Context(self.claim, NOWHERE, lambda _: None, self.patience)
        attempts = StepAttempts(
            self.claim,
            ActionRegistry().add("census.scan", function, None),
            self.context,
            self._begin_retry,
            self._sleep,
            lambda *_: nullcontext(),
        )
        return attempts.run({}, "{}")

    def _begin_retry(
        self, error: str, wait_seconds: float, blamed: tuple[str, ...]
    ) -> None:
        self.blamed.append(blamed)
        self.notes.append("count")
        if self.refuses_retries:
            raise NoMoreAttemptsError
        if self.parks:
            raise StepParkedError
        self.counted.append(json.loads(error))
        self.waits.append(wait_seconds)
        self.context.begin_attempt(self.context.attempt + 1)

    def _sleep(self, seconds: float) -> None:
        self.notes.append("sleep")
        assert seconds == self.waits[-1]


def allow(max_attempts: int) -> Claim:
    return replace(CLAIM, retry=replace(POLICY, max_attempts=max_attempts))


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


def test_an_error_that_the_policy_does_not_name_ends_the_step() -> None:
    picky = replace(POLICY, on=("OSError",))
    bench = Bench(replace(CLAIM, retry=picky))

    record = error_of(bench.run(failing(TimeoutError("again"), ValueError("no"))))

    assert record.message == "ValueError: no"
    assert record.code is ErrorCode.EXECUTION
    assert len(bench.counted) == 1


def test_an_error_says_how_long_to_wait() -> None:
    bench = Bench()

    bench.run(failing(RetryableError("busy", retry_after_seconds=0.2)))

    assert bench.waits == [0.2]


def test_a_fatal_error_ends_the_step() -> None:
    bench = Bench()

    assert error_of(bench.run(failing(FatalError("never")))).message == (
        "FatalError: never"
    )
    assert bench.counted == []


def test_a_timeout_that_was_told_is_no_failure_of_another_kind() -> None:
    outcome = Bench(allow(1)).run(failing(StepTimeoutError("too long")))

    assert outcome.status is StepStatus.TIMED_OUT
    assert outcome.error is not None
    assert json.loads(outcome.error)["code"] == ErrorCode.TIMEOUT


def test_a_parked_step_is_for_the_caller() -> None:
    bench = Bench(parks=True)

    with pytest.raises(StepParkedError):
        bench.run(failing(ValueError("later")))

    assert bench.notes == ["count"]


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
    patient = replace(POLICY, max_attempts=9)
    bench = Bench(replace(CLAIM, failures=5, retry=patient))

    bench.run(failing(ValueError()))

    assert bench.waits == [0.01 * 2**5]


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
    bench = Bench(allow(max_attempts))

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
    outcome = Bench(allow(1)).run(failing(error))

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


def test_an_absent_database_is_not_an_attempts_failure() -> None:
    bench = Bench()

    with pytest.raises(DatabaseUnavailableError):
        bench.run(failing(DatabaseUnavailableError("gone")))

    assert bench.counted == []


def test_an_absent_database_is_told_without_the_error_of_the_code() -> None:
    def fail(ctx: Context) -> None:
        ctx.metric("told", 1)
        raise ValueError("swordfish")

    with pytest.raises(DatabaseUnavailableError) as raised:
        Bench(claim=allow(1), patience=Patience(lambda: True)).run(fail)

    # Celery logs it, and secrets are named in no log
    assert "swordfish" not in "".join(traceback.format_exception(raised.value))


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


def test_a_large_result_is_written_without_the_values_of_secrets(
    tmp_path: Path,
) -> None:
    secrets = StepSecrets(
        {"token": "secret://KEY"}, SecretStore({"PLANS_SECRET_KEY": "canary-7Jq"})
    )
    held = HeldStep(draw_execution_id(), 3, str(uuid.uuid4()))
    claim = replace(CLAIM, held=held, inputs={"token": "secret://KEY"})
    attempts = StepAttempts(
        claim,
        ActionRegistry().add("x", lambda token: [token] * 50_000, None),
        Context(claim, NOWHERE, lambda _: None, Patience()),
        lambda *_: None,
        lambda _: None,
        lambda *_: nullcontext(),
        secrets,
        PayloadStore(str(tmp_path), "plans"),
    )

    outcome = attempts.run(claim.inputs, json.dumps(claim.inputs))

    assert is_reference(outcome.result)
    written = (
        tmp_path / "plans" / held.execution_id / f"3-{held.token}.json"
    ).read_text()
    assert json.loads(written) == ["secret://KEY"] * 50_000


def test_a_store_that_refuses_a_result_is_an_error_that_is_tried_again(
    tmp_path: Path,
) -> None:
    (tmp_path / "plans").write_text("no folder")
    held = HeldStep(draw_execution_id(), 3, str(uuid.uuid4()))
    errors: list[str] = []

    def repair(error: str, *_: object) -> None:
        errors.append(error)
        (tmp_path / "plans").unlink(missing_ok=True)

    claim = replace(CLAIM, held=held)
    attempts = StepAttempts(
        claim,
        ActionRegistry().add("x", lambda: "x" * 300_000, None),
        Context(claim, NOWHERE, lambda _: None, Patience()),
        repair,
        lambda _: None,
        lambda *_: nullcontext(),
        payloads=PayloadStore(str(tmp_path), "plans"),
    )

    outcome = attempts.run({}, "{}")

    assert len(errors) == 1
    assert "could not be written" in errors[0]
    assert is_reference(outcome.result)
