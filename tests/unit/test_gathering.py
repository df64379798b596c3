"""What a reader of all executions keeps, passes and tells."""

from datetime import UTC, datetime, timedelta

import pytest

from execution.cursors import Horizon, Mark, read_horizon
from execution.gathering import Gathering, Moment, Moved, begin_after
from execution.identity import draw_execution_id

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
MINE = Horizon("0a1b2c3d")
ONE, OTHER = sorted([draw_execution_id(), draw_execution_id()])


def at(seconds: float, *, oldest: int, next_one: int | None = None) -> Moment:
    """A moment so many seconds after noon."""
    now = NOW + timedelta(seconds=seconds)
    return Moment(now, oldest, next_one or oldest, "i")


def ended(execution_id: str, seconds: float = 0, last_seq: int = 9) -> Moved:
    when = NOW + timedelta(seconds=seconds)
    return Moved(execution_id, last_seq, when, is_wanted=True)


def opened(execution_id: str, last_seq: int = 9) -> Moved:
    return Moved(execution_id, last_seq, None, is_wanted=True)


def gather(*rows: Moved) -> Gathering:
    """A reader who was told all of these."""
    gathering = Gathering(MINE)
    for row in rows:
        gathering.mark(row.execution_id, Mark(row.last_seq))
    return gathering


def test_an_end_is_kept_while_an_earlier_one_may_come() -> None:
    gathering = gather(ended(ONE))
    # number 7 had begun before the first moment, and is still open at the second
    gathering.pass_on(at(10, oldest=7, next_one=9), [ended(ONE)], None)
    gathering.pass_on(at(30, oldest=7, next_one=12), [ended(ONE)], None)

    assert set(gathering.marks) == {ONE}
    assert gathering.leave_passed([ended(OTHER, -1)]) == [ended(OTHER, -1)]


def test_an_end_is_passed_when_no_earlier_one_can_come() -> None:
    gathering = gather(ended(ONE), opened(OTHER))
    rows = [ended(ONE), opened(OTHER)]
    gathering.pass_on(at(10, oldest=7, next_one=9), rows, None)
    gathering.pass_on(at(30, oldest=9), rows, None)

    assert set(gathering.marks) == {OTHER}
    assert gathering.leave_passed(rows) == [opened(OTHER)]


def test_a_clock_that_goes_back_a_little_hides_no_end() -> None:
    gathering = gather()
    gathering.pass_on(at(10, oldest=9), [], None)
    gathering.pass_on(at(11, oldest=9), [], None)

    assert gathering.leave_passed([ended(ONE, 6)]) == [ended(ONE, 6)]
    assert gathering.leave_passed([ended(ONE, 4)]) == []


def test_a_transaction_that_is_open_for_long_holds_nothing_up() -> None:
    gathering = gather(ended(ONE))
    gathering.pass_on(at(10, oldest=7, next_one=9), [ended(ONE)], None)
    gathering.pass_on(at(200, oldest=7, next_one=99), [ended(ONE)], None)

    assert gathering.marks == {}


def test_numbers_that_went_back_begin_anew() -> None:
    gathering = gather()
    gathering.pass_on(at(10, oldest=900), [], None)
    # restored: the numbers of transactions are lower now
    gathering.pass_on(at(20, oldest=50), [], None)
    gathering.pass_on(at(30, oldest=51), [], None)

    assert gathering.leave_passed([ended(ONE, 14)]) == []


def test_of_many_ends_those_are_passed_that_were_looked_at() -> None:
    rows = [ended(ONE, -900), ended(OTHER, -900)]
    gathering = gather(*rows)

    gathering.pass_on(at(0, oldest=9), rows, rows[0])

    assert set(gathering.marks) == {OTHER}
    assert gathering.leave_passed([ended(ONE, -900)]) == []


def test_a_place_is_never_given_up() -> None:
    horizon = begin_after(MINE.installation, NOW)
    gathering = Gathering(horizon)

    gathering.pass_on(at(-900, oldest=9), [], None)

    assert gathering.horizon == horizon


def test_what_is_gone_is_not_kept() -> None:
    gathering = gather(opened(ONE), opened(OTHER))

    gathering.pass_on(at(0, oldest=9), [opened(OTHER)], None)

    assert set(gathering.marks) == {OTHER}


def test_strangers_are_those_of_whom_nothing_was_told() -> None:
    gathering = gather(opened(ONE))

    assert gathering.list_strangers([opened(ONE), ended(OTHER)]) == [OTHER]


def test_what_is_as_it_was_told_is_not_told() -> None:
    gathering = gather(opened(ONE, 9), opened(OTHER, 9))

    assert gathering.choose([opened(ONE, 9), opened(OTHER, 12)]) == [opened(OTHER, 12)]


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 1_000])
def test_a_cursor_knows_what_was_told_at_any_time(count: int) -> None:
    gathering = gather(opened(ONE, 1))
    assert read_horizon(gathering.cursor).marks == gathering.marks

    for number in range(count):
        gathering.mark(draw_execution_id(), Mark(number + 1, number))
    gathering.mark(ONE, Mark(2))

    assert read_horizon(gathering.cursor) == Horizon(
        MINE.installation, marks=gathering.marks
    )


def test_a_cursor_knows_nothing_of_what_was_deleted() -> None:
    gathering = gather(opened(ONE), opened(OTHER))
    assert gathering.cursor

    gathering.forget(ONE)
    gathering.forget(ONE)

    assert set(read_horizon(gathering.cursor).marks) == {OTHER}


def test_a_cursor_takes_few_bytes_for_each_execution() -> None:
    marks = {
        draw_execution_id(): Mark(n, 1_700_000_000_000_000 + n) for n in range(1000)
    }

    assert len(str(Horizon(MINE.installation, marks=marks))) < 35 * 1000
