"""Two or three at once over one execution: each pair of writes, many times over.

Every race is a function that plays one round; `test_races_without_locks` plays the
same ones on functions that lack their lock, and sees them go wrong.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from execution import ExecutionStatus, Plan, Settings, Step, StepStatus
from execution.answers import ClaimOutcome, Recorded
from execution.ending import finish_execution
from execution.errors import SubmissionConflictError
from execution.events import ExecutionEventEmitter
from execution.identity import draw_execution_id
from execution.receipts import Move, Submitted
from execution.sweeps import LostStep
from tests.racing import Arena, arena_of, count_wrong_rounds
from tests.timeline import check_timeline, heads, read_timeline

ROUNDS = 100
SILENT = ExecutionEventEmitter(None, "")
# whoever completes the last step is told that the end, which is evaluated, is due
ONE = Plan(
    "one",
    steps=[Step("only", action="test.nothing")],
    result="${steps.only.result}",
)
TWO = Plan("two", steps=[Step(name, action="test.nothing") for name in ("a", "b")])
SUBMISSION_GATES = (
    None,
    (
        "INSERT INTO submissions (key, execution_id, digest, created_at)"
        " VALUES (%s, gen_random_uuid(), '', now())"
    ),
)
"""What holds submits back: their key, taken by somebody who then gives it up."""


@pytest.fixture(scope="module")
def arena(settings: Settings) -> Iterator[Arena]:
    """An arena in the module's schema."""
    with arena_of(settings) as opened:
        yield opened


def count_events(arena: Arena, execution_id: str, kind: str) -> int:
    events = read_timeline(arena.engine, execution_id)
    return sum(event.type == kind for event in events)


# claim against claim


def race_claims(arena: Arena) -> None:
    """One of two or three claims takes the step."""
    execution_id = arena.submit(ONE)
    number = arena.random.choice((2, 3))

    answers = arena.race(
        [partial(arena.try_claim, execution_id)] * number, over=execution_id
    )

    outcomes = [answer.outcome for answer in answers]
    assert outcomes.count(ClaimOutcome.CLAIMED) == 1
    assert outcomes.count(ClaimOutcome.DROPPED) == number - 1
    (claim,) = (answer.claim for answer in answers if answer.claim)
    step = arena.read_step(execution_id)
    assert (step["lease_token"], step["attempt"]) == (claim.held.token, 1)
    check_timeline(arena.engine, execution_id)


def test_two_claims_of_one_step_never_both_land(arena: Arena) -> None:
    assert count_wrong_rounds(race_claims, arena, ROUNDS) == 0


# complete against a zombie's complete


def race_zombie(arena: Arena) -> None:
    """A step was taken away and claimed anew; both attempts say that they are done."""
    execution_id = arena.submit(ONE)
    zombie = arena.claim(execution_id)
    arena.lose_all()
    lost = LostStep(execution_id, 0, zombie.token)
    assert arena.liveness.take_lost(lost, is_patient=True)
    holder = arena.claim(execution_id)

    late, current = arena.race_pair(
        partial(arena.complete, zombie, "zombie"),
        partial(arena.complete, holder, "holder"),
        over=execution_id,
    )

    assert (late.outcome, current.outcome) == (Recorded.STALE, Recorded.RECORDED)
    step = arena.read_step(execution_id)
    assert (step["result"], step["attempt"], step["losses"]) == ("holder", 2, 1)
    assert current.is_last
    check_timeline(arena.engine, execution_id)


def test_a_zombies_result_never_lands_beside_the_holders(arena: Arena) -> None:
    assert count_wrong_rounds(race_zombie, arena, ROUNDS) == 0


# the last needs of a join


def build_join(width: int) -> Plan:
    needs = [f"need{n}" for n in range(width)]
    return Plan(
        f"join-of-{width}",
        steps=[
            *[Step(name, action="test.nothing", needs=[]) for name in needs],
            Step("join", action="test.nothing", needs=needs),
        ],
    )


JOINS = {width: build_join(width) for width in (2, 3)}


def race_needs(arena: Arena) -> None:
    """All needs of a join end at once; it becomes ready once, and is sent once."""
    width = arena.random.choice((2, 3))
    execution_id = arena.submit(JOINS[width])
    held = [arena.claim(execution_id, position) for position in range(width)]

    completions = arena.race(
        [partial(arena.complete, step) for step in held], over=execution_id
    )

    assert {done.outcome for done in completions} == {Recorded.RECORDED}
    sent = [name for done in completions for name in heads(done.windows)]
    assert sent == ["join"]
    join = arena.read_step(execution_id, width)
    assert (join["status"], join["pending_deps"], join["publishes"]) == ("ready", 0, 1)
    # those of the needs, and the one of the join
    assert count_events(arena, execution_id, "step.ready") == width + 1
    assert arena.engine.get_status(execution_id).open_steps == 1
    check_timeline(arena.engine, execution_id)


def test_a_join_is_sent_once_when_its_last_needs_end_at_once(arena: Arena) -> None:
    assert count_wrong_rounds(race_needs, arena, ROUNDS) == 0


# submit against submit


@dataclass(frozen=True)
class Bid:
    """One contender's submit under the key of the round."""

    execution_id: str
    parameters: dict[str, Any]


def submit_bid(arena: Arena, plan: Plan, key: str, bid: Bid) -> Submitted | None:
    """Submit; None when another body has the key."""
    try:
        return arena.repository.submit(
            plan,
            bid.parameters,
            queue=arena.queue,
            execution_id=bid.execution_id,
            key=key,
        )
    except SubmissionConflictError:
        return None


def race_submits(arena: Arena) -> None:
    """One key, two or three submits of one or two bodies, of a plan nobody knows."""
    key = str(uuid.uuid4())
    plan = Plan(f"plan-{key}", steps=[Step("only", action="test.nothing")])
    bids = [
        Bid(draw_execution_id(), {"n": arena.random.choice((1, 2))})
        for _ in range(arena.random.choice((2, 3)))
    ]

    answers = arena.race(
        [partial(submit_bid, arena, plan, key, bid) for bid in bids],
        over=key,
        gates=SUBMISSION_GATES,
    )

    (winner,) = (
        bid for bid, done in zip(bids, answers, strict=True) if done and done.is_new
    )
    for bid, done in zip(bids, answers, strict=True):
        is_same = bid.parameters == winner.parameters
        assert (done and done.execution_id) == (
            winner.execution_id if is_same else None
        )
    begun = [arena.repository.get_by_id(bid.execution_id) for bid in bids]
    assert [found.id for found in begun if found] == [winner.execution_id]
    check_timeline(arena.engine, winner.execution_id)


def test_submits_of_one_key_begin_one_execution(arena: Arena) -> None:
    assert count_wrong_rounds(race_submits, arena, ROUNDS) == 0


# pause against claim


def race_pause(arena: Arena) -> None:
    """What the pauser sees once its pause has returned is what there will be."""
    execution_id = arena.submit(ONE)

    def pause_and_look() -> tuple[Move, str]:
        move = arena.repository.update_state(execution_id, ExecutionStatus.PAUSED)
        return move, arena.read_step(execution_id)["status"]

    (move, seen), answer = arena.race_pair(
        pause_and_look, partial(arena.try_claim, execution_id), over=execution_id
    )

    assert move.landed
    is_claimed = answer.outcome is ClaimOutcome.CLAIMED
    assert seen == ("running" if is_claimed else "ready")
    assert arena.read_step(execution_id)["status"] == seen
    assert arena.engine.get_status(execution_id).status is ExecutionStatus.PAUSED
    check_timeline(arena.engine, execution_id)


def test_nothing_is_claimed_once_pause_has_returned(arena: Arena) -> None:
    assert count_wrong_rounds(race_pause, arena, ROUNDS) == 0


# cancel against complete, and the end


def race_cancel(arena: Arena) -> None:
    """The first reason wins, the running step is recorded, and one finishes."""
    plan = arena.random.choice((ONE, TWO))
    execution_id = arena.submit(plan)
    held = arena.claim(execution_id)
    cancel = partial(
        arena.repository.update_state, execution_id, ExecutionStatus.ENDING
    )

    move, done = arena.race_pair(
        cancel, partial(arena.complete, held), over=execution_id
    )

    assert done.outcome is Recorded.RECORDED
    ending = arena.engine.get_status(execution_id)
    assert (ending.status, ending.open_steps) == (ExecutionStatus.ENDING, 0)
    assert ending.reason == ("cancel" if move.landed else "result")
    assert move.landed or plan is ONE
    # one of the two is told that the end is its to bring
    assert done.is_last is not (move.landed and move.open_steps == 0)
    states = [step.status for step in arena.engine.list_steps(execution_id)]
    assert states == [StepStatus.COMPLETED, StepStatus.CANCELLED][: len(states)]
    check_timeline(arena.engine, execution_id)


def test_a_cancel_and_a_completion_agree_on_the_end(arena: Arena) -> None:
    assert count_wrong_rounds(race_cancel, arena, ROUNDS) == 0


def race_finishes(arena: Arena) -> None:
    """Two or three find that an execution lacks its end; one brings it."""
    execution_id = arena.submit(ONE)
    assert arena.complete(arena.claim(execution_id), 7).is_last
    finish = partial(finish_execution, arena.records, SILENT, execution_id)
    number = arena.random.choice((2, 3))

    landed = arena.race([finish] * number, over=execution_id)

    assert sorted(landed) == [False] * (number - 1) + [True]
    assert arena.engine.get_result(execution_id).unwrap() == 7
    assert count_events(arena, execution_id, "execution.completed") == 1
    check_timeline(arena.engine, execution_id)


def test_an_execution_is_finished_once(arena: Arena) -> None:
    assert count_wrong_rounds(race_finishes, arena, ROUNDS) == 0
