"""Pauses of plans, tags and queues against whoever starts a step, many times each.

`test_races_without_locks` shows what they are for, of those of single executions; here
it is the lock that all who start a step share.
"""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from execution import Plan, Settings, Step, StepStatus
from execution.answers import ClaimOutcome, Completion, Rider
from execution.holds import HoldKind
from execution.receipts import HoldAnswer
from execution.schema import upgrade
from tests.racing import Arena, Race, arena_of, count_wrong_rounds
from tests.rows import committed
from tests.sweeping import look
from tests.timeline import check_timeline

ROUNDS = 100
FEW_ROUNDS = 40
TWO = Plan("two", steps=[Step(name, action="test.nothing") for name in ("a", "b")])
WIDE = Plan(
    "wide", steps=[Step(f"s{n}", needs=[], action="test.nothing") for n in range(3)]
)


@pytest.fixture(scope="module")
def arena(settings: Settings) -> Iterator[Arena]:
    """An arena in the module's schema."""
    with arena_of(settings) as opened:
        yield opened


def choose_target(arena: Arena) -> tuple[HoldKind, str]:
    """Return what the round pauses: something that is its own where there can be."""
    arena.enter_worker()
    kind = arena.random.choice((HoldKind.PLAN, HoldKind.TAG, HoldKind.QUEUE))
    return kind, {HoldKind.PLAN: "two", HoldKind.TAG: "eu"}.get(kind, arena.queue)


def submit(arena: Arena, plan: Plan = TWO) -> str:
    return arena.repository.submit(
        plan, {}, queue=arena.queue, tags=["eu"]
    ).execution_id


def pause(arena: Arena, target: tuple[HoldKind, str]) -> HoldAnswer:
    return arena.repository.set_hold(*target, hold_id=str(uuid.uuid4()))


def resume(arena: Arena, target: tuple[HoldKind, str]) -> HoldAnswer:
    return arena.repository.end_hold(*target, resume_id=str(uuid.uuid4()))


def release_all(arena: Arena) -> None:
    """Do what reconcilers do until there is nothing to do."""
    while found := look(arena.liveness).resumable_executions:
        for execution_id in found:
            arena.liveness.unpark_steps(execution_id)


# pause against claim


def race_hold_with_claim(arena: Arena) -> None:
    """What the pauser sees once its pause has returned is what runs."""
    target = choose_target(arena)
    execution_id = submit(arena)

    def pause_and_look() -> str:
        assert pause(arena, target).landed
        return str(arena.read_step(execution_id)["status"])

    try:
        seen, answer = arena.race_pair(
            pause_and_look, partial(arena.try_claim, execution_id), over=execution_id
        )
        is_claimed = answer.outcome is ClaimOutcome.CLAIMED
        assert (seen == "running") is is_claimed, (seen, answer.outcome)
        assert is_claimed or answer.outcome is ClaimOutcome.PARKED
    finally:
        assert resume(arena, target).landed
        release_all(arena)
    assert arena.read_step(execution_id)["status"] in ("running", "ready")
    check_timeline(arena.engine, execution_id)


def test_no_step_is_claimed_once_a_pause_has_returned(arena: Arena) -> None:
    assert count_wrong_rounds(race_hold_with_claim, arena, ROUNDS) == 0


# pause against ride


def race_hold_with_ride(arena: Arena) -> None:
    """Who completes a step rides on to the next one before the pause, or not at all."""
    target = choose_target(arena)
    execution_id = submit(arena, arena.random.choice((TWO, WIDE)))
    begun = arena.try_claim(execution_id).claim
    assert begun is not None
    rider = Rider(begun.run, str(uuid.uuid4()), arena.worker_id, delivery="by-hand")

    def ride() -> Completion:
        return arena.records.complete(
            begun.held, StepStatus.COMPLETED, epoch=1, rider=rider
        )

    def pause_and_look() -> str:
        assert pause(arena, target).landed
        return str(arena.read_step(execution_id, 1)["status"])

    try:
        seen, completion = arena.race_pair(pause_and_look, ride, over=execution_id)
        assert (seen == "running") is (completion.next_claim is not None)
    finally:
        assert resume(arena, target).landed
        release_all(arena)
    check_timeline(arena.engine, execution_id)


def test_no_worker_rides_on_once_a_pause_has_returned(arena: Arena) -> None:
    assert count_wrong_rounds(race_hold_with_ride, arena, ROUNDS) == 0


# resume against claim, resume, and reconcilers


def race_resume_with_claim(arena: Arena) -> None:
    """A step that meets a hold while that is ended is not left behind."""
    target = choose_target(arena)
    execution_id = submit(arena)
    pause(arena, target)

    def resume_and_release() -> None:
        assert resume(arena, target).landed
        release_all(arena)

    _, answer = arena.race_pair(
        resume_and_release, partial(arena.try_claim, execution_id), over=execution_id
    )

    release_all(arena)
    expected = "running" if answer.outcome is ClaimOutcome.CLAIMED else "ready"
    assert arena.read_step(execution_id)["status"] == expected
    check_timeline(arena.engine, execution_id)


def test_a_step_that_meets_a_hold_at_its_end_goes_on(arena: Arena) -> None:
    assert count_wrong_rounds(race_resume_with_claim, arena, FEW_ROUNDS) == 0


def race_resumes(arena: Arena) -> None:
    """Of two resumes one ends the hold; of two pauses one sets it."""
    target = choose_target(arena)
    execution_id = submit(arena)

    pauses = arena.race([partial(pause, arena, target)] * 2, over=execution_id)
    arena.try_claim(execution_id)
    resumes = arena.race([partial(resume, arena, target)] * 2, over=execution_id)

    assert sorted(answer.landed for answer in pauses) == [False, True]
    assert pauses[0].hold == pauses[1].hold
    assert sorted(answer.landed for answer in resumes) == [False, True]
    woken = arena.race(
        [partial(arena.liveness.unpark_steps, execution_id)] * 2, over=execution_id
    )
    assert sum(each is not None for each in woken) <= 1
    release_all(arena)
    assert arena.read_step(execution_id)["status"] == "ready"
    check_timeline(arena.engine, execution_id)


def test_pauses_and_resumes_land_once(arena: Arena) -> None:
    assert count_wrong_rounds(race_resumes, arena, FEW_ROUNDS) == 0


# the races see what they are for


@pytest.fixture
def broken_arena(settings: Settings, race: Race) -> Iterator[Arena]:
    """An arena where nobody shares the lock of the holds."""
    schema = f"unshared_{race.__name__}"
    upgrade(str(settings.database_url), schema)
    with arena_of(replace(settings, schema=schema)) as opened:
        with committed(str(settings.database_url), schema) as cursor:
            cursor.execute(
                "CREATE OR REPLACE FUNCTION share_holds() RETURNS bool"
                " LANGUAGE sql VOLATILE AS 'SELECT true'"
            )
        yield opened


@pytest.mark.parametrize("race", [race_hold_with_claim, race_hold_with_ride])
def test_a_race_catches_a_lock_that_is_not_shared(
    broken_arena: Arena, race: Any
) -> None:
    wrong = any(
        count_wrong_rounds(race, broken_arena, 1) for _ in range(10 * FEW_ROUNDS)
    )

    assert wrong
