"""Cancel, as the database decides it: who is told, by when, and what is written."""

import json
import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from execution import ExecutionStatus, Plan, Settings, Step, StepStatus
from execution.answers import Completion, HeldStep, Recorded, RetryAnswer
from execution.liveness import LivenessRecords
from execution.overdue import OverdueCause, OverdueStep
from execution.receipts import Move
from execution.retry import RetryPolicy
from tests.racing import Arena, arena_of, count_wrong_rounds
from tests.timeline import check_timeline

ROUNDS = 40
ERROR = json.dumps(
    {
        "code": "E003",
        "message": "it fails",
        "step": "only",
        "timestamp": "2026-11-21T08:00:00Z",
        "recoverable": True,
        "context": {},
    }
)
ONE = Plan("one", steps=[Step("only", action="test.nothing")])
TWO = Plan("two", steps=[Step(name, action="test.nothing") for name in ("a", "b")])
SLOW = Plan("slow", steps=[Step("only", action="test.nothing", timeout="1ms")])
BESIDE = [Step(name, action="test.nothing", needs=[]) for name in ("a", "b")]
AGAIN = Plan(
    "again",
    steps=[
        Step("only", action="test.nothing", retry={"attempts": 3, "initial": "30s"})
    ],
)


@pytest.fixture(scope="module")
def arena(settings: Settings) -> Iterator[Arena]:
    """An arena in the module's schema."""
    with arena_of(settings) as opened:
        yield opened


def cancel(arena: Arena, execution_id: str, grace_seconds: float | None = None) -> Move:
    return arena.repository.update_state(
        execution_id,
        ExecutionStatus.ENDING,
        by="ann",
        reason="sent twice",
        grace_seconds=grace_seconds,
    )


def find_overdue(arena: Arena, execution_id: str) -> list[OverdueCause]:
    rows = arena.database.call_all("overdue_steps", arena.worker_id, 3600.0)
    return [
        OverdueCause(row["cause"])
        for row in rows
        if str(row["execution_id"]) == execution_id
    ]


def take(
    arena: Arena, held: HeldStep, cause: OverdueCause = OverdueCause.CANCEL
) -> Completion | None:
    step = OverdueStep(
        held.execution_id, held.position, held.token, 1, 1, RetryPolicy(), cause
    )
    return arena.liveness.take_overdue(step, wait_seconds=0.0)


def find_told(arena: Arena) -> tuple[str, ...]:
    return arena.liveness.find_told(arena.worker_id)


def test_a_step_is_told_at_once_and_overdue_after_its_grace(arena: Arena) -> None:
    execution_id = arena.submit(ONE)
    held = arena.claim(execution_id)

    assert cancel(arena, execution_id, 600).landed

    assert held.token in find_told(arena)
    assert arena.records.is_unwanted(held)
    assert find_overdue(arena, execution_id) == []
    assert take(arena, held) is None
    # it can be told again, with less time
    assert cancel(arena, execution_id, 0).landed
    assert find_overdue(arena, execution_id) == [OverdueCause.CANCEL]
    taken = take(arena, held)
    assert taken is not None
    assert taken.is_last
    (step,) = arena.engine.list_steps(execution_id)
    assert (step.status, step.failures) == (StepStatus.CANCELLED, 0)
    assert step.error is not None
    assert (step.error.code, step.error.recoverable) == ("E004", False)
    assert "was cancelled" in step.error.message
    assert (step.error.context["by"], step.error.context["reason"]) == (
        "ann",
        "sent twice",
    )
    assert arena.complete(held).outcome is Recorded.STALE
    check_timeline(arena.engine, execution_id)


def test_without_another_word_the_grace_is_that_of_the_worker(arena: Arena) -> None:
    execution_id = arena.submit(ONE)
    held = arena.claim(execution_id)

    assert cancel(arena, execution_id).landed

    (running,) = arena.engine.list_running_steps(execution_id)
    assert running.cut_at is not None
    told_at = arena.database.query(
        "SELECT told_at FROM {schema}.executions WHERE id = %s", (execution_id,)
    )[0]["told_at"]
    assert (running.cut_at - told_at).total_seconds() == pytest.approx(30)
    assert not running.is_killable
    # a cancel that says nothing new is refused
    assert not cancel(arena, execution_id).landed
    arena.complete(held)


def test_a_timeout_after_the_cancel_is_recorded_as_the_cancel(arena: Arena) -> None:
    execution_id = arena.submit(SLOW)
    held = arena.claim(execution_id)
    cancel(arena, execution_id, 600)

    assert find_overdue(arena, execution_id) == [OverdueCause.CANCEL]
    assert take(arena, held) is not None

    assert arena.engine.list_steps(execution_id)[0].status is StepStatus.CANCELLED


def test_the_end_of_an_execution_is_not_told(arena: Arena) -> None:
    end = Step("end", action="test.nothing", run_on="always", deadline="1h")
    execution_id = arena.submit(Plan("ends", steps=[*BESIDE[:1], end]))
    held = arena.claim(execution_id)
    cancel(arena, execution_id, 0)
    assert take(arena, held) is not None

    last = arena.claim(execution_id, 1)

    assert last.token not in find_told(arena)
    assert find_overdue(arena, execution_id) == []
    assert not arena.records.is_unwanted(last)
    # nor by another cancel
    assert not cancel(arena, execution_id, 0).landed
    assert arena.complete(last).is_last


@pytest.mark.parametrize("failing", ["finish_running", "cancel_running"])
def test_a_failure_tells_the_others_if_the_plan_says_so(
    arena: Arena, failing: str
) -> None:
    execution_id = arena.submit(Plan(failing, steps=BESIDE, failing=failing))
    held, other = (arena.claim(execution_id, position) for position in (0, 1))

    arena.records.complete(held, StepStatus.FAILED, error=ERROR, epoch=1)

    is_told = failing == "cancel_running"
    assert (other.token in find_told(arena)) is is_told
    assert arena.records.is_unwanted(other) is is_told
    # whoever cannot wait for it tells it now
    assert cancel(arena, execution_id, 0).landed
    assert take(arena, other) is not None
    ending = arena.engine.get_status(execution_id)
    assert (ending.reason, ending.open_steps) == ("abort", 0)


def test_an_attempt_that_obeys_says_who_has_cancelled(arena: Arena) -> None:
    execution_id = arena.submit(ONE)
    held = arena.claim(execution_id)
    cancel(arena, execution_id)

    arena.records.complete(held, StepStatus.CANCELLED, error=ERROR, epoch=1)

    (step,) = arena.engine.list_steps(execution_id)
    assert step.error is not None
    assert step.error.context == {"by": "ann", "reason": "sent twice"}


# races


def race_kill_and_completion(arena: Arena) -> None:
    """The grace is over as the step completes: one of the two is recorded."""
    execution_id = arena.submit(ONE)
    held = arena.claim(execution_id)
    cancel(arena, execution_id, 0)

    taken, done = arena.race_pair(
        partial(take, arena, held), partial(arena.complete, held, 7), over=execution_id
    )

    assert (taken is None) is (done.outcome is Recorded.RECORDED)
    assert (taken or done).is_last
    (step,) = arena.engine.list_steps(execution_id)
    assert step.status == ("completed" if taken is None else "cancelled")
    check_timeline(arena.engine, execution_id)


def race_timeout_and_completion(arena: Arena) -> None:
    """The timeout is over as the step completes."""
    execution_id = arena.submit(SLOW)
    held = arena.claim(execution_id)

    taken, done = arena.race_pair(
        partial(take, arena, held, OverdueCause.TIMEOUT),
        partial(arena.complete, held, 7),
        over=execution_id,
    )

    # at once, it may not have outlived it yet
    assert taken is None or done.outcome is Recorded.STALE
    if done.outcome is Recorded.STALE:
        assert taken is not None
        status = StepStatus.TIMED_OUT
    else:
        status = StepStatus.COMPLETED
    assert arena.engine.list_steps(execution_id)[0].status is status
    check_timeline(arena.engine, execution_id)


def race_cancel_and_claim(arena: Arena) -> None:
    """Either the step has begun, and is told, or it never does."""
    execution_id = arena.submit(ONE)

    move, answer = arena.race_pair(
        partial(cancel, arena, execution_id, 600),
        partial(arena.try_claim, execution_id),
        over=execution_id,
    )

    assert move.landed
    step = arena.read_step(execution_id)
    if answer.claim is None:
        assert (step["status"], step["attempt"]) == ("cancelled", 0)
    else:
        assert (step["status"], step["attempt"]) == ("running", 1)
        assert answer.claim.held.token in find_told(arena)
    check_timeline(arena.engine, execution_id)


def race_cancel_and_retry(arena: Arena) -> None:
    """An attempt fails, and waits for another, or ends with the execution."""
    execution_id = arena.submit(AGAIN)
    held = arena.claim(execution_id)

    def fail() -> RetryAnswer:
        return arena.records.retry(
            held,
            attempt=1,
            recorded_input=None,
            error=ERROR,
            wait_seconds=3600,
            parks=True,
        )

    move, answer = arena.race_pair(
        partial(cancel, arena, execution_id, 600), fail, over=execution_id
    )

    assert move.landed
    step = arena.read_step(execution_id)
    is_refused = answer.outcome == "refused"
    assert step["status"] == ("running" if is_refused else "cancelled")
    assert (held.token in find_told(arena)) is is_refused
    check_timeline(arena.engine, execution_id)


def race_cancel_and_resume(arena: Arena) -> None:
    """A paused execution is resumed and cancelled: in the end it is cancelled."""
    execution_id = arena.submit(TWO)
    held = arena.claim(execution_id)
    arena.repository.update_state(execution_id, ExecutionStatus.PAUSED)
    resume = partial(
        arena.repository.update_state, execution_id, ExecutionStatus.RUNNING
    )

    move, resumed = arena.race_pair(
        partial(cancel, arena, execution_id, 0), resume, over=execution_id
    )

    assert move.landed
    statuses = [step.status for step in arena.engine.list_steps(execution_id)]
    assert statuses == [StepStatus.RUNNING, StepStatus.CANCELLED]
    assert not [link for window in resumed.windows for link in window.links[1:]]
    assert take(arena, held) is not None
    check_timeline(arena.engine, execution_id)


@pytest.mark.parametrize(
    "race",
    [
        race_kill_and_completion,
        race_timeout_and_completion,
        race_cancel_and_claim,
        race_cancel_and_retry,
        race_cancel_and_resume,
    ],
)
def test_whoever_comes_first_is_recorded(arena: Arena, race: Any) -> None:
    assert count_wrong_rounds(race, arena, ROUNDS) == 0


def test_a_killed_worker_is_still_told_of(arena: Arena, settings: Settings) -> None:
    """Others cut what the worker should have cut a lease ago."""
    execution_id = arena.submit(ONE)
    arena.claim(execution_id)
    cancel(arena, execution_id, 0)
    other = LivenessRecords(arena.database)

    found = other.sweep(
        str(uuid.uuid4()),
        tick_seconds=settings.tick_seconds,
        lease_seconds=0.0,
        beat_seconds=settings.beat_seconds,
        most=10,
    )

    assert execution_id in {step.execution_id for step in found.overdue_steps}
    assert found.told_tokens == ()
