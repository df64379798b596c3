"""What becomes of a dependency that is paused: decided from what was seen of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.dependencies import (
    MOST_ROUNDS,
    Canary,
    DependencyGuard,
    DependencyState,
    Move,
    Trial,
    decide,
)
from execution.states import StepStatus

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
SECOND = timedelta(seconds=1)
GUARD = DependencyGuard(
    cooldown_seconds=30, most_cooldown_seconds=100, canary_seconds=60, ramp_seconds=5
)
FREE, PAUSED, CANARY, RAMP = DependencyState


def seen(state: DependencyState, **known: object) -> Trial:
    """Return a dependency that has stood there for ten seconds."""
    trial = Trial(
        "stripe", state, NOW - 10 * SECOND, NOW, False, 0, 0, NOW, guard=GUARD
    )
    return replace(trial, **known)  # type: ignore[arg-type]  # fields of a trial


def canary(status: StepStatus, **known: object) -> Canary:
    """Return a canary that was let through five seconds ago."""
    began_at = NOW - 4 * SECOND if status is StepStatus.RUNNING else None
    found = Canary(status, False, False, None, NOW - 5 * SECOND, began_at)
    return replace(found, **known)  # type: ignore[arg-type]  # fields of a canary


def test_what_is_free_stays_so() -> None:
    assert decide(seen(FREE)) == Move(FREE, None)


def test_what_a_person_has_paused_waits_for_a_person() -> None:
    assert decide(seen(PAUSED, since=NOW - timedelta(days=9))) == Move(PAUSED, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("pause_at", 0), ("pause_at", 1.1), ("of_last", 0), ("of_last", 1001)),
        *(("window_seconds", 0), ("cooldown_seconds", -1), ("ramp_seconds", 1e9)),
        ("most_cooldown_seconds", 29),
    ],
)
def test_a_guard_that_could_not_work_has_a_fault(name: str, value: float) -> None:
    guard = DependencyGuard(**{**vars(GUARD), name: value})

    assert list(guard.find_faults()) == [name]


@pytest.mark.parametrize("guard", [GUARD, DependencyGuard(pause_at=1, of_last=1)])
def test_a_guard_that_works_has_none(guard: DependencyGuard) -> None:
    assert guard.find_faults() == {}


@pytest.mark.parametrize(
    ("pauses", "seconds"), [(0, 30), (1, 30), (2, 60), (3, 100), (10_000, 100)]
)
def test_cooldown_doubles_up_to_the_longest(pauses: int, seconds: int) -> None:
    trial = seen(PAUSED, is_paused_by_rate=True, pauses=pauses, since=NOW)

    assert decide(trial) == Move(PAUSED, NOW + seconds * SECOND)


@pytest.mark.parametrize(("parked", "give"), [(0, 0), (1, 1), (7, 1)])
def test_after_the_cooldown_one_step_is_let_through(parked: int, give: int) -> None:
    trial = seen(
        PAUSED,
        is_paused_by_rate=True,
        pauses=1,
        since=NOW - 30 * SECOND,
        parked=parked,
    )

    move = decide(trial)

    assert (move.state, move.give, move.withdraws) == (CANARY, give, False)


@pytest.mark.parametrize(("parked", "give"), [(0, 0), (3, 1)])
def test_without_a_canary_the_next_one_is_it(parked: int, give: int) -> None:
    move = decide(seen(CANARY, parked=parked))

    assert (move.state, move.give, move.withdraws) == (CANARY, give, False)


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (canary(StepStatus.COMPLETED, has_failed=False), RAMP),
        (canary(StepStatus.FAILED, has_failed=True), PAUSED),
        (canary(StepStatus.WAITING, is_parked=True, has_failed=True), PAUSED),
        (canary(StepStatus.RUNNING, began_at=NOW - 60 * SECOND), PAUSED),
    ],
)
def test_the_canary_decides(found: Canary, state: DependencyState) -> None:
    move = decide(seen(CANARY, canary=found, parked=3))

    assert (move.state, move.give, move.look_at) == (state, 0, NOW)
    assert move.reason is not None


@pytest.mark.parametrize(
    "found",
    [
        canary(StepStatus.RUNNING),
        canary(StepStatus.RUNNING, is_paused=True),
        canary(StepStatus.READY),
        canary(StepStatus.WAITING, is_parked=True),
    ],
)
def test_a_canary_under_way_is_waited_for(found: Canary) -> None:
    move = decide(seen(CANARY, canary=found, parked=3))

    assert move == Move(CANARY, NOW + SECOND)


@pytest.mark.parametrize(
    "found",
    [
        canary(StepStatus.READY, is_paused=True),
        canary(StepStatus.READY, given_at=NOW - 60 * SECOND),
        canary(StepStatus.WAITING, is_parked=True, is_paused=True),
        canary(StepStatus.WAITING, is_parked=True, given_at=NOW - 60 * SECOND),
        canary(StepStatus.WAITING),
        canary(StepStatus.PENDING),
        *map(canary, (StepStatus.CANCELLED, StepStatus.COMPLETED, StepStatus.SKIPPED)),
    ],
)
def test_a_canary_that_shows_nothing_is_replaced(found: Canary) -> None:
    move = decide(seen(CANARY, canary=found, parked=3))

    assert (move.state, move.give, move.withdraws) == (CANARY, 1, True)


@pytest.mark.parametrize(
    ("round_", "well", "open_passes", "give"),
    [
        *((0, 1, 0, 1), (1, 2, 0, 2), (3, 9, 2, 8)),
        # never more under way than twice those that went well
        *((3, 3, 0, 6), (3, 3, 4, 2), (3, 3, 6, 0), (3, 3, 9, 0)),
        (9, 900, 0, 40),
    ],
)
def test_a_ramp_lets_more_and_more_through(
    round_: int, well: int, open_passes: int, give: int
) -> None:
    trial = seen(RAMP, round=round_, well=well, open_passes=open_passes, parked=40)

    assert decide(trial) == Move(RAMP, NOW + 5 * SECOND, give)


def test_a_ramp_takes_its_time() -> None:
    trial = seen(RAMP, well=1, parked=4, look_at=NOW + SECOND)

    assert decide(trial) == Move(RAMP, NOW + SECOND)


@pytest.mark.parametrize(
    ("known", "is_over"),
    [
        ({"well": 9}, True),
        ({"well": 9, "open_passes": 1}, False),
        ({"well": 9, "parked": 1}, False),
        ({"well": 9, "parked": 5000, "round": MOST_ROUNDS}, True),
    ],
)
def test_a_ramp_is_over_when_none_waits(
    known: dict[str, object], is_over: bool
) -> None:
    assert (decide(seen(RAMP, **known)).state is FREE) == is_over


@pytest.mark.parametrize(
    ("pause_at", "failed", "well", "state"),
    [
        *((None, 1, 1, PAUSED), (None, 1, 2, RAMP), (None, 2, 2, PAUSED)),
        *((0.1, 1, 9, PAUSED), (0.1, 1, 10, RAMP), (1.0, 9, 1, RAMP)),
    ],
)
def test_failures_within_a_ramp_pause_again(
    pause_at: float | None, failed: int, well: int, state: DependencyState
) -> None:
    trial = seen(
        RAMP,
        failed=failed,
        well=well,
        parked=9,
        look_at=NOW + SECOND,
        guard=replace(GUARD, pause_at=pause_at),
    )

    assert decide(trial).state is state


canaries = st.builds(
    Canary,
    status=st.sampled_from(StepStatus),
    is_parked=st.booleans(),
    is_paused=st.booleans(),
    has_failed=st.none() | st.booleans(),
    given_at=st.integers(0, 200).map(lambda s: NOW - s * SECOND),
    began_at=st.none() | st.integers(0, 200).map(lambda s: NOW - s * SECOND),
)
counts = st.integers(0, 2000)
trials = st.builds(
    Trial,
    name=st.just("stripe"),
    state=st.sampled_from(DependencyState),
    since=st.integers(0, 900).map(lambda s: NOW - s * SECOND),
    now=st.just(NOW),
    is_paused_by_rate=st.booleans(),
    pauses=counts,
    round=st.integers(0, MOST_ROUNDS),
    look_at=st.none() | st.just(NOW) | st.just(NOW + SECOND),
    guard=st.just(GUARD),
    parked=counts,
    canary=st.none() | canaries,
    failed=counts,
    well=counts,
    open_passes=counts,
)


@given(trials)
def test_whatever_was_seen_is_decided_within_bounds(trial: Trial) -> None:
    move = decide(trial)

    assert move.give <= trial.parked
    # the canary is one, and is there before any other
    assert move.state is not CANARY or move.give <= 1
    assert move.state not in (FREE, PAUSED) or move.give == 0
    assert move.state is not RAMP or trial.state in (CANARY, RAMP)
    # a second one only in the place of the first
    assert not (move.give and trial.canary and move.state is CANARY) or (
        move.withdraws or trial.state is PAUSED
    )
    # what is tried is looked at again
    assert move.state in (FREE, PAUSED) or move.look_at is not None
    assert move.look_at is None or move.look_at >= trial.now


@given(trials)
def test_a_pause_of_a_person_ends_by_a_person_only(trial: Trial) -> None:
    paused = replace(trial, state=PAUSED, is_paused_by_rate=False)

    assert decide(paused) == Move(PAUSED, None)
