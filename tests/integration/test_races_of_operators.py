"""Operators against workers, and against each other, many times over."""

import uuid
from collections.abc import Iterator
from functools import partial

import pytest

from execution import Plan, Settings, Step, StepStatus
from execution.acts import Act, Refusal
from execution.answers import ClaimOutcome, HeldStep, Recorded
from execution.ending import finish_execution
from execution.events import ExecutionEventEmitter
from execution.operations import ActAnswer, OperationRecords
from execution.sweeps import LostStep
from tests.integration.test_random_plans import ERROR
from tests.racing import Arena, Race, arena_of, count_wrong_rounds
from tests.timeline import check_timeline

ROUNDS = 60
SILENT = ExecutionEventEmitter(None, "")
TWO = Plan("operated", steps=[Step(name, action="test.nothing") for name in "ab"])


@pytest.fixture(scope="module")
def arena(settings: Settings) -> Iterator[Arena]:
    """An arena in the module's schema."""
    with arena_of(settings) as opened:
        yield opened


def operate(arena: Arena, act: Act, execution_id: str, epoch: int) -> ActAnswer:
    """Do an act of its own to what that epoch has left."""
    return OperationRecords(arena.database).operate(
        act,
        execution_id,
        act_id=str(uuid.uuid4()),
        epoch=epoch,
        step=None if act is Act.RETRY else "a",
        result="7" if act is Act.FORCE else None,
    )


def fail(arena: Arena) -> tuple[str, HeldStep]:
    """Let an execution end by the failure of its first step."""
    execution_id = arena.submit(TWO)
    held = arena.claim(execution_id)
    arena.records.complete(held, StepStatus.FAILED, error=ERROR, epoch=1)
    finish_execution(arena.records, SILENT, execution_id)
    return execution_id, held


def claim(arena: Arena, execution_id: str, epoch: int) -> ClaimOutcome:
    return arena.records.claim(
        execution_id,
        [0],
        epoch=epoch,
        token=str(uuid.uuid4()),
        worker_id=arena.worker_id,
        delivery="by-hand",
    ).outcome


def race_zombie(arena: Arena) -> None:
    """The result of the attempt that was taken for failed comes after all."""
    execution_id, zombie = fail(arena)

    answer, late = arena.race_pair(
        partial(operate, arena, Act.RETRY, execution_id, 1),
        partial(arena.complete, zombie, "zombie"),
        over=execution_id,
    )

    assert answer.refusal is None
    assert late.outcome is Recorded.STALE
    row = arena.read_step(execution_id)
    assert (row["status"], row["result"], row["attempt"]) == ("ready", None, 1)
    check_timeline(arena.engine, execution_id)


def race_retries(arena: Arena) -> None:
    """Two retry the same end: one of them does."""
    execution_id, _ = fail(arena)

    answers = arena.race(
        [partial(operate, arena, Act.RETRY, execution_id, 1)] * 2, over=execution_id
    )

    assert sorted(a.refusal or "" for a in answers) == ["", Refusal.STATE]
    assert arena.engine.get_status(execution_id).epoch == 2
    check_timeline(arena.engine, execution_id)


def race_skip(arena: Arena) -> None:
    """A ready step is claimed, or skipped."""
    execution_id = arena.submit(TWO)

    answer, outcome = arena.race_pair(
        partial(operate, arena, Act.SKIP, execution_id, 1),
        partial(claim, arena, execution_id, 1),
        over=execution_id,
    )

    is_claimed = outcome is ClaimOutcome.CLAIMED
    assert (answer.refusal is None) is not is_claimed
    status = "running" if is_claimed else "skipped"
    assert arena.read_step(execution_id)["status"] == status
    check_timeline(arena.engine, execution_id)


def race_force(arena: Arena) -> None:
    """A running step completes while somebody says what it came to."""
    execution_id = arena.submit(TWO)
    held = arena.claim(execution_id)

    answer, done = arena.race_pair(
        partial(operate, arena, Act.FORCE, execution_id, 1),
        partial(arena.complete, held, "done"),
        over=execution_id,
    )

    assert answer.refusal is Refusal.STEP_STATE
    assert done.outcome is Recorded.RECORDED
    assert arena.read_step(execution_id)["result"] == "done"
    check_timeline(arena.engine, execution_id)


def race_force_after_loss(arena: Arena) -> None:
    """The same, of a step that was given back: its holder is a zombie."""
    execution_id = arena.submit(TWO)
    zombie = arena.claim(execution_id)
    arena.lose_all()
    assert arena.liveness.take_lost(
        LostStep(execution_id, 0, zombie.token), is_patient=True
    )

    answer, late = arena.race_pair(
        partial(operate, arena, Act.FORCE, execution_id, 1),
        partial(arena.complete, zombie, "zombie"),
        over=execution_id,
    )

    assert (answer.refusal, late.outcome) == (None, Recorded.STALE)
    assert arena.read_step(execution_id)["result"] == 7
    check_timeline(arena.engine, execution_id)


def race_skip_and_retry(arena: Arena) -> None:
    """One retries what another goes on without: one of them does."""
    execution_id, _ = fail(arena)

    answers = arena.race_pair(
        partial(operate, arena, Act.SKIP, execution_id, 1),
        partial(operate, arena, Act.RETRY, execution_id, 1),
        over=execution_id,
    )

    assert sum(answer.refusal is None for answer in answers) == 1
    status = "skipped" if answers[0].refusal is None else "ready"
    assert arena.read_step(execution_id)["status"] == status
    check_timeline(arena.engine, execution_id)


def race_retry_and_delete(arena: Arena) -> None:
    """An ended execution is deleted, or goes on."""
    execution_id, _ = fail(arena)

    answer, is_deleted = arena.race_pair(
        partial(operate, arena, Act.RETRY, execution_id, 1),
        partial(arena.engine.delete_execution, execution_id),
        over=execution_id,
    )

    assert (answer.refusal is Refusal.NO_EXECUTION) is is_deleted
    if not is_deleted:
        check_timeline(arena.engine, execution_id)


@pytest.mark.parametrize(
    "race",
    [
        *(race_zombie, race_retries, race_skip, race_force, race_force_after_loss),
        *(race_skip_and_retry, race_retry_and_delete),
    ],
)
def test_who_comes_first_is_who_decides(arena: Arena, race: Race) -> None:
    assert count_wrong_rounds(race, arena, ROUNDS) == 0
