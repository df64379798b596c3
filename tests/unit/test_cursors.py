"""Cursors: what a reader keeps, and what is refused as one."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.cursors import Horizon, Mark, count_ticks, read_horizon, read_mark
from execution.errors import CursorError

MARKS = st.builds(Mark, st.integers(0, 10**18 - 1), st.none() | st.integers(0, 2**60))
LAST_TICK = count_ticks(datetime.max.replace(tzinfo=UTC))
AT = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)


@given(MARKS)
def test_a_mark_is_read_as_it_was_written(mark: Mark) -> None:
    assert read_mark(str(mark)) == mark


@given(
    st.integers(0, LAST_TICK),
    st.uuids().map(str),
    st.dictionaries(st.uuids().map(str), MARKS, max_size=20),
)
def test_a_horizon_is_read_as_it_was_written(
    ended: int, last_id: str, marks: dict[str, Mark]
) -> None:
    horizon = Horizon("0a1b2c3d", ended, last_id, marks)

    assert read_horizon(str(horizon)) == horizon


@pytest.mark.parametrize("after", [17, "17"])
def test_a_plain_number_is_a_cursor(after: int | str) -> None:
    assert read_mark(after) == Mark(17)


@pytest.mark.parametrize(
    "after",
    [
        *(-1, 10**18, True, 1.5, None, b"1"),
        *(
            "",
            " 1",
            "1 ",
            "1\n",
            "-1",
            "+1",
            "1.",
            ".1",
            "1.x",
            "1.5.2",
            "\uff11",
            "9" * 19,
        ),
        "1." + "f" * 17,
        "a" * 100_000,
    ],
)
def test_anything_else_is_refused(after: object) -> None:
    with pytest.raises(CursorError, match="is no cursor; give the `cursor` of") as info:
        read_mark(after)  # type: ignore[arg-type]  # what a caller may do

    assert len(str(info.value)) < 300


def test_a_moment_is_known_to_the_microsecond() -> None:
    mark = Mark(3, count_ticks(AT))

    assert mark.is_at(3, AT)
    assert not mark.is_at(3, AT + timedelta(microseconds=1))
    assert not mark.is_at(2, AT)


def test_a_plain_number_knows_no_moment() -> None:
    assert Mark(3).is_at(3, AT)
    assert not Mark(3).is_at(2, AT)


WHOLE = str(Horizon("0a1b2c3d", 17, marks={str(uuid.UUID(int=5)): Mark(3, 7)}))


@pytest.mark.parametrize(
    "after",
    [
        *(
            "",
            "17",
            "17.5a",
            WHOLE[1:],
            WHOLE[:-1],
            WHOLE[:-9],
            WHOLE + ".",
            f"{WHOLE}.A",
        ),
        WHOLE.rpartition(".")[0] + "." + "A" * 40,
        WHOLE + "\n",
        "a" * 100_000,
        # ends after the last day there is, and an event behind the last number
        str(Horizon("0a1b2c3d", 16**16 - 1)),
        str(Horizon("0a1b2c3d", marks={str(uuid.UUID(int=5)): Mark(2**63)})),
    ],
)
def test_any_other_text_is_no_horizon(after: str) -> None:
    with pytest.raises(CursorError, match="is no cursor of all executions") as info:
        read_horizon(after)

    assert len(str(info.value)) < 300


def test_a_horizon_is_no_mark() -> None:
    with pytest.raises(CursorError):
        read_mark(WHOLE)
