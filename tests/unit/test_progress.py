"""How far an execution is, as a function of its rows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from execution.progress import compute_progress
from execution.results import (
    ExecutionProgress,
    ExecutionSummary,
    RunningSteps,
    StepSummary,
)
from execution.states import TERMINAL_STEP_STATUSES, ExecutionStatus, StepStatus

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
EXECUTION = ExecutionSummary(
    id="e1",
    plan="census",
    version=None,
    status=ExecutionStatus.RUNNING,
    reason=None,
    epoch=1,
    last_seq=9,
    open_steps=2,
    total_steps=4,
    tags=(),
    parameters={},
    variables={},
    result=None,
    error=None,
    created_at=NOW,
    started_at=NOW,
    ended_at=None,
)


def step(
    status: StepStatus, progress: float | None = None, message: str | None = None
) -> StepSummary:
    return StepSummary(
        position=0,
        name=f"{status}_{progress}",
        action="census.scan",
        queue="q",
        status=status,
        reason=None,
        attempt=1,
        failures=0,
        losses=0,
        progress=progress,
        progress_message=message,
        worker_id=None,
        claimed_at=None,
        ended_at=None,
        error=None,
    )


DONE, PENDING, RUNNING = (
    step(StepStatus.COMPLETED),
    step(StepStatus.PENDING),
    step(StepStatus.RUNNING),
)


def progress_of(
    *steps: StepSummary, seconds: float = 10, execution: ExecutionSummary = EXECUTION
) -> ExecutionProgress:
    running = [step for step in steps if step.status is StepStatus.RUNNING]
    told = [step.progress_message for step in running if step.progress_message]
    ended = sum(step.status in TERMINAL_STEP_STATUSES for step in steps)
    execution = replace(
        execution, total_steps=len(steps), open_steps=len(steps) - ended
    )
    seen = RunningSteps(
        count=len(running),
        progress_sum=sum(step.progress or 0 for step in running),
        names=tuple(step.name for step in running),
        message=told[-1] if told else None,
        seen_at=NOW + timedelta(seconds=seconds),
    )
    return compute_progress(execution, seen)


@pytest.mark.parametrize(
    ("steps", "percentage"),
    [
        ([], 100.0),
        ([PENDING], 0.0),
        ([RUNNING], 0.0),
        ([step(StepStatus.RUNNING, 40)], 40.0),
        ([step(StepStatus.RUNNING, 100)], 100.0),
        ([DONE], 100.0),
        ([DONE, PENDING], 50.0),
        ([DONE, PENDING, PENDING], 33.3),
        ([DONE, step(StepStatus.RUNNING, 50), PENDING, PENDING], 37.5),
        ([step(StepStatus.WAITING, 80), PENDING], 0.0),
        *(([step(status), PENDING], 50.0) for status in TERMINAL_STEP_STATUSES),
    ],
)
def test_the_percentage(steps: list[StepSummary], percentage: float) -> None:
    assert progress_of(*steps).percentage == percentage


@pytest.mark.parametrize("total", [1_999, 2_000, 100_000])
def test_it_is_not_a_hundred_before_the_last_step(total: int) -> None:
    assert progress_of(*[DONE] * (total - 1), PENDING).percentage < 100


def test_steps_that_have_ended_are_counted() -> None:
    progress = progress_of(DONE, step(StepStatus.SKIPPED), RUNNING, PENDING)

    assert (progress.completed_steps, progress.total_steps) == (2, 4)


def test_what_runs_is_named() -> None:
    progress = progress_of(DONE, step(StepStatus.RUNNING, 1), step(StepStatus.RUNNING))

    assert progress.current_steps == ("running_1", "running_None")
    assert progress.running_steps == 2


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([RUNNING], None),
        ([step(StepStatus.COMPLETED, 100, "done")], None),
        ([step(StepStatus.RUNNING, 1, "a"), RUNNING], "a"),
        ([step(StepStatus.RUNNING, 1, "a"), step(StepStatus.RUNNING, 1, "b")], "b"),
    ],
)
def test_the_message_is_the_last_one_of_what_runs(
    steps: list[StepSummary], message: str | None
) -> None:
    assert progress_of(*steps).message == message


@pytest.mark.parametrize(
    ("steps", "seconds", "eta"),
    [
        ([DONE, PENDING], 10, 10.0),
        ([DONE, PENDING, PENDING, PENDING], 10, 30.0),
        ([DONE, DONE, DONE, PENDING], 10, 3.3),
        ([step(StepStatus.RUNNING, 20)], 10, 40.0),
        ([PENDING], 10, None),
        ([RUNNING], 10, None),
        ([DONE], 10, None),
        ([], 10, None),
        # the database's clock was set back
        ([DONE, PENDING], -10, None),
    ],
)
def test_the_estimate_follows_the_pace_so_far(
    steps: list[StepSummary], seconds: float, eta: float | None
) -> None:
    assert progress_of(*steps, seconds=seconds).eta_seconds == eta


@pytest.mark.parametrize("status", ExecutionStatus)
def test_only_what_runs_has_an_estimate(status: ExecutionStatus) -> None:
    execution = replace(EXECUTION, status=status)

    progress = progress_of(DONE, PENDING, seconds=1, execution=execution)

    assert (progress.eta_seconds is not None) is (status is ExecutionStatus.RUNNING)
    assert progress.phase == status.value


def test_what_has_not_started_has_no_estimate() -> None:
    execution = replace(EXECUTION, started_at=None)

    assert progress_of(DONE, PENDING, execution=execution).eta_seconds is None
