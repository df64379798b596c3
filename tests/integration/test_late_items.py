"""Items that are cut by the deadline of the step that waits for them."""

from collections.abc import Iterator

import pytest

from execution import ExecutionStatus, Plan, Settings, Step, StepStatus
from execution.answers import HeldStep
from execution.overdue import OverdueCause, OverdueStep
from execution.retry import RetryPolicy
from execution.sweeps import ExpiredStep
from tests.integration.test_liveness import shift_clock
from tests.racing import Arena, arena_of
from tests.timeline import check_timeline


def plan_late(tolerate: int | None = None) -> Plan:
    return Plan(
        "late",
        steps=[
            Step(
                "each",
                action="test.nothing",
                for_each="${[1, 2]}",
                max_parallel=1,
                deadline="1m",
                on_failure="skip",
                tolerate=tolerate,
            )
        ],
    )


@pytest.fixture(scope="module")
def arena(settings: Settings) -> Iterator[Arena]:
    """An arena in the module's schema."""
    with arena_of(settings) as opened:
        yield opened


@pytest.fixture
def late(arena: Arena) -> Iterator[None]:
    """Two minutes that have passed, for the length of a test, once it says so."""
    yield
    shift_clock(arena.database, "0")


def expand(arena: Arena, tolerate: int | None = None) -> str:
    """Begin an execution whose step waits for two items."""
    execution_id = arena.submit(plan_late(tolerate))
    owner = arena.try_claim(execution_id).claim
    assert owner is not None
    arena.records.expand(owner.held, attempt=owner.attempt, items="[1, 2]")
    return execution_id


def cut(arena: Arena, item: HeldStep) -> None:
    """Take an item that is beyond its deadline."""
    step = OverdueStep(
        item.execution_id,
        item.position,
        item.token,
        1,
        1,
        RetryPolicy(),
        OverdueCause.TIMEOUT,
    )
    assert arena.liveness.take_overdue(step, wait_seconds=0.0) is not None


def move(arena: Arena, execution_id: str, target: ExecutionStatus) -> None:
    moved = arena.repository.update_state(
        execution_id, target, by="ann", reason="lunch"
    )
    assert moved.landed


@pytest.mark.usefixtures("late")
@pytest.mark.parametrize("completed", [0, 1])
def test_a_step_whose_item_was_cut_by_its_deadline_does_not_complete(
    arena: Arena, completed: int
) -> None:
    execution_id = expand(arena)
    for position in range(1, completed + 1):
        arena.complete(arena.claim(execution_id, position))
    item = arena.claim(execution_id, completed + 1)

    shift_clock(arena.database, "2 minutes")
    cut(arena, item)
    statuses = [step.status for step in arena.engine.list_steps(execution_id)]
    expired = arena.liveness.expire_step(ExpiredStep(execution_id, 0))

    assert statuses[0] is StepStatus.WAITING
    assert StepStatus.READY not in statuses
    assert expired is not None
    assert expired.status is ExecutionStatus.COMPLETED
    (each, *_) = arena.engine.list_steps(execution_id)
    assert (each.status, each.reason) == (StepStatus.SKIPPED, "failed")
    check_timeline(arena.engine, execution_id)


@pytest.mark.usefixtures("late")
def test_an_item_that_was_cut_in_a_pause_lets_the_next_one_begin(arena: Arena) -> None:
    execution_id = expand(arena)
    item = arena.claim(execution_id, 1)
    move(arena, execution_id, ExecutionStatus.PAUSED)
    shift_clock(arena.database, "2 minutes")
    cut(arena, item)
    move(arena, execution_id, ExecutionStatus.RUNNING)

    statuses = [step.status for step in arena.engine.list_steps(execution_id)]

    # the time of the step has stood still meanwhile
    assert statuses == [StepStatus.WAITING, StepStatus.SKIPPED, StepStatus.READY]


@pytest.mark.usefixtures("late")
@pytest.mark.parametrize(
    ("tolerate", "status", "reason"),
    [(0, StepStatus.FAILED, None), (1, StepStatus.SKIPPED, "failed")],
)
def test_an_item_that_was_cut_is_one_of_those_that_are_tolerated(
    arena: Arena, tolerate: int, status: StepStatus, reason: str | None
) -> None:
    execution_id = expand(arena, tolerate)
    item = arena.claim(execution_id, 1)
    shift_clock(arena.database, "2 minutes")
    cut(arena, item)
    arena.liveness.expire_step(ExpiredStep(execution_id, 0))

    each, *items = arena.engine.list_steps(execution_id)

    assert (each.status, each.reason) == (status, reason)
    assert [one.status for one in items] == [StepStatus.SKIPPED, StepStatus.CANCELLED]
    check_timeline(arena.engine, execution_id)
