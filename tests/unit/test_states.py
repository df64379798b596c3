"""The move tables: every pair of a state and a move, against a drawing of its own."""

import pytest

from execution.errors import InvalidExecutionStateError
from execution.states import (
    EXECUTION_MOVES,
    SETTLED_STEP_STATUSES,
    STEP_MOVES,
    TERMINAL_EXECUTION_STATUSES,
    TERMINAL_STEP_STATUSES,
    EndReason,
    ExecutionMove,
    ExecutionStatus,
    StepMove,
    StepStatus,
    final_status,
    is_terminal,
    list_execution_edges,
    list_step_edges,
    next_status,
)

# rows: the state it is in; columns: the move; cells: where that leads, - nowhere
EXECUTIONS = """
            start    pause   resume   requeue  end     complete   fail    cancel     time_out   retry
pending     running  paused  -        -        ending  -          -       -          -          -
running     -        paused  -        -        ending  -          -       -          -          -
paused      -        -       running  pending  ending  -          -       -          -          -
ending      -        -       -        -        -       completed  failed  cancelled  timed_out  -
completed   -        -       -        -        -       -          -       -          -          -
failed      -        -       -        -        -       -          -       -          -          pending
cancelled   -        -       -        -        -       -          -       -          -          pending
timed_out   -        -       -        -        -       -          -       -          -          pending
"""  # noqa: E501  # a table is read in rows
STEPS = """
           release  claim    ride     complete   fail    skip     time_out   cancel     give_back  wait     wake     restore  retry    rejoin   force
pending    ready    -        running  -          -       skipped  -          cancelled  -          -        -        -        -        -        completed
ready      -        running  -        -          -       skipped  timed_out  cancelled  -          waiting  -        pending  -        -        completed
running    -        -        -        completed  failed  skipped  timed_out  cancelled  ready      waiting  -        pending  -        -        -
waiting    -        -        -        completed  failed  skipped  timed_out  cancelled  -          -        ready    pending  -        -        completed
completed  -        -        -        -          -       -        -          -          -          -        -        pending  -        -        -
failed     -        -        -        -          -       -        -          -          -          -        -        -        pending  waiting  -
skipped    -        -        -        -          -       -        -          -          -          -        -        pending  -        waiting  -
cancelled  -        -        -        -          -       -        -          -          -          -        -        -        pending  waiting  -
timed_out  -        -        -        -          -       -        -          -          -          -        -        -        pending  waiting  -
"""  # noqa: E501  # a table is read in rows


def cells(drawing: str) -> list[tuple[str, str, str | None]]:
    """Return (state, move, next state) for every cell of a drawing."""
    header, *rows = (line.split() for line in drawing.strip().splitlines())
    return [
        (state, move, None if target == "-" else target)
        for state, *targets in rows
        for move, target in zip(header, targets, strict=True)
    ]


def edges(drawing: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({(a, b) for a, _, b in cells(drawing) if b is not None}))


@pytest.mark.parametrize(("state", "move", "target"), cells(EXECUTIONS))
def test_every_move_of_an_execution(state: str, move: str, target: str | None) -> None:
    found = EXECUTION_MOVES.get((ExecutionStatus(state), ExecutionMove(move)))

    assert found == target


@pytest.mark.parametrize(("state", "move", "target"), cells(STEPS))
def test_every_move_of_a_step(state: str, move: str, target: str | None) -> None:
    assert STEP_MOVES.get((StepStatus(state), StepMove(move))) == target


@pytest.mark.parametrize(
    ("drawing", "statuses", "moves"),
    [
        (EXECUTIONS, ExecutionStatus, ExecutionMove),
        (STEPS, StepStatus, StepMove),
    ],
)
def test_every_word_is_in_the_drawing(
    drawing: str,
    statuses: type[ExecutionStatus | StepStatus],
    moves: type[ExecutionMove | StepMove],
) -> None:
    drawn = [(state, move) for state, move, _ in cells(drawing)]

    assert sorted(drawn) == sorted((s.value, m.value) for s in statuses for m in moves)


@pytest.mark.parametrize(("state", "move", "target"), cells(EXECUTIONS))
def test_a_move_is_made_or_refused(state: str, move: str, target: str | None) -> None:
    status, wanted = ExecutionStatus(state), ExecutionMove(move)
    if target is None:
        with pytest.raises(InvalidExecutionStateError, match=f"that is {state} cannot"):
            next_status(status, wanted)
    else:
        assert next_status(status, wanted) is ExecutionStatus(target)


def test_a_refusal_names_what_can_be_asked_for() -> None:
    with pytest.raises(InvalidExecutionStateError) as refusal:
        next_status(ExecutionStatus.PAUSED, ExecutionMove.TIME_OUT)

    assert str(refusal.value) == (
        "an execution that is paused cannot time out; it can be resumed or cancelled"
    )


def test_a_refusal_during_the_end_offers_nothing() -> None:
    with pytest.raises(InvalidExecutionStateError) as refusal:
        next_status(ExecutionStatus.ENDING, ExecutionMove.END)

    assert str(refusal.value) == (
        "an execution that is ending cannot be cancelled; it comes to its end by itself"
    )


def test_a_refusal_says_that_an_end_is_final() -> None:
    with pytest.raises(InvalidExecutionStateError) as refusal:
        next_status(ExecutionStatus.COMPLETED, ExecutionMove.RESUME)

    assert str(refusal.value) == (
        "an execution that is completed cannot be resumed; it has ended for good"
    )


def test_a_refusal_names_the_way_back_from_an_end() -> None:
    with pytest.raises(InvalidExecutionStateError) as refusal:
        next_status(ExecutionStatus.FAILED, ExecutionMove.RESUME)

    assert str(refusal.value) == (
        "an execution that is failed cannot be resumed; it can be retried"
    )


def test_terminal_are_the_executions_that_only_a_retry_moves() -> None:
    ends = {"completed", "failed", "cancelled", "timed_out"}

    assert {status.value for status in TERMINAL_EXECUTION_STATUSES} == ends


def test_terminal_are_the_steps_that_only_a_restore_or_a_retry_moves() -> None:
    ends = {"completed", "failed", "skipped", "cancelled", "timed_out"}

    assert {status.value for status in TERMINAL_STEP_STATUSES} == ends


@pytest.mark.parametrize("status", ExecutionStatus)
def test_only_terminal_states_are_final(status: ExecutionStatus) -> None:
    assert is_terminal(status) is (status in TERMINAL_EXECUTION_STATUSES)


def test_settled_are_two_of_the_ends() -> None:
    assert {status.value for status in SETTLED_STEP_STATUSES} == {
        "completed",
        "skipped",
    }


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        (EndReason.RESULT, ExecutionStatus.COMPLETED),
        (EndReason.ABORT, ExecutionStatus.FAILED),
        (EndReason.CANCEL, ExecutionStatus.CANCELLED),
        (EndReason.DEADLINE, ExecutionStatus.TIMED_OUT),
    ],
)
def test_each_reason_has_its_end(reason: EndReason, status: ExecutionStatus) -> None:
    assert final_status(reason) is status


def test_the_reasons_reach_every_end() -> None:
    reached = {final_status(reason) for reason in EndReason}

    assert reached == TERMINAL_EXECUTION_STATUSES


def test_edges_are_those_of_the_drawings() -> None:
    assert list_execution_edges() == edges(EXECUTIONS)
    assert list_step_edges() == edges(STEPS)


def test_every_state_can_be_left_towards_an_end() -> None:
    for found, terminal in (
        (list_execution_edges(), TERMINAL_EXECUTION_STATUSES),
        (list_step_edges(), TERMINAL_STEP_STATUSES),
    ):
        reaching = {status.value for status in terminal}
        while more := {a for a, b in found if b in reaching} - reaching:
            reaching |= more
        assert reaching == {a for a, _ in found} | {b for _, b in found}


@pytest.mark.parametrize("table", [EXECUTION_MOVES, STEP_MOVES])
def test_the_tables_cannot_be_written_to(table: object) -> None:
    with pytest.raises(TypeError):
        table["a", "b"] = "c"  # type: ignore[index]  # what must not work
