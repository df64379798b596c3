"""How steps end before their action is called: by their condition, or as a loop."""

import json
from dataclasses import replace
from typing import Any

import pytest

from execution.answers import LoopState
from execution.attempts import Outcome
from execution.judgements import judge_condition, judge_loop
from execution.states import StepStatus
from tests.unit.test_attempts import CLAIM

LOOP = LoopState(until=None, times=3, begun=0, status=None, result=None, error=None)


def after(begun: int, **changes: Any) -> LoopState:
    """A loop whose last iteration, so many have begun, has succeeded."""
    return replace(LOOP, begun=begun, status=StepStatus.COMPLETED, **changes)


@pytest.mark.parametrize(
    ("condition", "status"),
    [(None, None), ("true", None), ("false", "skipped"), ("1", "failed")],
)
def test_a_step_is_judged_by_its_condition(
    condition: str | None, status: str | None
) -> None:
    outcome = judge_condition(replace(CLAIM, condition=condition))

    assert (outcome and outcome.status) == status


@pytest.mark.parametrize(
    "loop",
    [
        LOOP,
        replace(LOOP, until="false", times=1),
        after(2),
        after(2, until="false"),
        after(2, until="last.n > 1 || index > 1", result={"n": 1}),
    ],
    ids=["at first", "unasked", "without a condition", "not yet", "by last and index"],
)
def test_a_loop_goes_on_while_it_is_not_enough(loop: LoopState) -> None:
    assert judge_loop(CLAIM, loop) is None


@pytest.mark.parametrize(
    "loop",
    [
        after(3, result={"n": 1}),
        after(1, until="last.n == 1", result={"n": 1}),
        after(3, until="index == 2", result={"n": 1}),
    ],
    ids=["all have run", "true at once", "true at the bound"],
)
def test_a_loop_comes_to_what_its_last_iteration_did(loop: LoopState) -> None:
    assert judge_loop(CLAIM, loop) == Outcome(StepStatus.COMPLETED, result='{"n":1}')


@pytest.mark.parametrize(
    ("until", "code", "message"),
    [
        ("false", "E003", "is still false after 3 iterations, as many as the plan"),
        ("last.n", "E007", "steps.scan.repeat.until"),
        ("last", "E007", "steps.scan.repeat.until"),
    ],
)
def test_a_loop_fails_at_its_bound_or_without_an_answer(
    until: str, code: str, message: str
) -> None:
    outcome = judge_loop(CLAIM, after(3, until=until, result={"m": 1}))

    assert outcome is not None
    assert outcome.status is StepStatus.FAILED
    error = json.loads(outcome.error or "")
    assert error["code"] == code
    assert message in error["message"]


@pytest.mark.parametrize(
    "status", [StepStatus.FAILED, StepStatus.TIMED_OUT, StepStatus.CANCELLED]
)
def test_a_loop_ends_as_an_iteration_that_did_not_succeed(status: StepStatus) -> None:
    error = {"code": "E002", "message": "too late", "step": "scan[1]"}
    loop = replace(LOOP, until="true", begun=2, status=status, error=error)

    outcome = judge_loop(CLAIM, loop)

    assert outcome is not None
    assert (outcome.status, json.loads(outcome.error or "")) == (status, error)
