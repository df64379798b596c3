"""Moves on request: what is allowed, what is said when it is not."""

from contextlib import closing

import pytest
import redis

from execution import (
    ExecutionEngine,
    ExecutionProgressTracker,
    ExecutionResult,
    ExecutionStatus,
    Plan,
    Step,
)
from execution.errors import (
    ExecutionNotFinishedError,
    ExecutionNotFoundError,
    InvalidExecutionStateError,
    ParameterError,
)
from execution.events import subscription
from execution.repository import ExecutionRepository
from execution.waiting import wait_for_end
from tests.rows import committed, insert_execution

PLAN = Plan("moved", steps=[Step("only", action="test.nothing", queue="nobody_serves")])

NOBODY = "00000000-0000-7000-8000-000000000000"


def test_a_request_is_followed_and_answered(engine: ExecutionEngine) -> None:
    execution_id = engine.submit(PLAN)

    states = [
        engine.pause(execution_id, by="ann", reason="lunch"),
        engine.resume(execution_id, by="ann"),
        engine.cancel(execution_id, by="ann"),
    ]

    assert states == ["paused", "running", "ending"]
    assert engine.get_status(execution_id).status is ExecutionStatus.CANCELLED


def test_what_may_run_is_sent_once_an_execution_goes_on(
    engine: ExecutionEngine,
) -> None:
    execution_id = engine.submit(PLAN)
    before = count_messages(engine)
    engine.pause(execution_id)
    while_paused = count_messages(engine)

    engine.resume(execution_id)

    assert (while_paused, count_messages(engine)) == (before, before + 1)


def count_messages(engine: ExecutionEngine) -> int:
    """Return how many messages lie in the queue that nobody serves."""
    with closing(redis.Redis.from_url(str(engine.settings.redis_url))) as client:
        return int(client.llen("nobody_serves"))


@pytest.mark.parametrize("act", ["pause", "resume", "cancel"])
def test_an_ended_execution_refuses_every_request(
    engine: ExecutionEngine, act: str
) -> None:
    execution_id = engine.submit(PLAN)
    engine.cancel(execution_id)

    with pytest.raises(InvalidExecutionStateError, match="it can be retried"):
        getattr(engine, act)(execution_id)


def test_a_refusal_says_what_is_possible(engine: ExecutionEngine) -> None:
    execution_id = engine.submit(PLAN)

    with pytest.raises(
        InvalidExecutionStateError,
        match="cannot be resumed; it can be paused or cancelled",
    ):
        engine.resume(execution_id)


@pytest.mark.parametrize("execution_id", [NOBODY, "nonsense", ""])
@pytest.mark.parametrize(
    "ask",
    ["pause", "resume", "cancel", "get_status", "get_result", "list_steps", "wait"],
)
def test_an_unknown_execution_is_named(
    engine: ExecutionEngine, ask: str, execution_id: str
) -> None:
    with pytest.raises(ExecutionNotFoundError, match="there is no execution"):
        getattr(engine, ask)(execution_id)


def test_nobody_can_ask_for_a_terminal_state(engine: ExecutionEngine) -> None:
    with pytest.raises(
        InvalidExecutionStateError, match="nobody can ask for completed"
    ):
        engine._states.validate_transition(
            ExecutionStatus.RUNNING, ExecutionStatus.COMPLETED
        )


@pytest.mark.parametrize(
    "target", sorted({*ExecutionStatus} - {"paused", "running", "ending"})
)
@pytest.mark.parametrize("status", ["running", "ending", "completed"])
def test_what_nobody_can_ask_for_is_refused_in_any_state(
    engine: ExecutionEngine, status: str, target: ExecutionStatus
) -> None:
    settings = engine.settings
    with committed(str(settings.database_url), settings.schema) as cursor:
        execution_id = insert_execution(
            cursor, status, open_steps=int(status == "running")
        )

    with pytest.raises(
        InvalidExecutionStateError, match=f"nobody can ask for {target}"
    ):
        engine._states.change_state(execution_id, target)

    assert engine.get_status(execution_id).status == status


def test_the_state_manager_names_an_unknown_execution(engine: ExecutionEngine) -> None:
    with pytest.raises(ExecutionNotFoundError):
        engine._states.change_state(NOBODY, ExecutionStatus.PAUSED)


def test_a_wait_that_is_too_short_says_that_the_execution_goes_on(
    engine: ExecutionEngine,
) -> None:
    execution_id = engine.submit(PLAN)

    with pytest.raises(TimeoutError, match="it goes on"):
        engine.wait(execution_id, timeout_seconds=0.1)

    with pytest.raises(ExecutionNotFinishedError):
        engine.get_result(execution_id)


def test_a_wait_goes_on_with_an_execution_that_is_retried(
    engine: ExecutionEngine, repository: ExecutionRepository
) -> None:
    execution_id = engine.submit(PLAN)
    engine.cancel(execution_id)
    retries: list[ExecutionStatus] = []

    def read() -> ExecutionResult:
        if retries:
            return engine.get_result(execution_id)
        # after the end was seen, and before its result is read
        retries.append(engine.retry(execution_id))
        try:
            return engine.get_result(execution_id)
        finally:
            engine.cancel(execution_id)

    result = wait_for_end(
        execution_id,
        repository,
        lambda: subscription(None, "", execution_id),
        read,
        timeout_seconds=60,
    )

    assert retries == [ExecutionStatus.PENDING]
    assert result.status is ExecutionStatus.CANCELLED


def test_progress_is_answered_for_known_executions_alone(
    engine: ExecutionEngine,
) -> None:
    tracker = ExecutionProgressTracker(engine._repository)
    execution_id = engine.submit(PLAN)

    assert tracker.get_progress(execution_id).percentage == 0.0
    with pytest.raises(ExecutionNotFoundError):
        tracker.get_progress(NOBODY)


@pytest.mark.parametrize("priority", [-1, 10, 40_000])
def test_a_priority_that_cannot_be_is_refused(
    engine: ExecutionEngine, priority: int
) -> None:
    with pytest.raises(ParameterError, match="not 0 to 9"):
        engine.submit(PLAN, priority=priority)
