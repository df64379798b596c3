"""What people ask for, at the very moment at which a worker goes on, or others ask."""

import uuid
from collections.abc import Iterator
from functools import partial

import pytest

from execution import ExecutionStatus, Settings, StepStatus
from execution.answers import Completion, Rider
from execution.receipts import Move
from tests.integration.test_races import ROUNDS, TWO, count_events
from tests.racing import Arena, arena_of, count_wrong_rounds
from tests.timeline import check_timeline


@pytest.fixture(scope="module")
def arena(settings: Settings) -> Iterator[Arena]:
    """An arena in the module's schema."""
    with arena_of(settings) as opened:
        yield opened


def race_pause_with_a_ride(arena: Arena) -> None:
    """A ride that goes on is seen by the pauser; otherwise it goes nowhere."""
    execution_id = arena.submit(TWO)
    begun = arena.try_claim(execution_id).claim
    assert begun is not None
    rider = Rider(begun.run, str(uuid.uuid4()), arena.worker_id, delivery="by-hand")

    def pause_and_look() -> tuple[Move, str]:
        move = arena.repository.update_state(execution_id, ExecutionStatus.PAUSED)
        return move, arena.read_step(execution_id, 1)["status"]

    def ride() -> Completion:
        return arena.records.complete(
            begun.held, StepStatus.COMPLETED, covered=1, epoch=1, rider=rider
        )

    (move, seen), done = arena.race_pair(pause_and_look, ride, over=execution_id)

    assert move.landed
    if done.next_claim is not None:
        assert seen == "running"
    else:
        assert seen in {"pending", "ready"}
        assert arena.read_step(execution_id, 1)["status"] == "ready"
    assert arena.engine.get_status(execution_id).status is ExecutionStatus.PAUSED
    check_timeline(arena.engine, execution_id)


def test_no_ride_goes_on_once_pause_has_returned(arena: Arena) -> None:
    assert count_wrong_rounds(race_pause_with_a_ride, arena, ROUNDS) == 0


def race_resumes(arena: Arena) -> None:
    """One of two or three resumes lands, and sends what is ready, once."""
    execution_id = arena.submit(TWO)
    arena.repository.update_state(execution_id, ExecutionStatus.PAUSED)
    resume = partial(
        arena.repository.update_state, execution_id, ExecutionStatus.RUNNING
    )
    number = arena.random.choice((2, 3))

    moves = arena.race([resume] * number, over=execution_id)

    assert sorted(move.landed for move in moves) == [False] * (number - 1) + [True]
    assert sum(len(move.windows) for move in moves) == 1
    assert arena.engine.get_status(execution_id).epoch == 2
    assert count_events(arena, execution_id, "execution.resumed") == 1
    check_timeline(arena.engine, execution_id)


def test_one_of_many_resumes_at_once_lands(arena: Arena) -> None:
    assert count_wrong_rounds(race_resumes, arena, ROUNDS) == 0
