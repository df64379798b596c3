"""Which hints go out at once, and which are kept for a moment."""

import pytest

from execution.coalescing import PAUSE_SECONDS, Coalescer

MOMENT = PAUSE_SECONDS / 5
MANY = 1_000


@pytest.fixture
def coalescer() -> Coalescer:
    """One that sent a hint of e1 at 100 s."""
    made = Coalescer()
    made.note_sent("e1", 100.0)
    return made


def test_the_first_hint_of_an_execution_is_due(coalescer: Coalescer) -> None:
    assert coalescer.is_due("e2", 100.0)


def test_what_follows_at_once_is_not(coalescer: Coalescer) -> None:
    assert not coalescer.is_due("e1", 100.0 + MOMENT)


def test_after_the_pause_it_is(coalescer: Coalescer) -> None:
    assert coalescer.is_due("e1", 100.0 + PAUSE_SECONDS + MOMENT)


@pytest.mark.parametrize("numbers", [(7, 8, 9), (9, 7, 8)])
def test_only_the_newest_is_kept(
    coalescer: Coalescer, numbers: tuple[int, ...]
) -> None:
    for seq in numbers:
        coalescer.keep("e1", seq)

    assert coalescer.take(100.0 + MOMENT) == {"e1": 9}
    assert coalescer.is_empty


def test_nothing_overtakes_what_is_kept(coalescer: Coalescer) -> None:
    coalescer.keep("e1", 7)

    assert not coalescer.is_due("e1", 200.0)


def test_what_was_kept_counts_as_sent_when_it_is_taken(coalescer: Coalescer) -> None:
    coalescer.keep("e1", 7)
    coalescer.take(200.0)

    assert not coalescer.is_due("e1", 200.0 + MOMENT)


def test_an_execution_that_ended_is_forgotten(coalescer: Coalescer) -> None:
    coalescer.keep("e1", 7)

    coalescer.forget("e1")

    assert coalescer.is_empty
    assert coalescer.is_due("e1", 100.0 + MOMENT)


def test_what_was_sent_long_ago_is_forgotten(coalescer: Coalescer) -> None:
    for number in range(MANY):
        coalescer.note_sent(f"old {number}", 100.0)

    coalescer.note_sent("new", 200.0)

    assert list(coalescer._sent_at) == ["new"]


def test_of_many_that_were_sent_just_now_the_oldest_are_forgotten(
    coalescer: Coalescer,
) -> None:
    for number in range(2 * MANY):
        coalescer.note_sent(f"e{number}", 100.0)

    assert len(coalescer._sent_at) == MANY


def test_beyond_what_can_be_kept_hints_are_sent_at_once(coalescer: Coalescer) -> None:
    for number in range(MANY):
        coalescer.keep(f"busy {number}", number)

    assert coalescer.is_due("e1", 100.0 + MOMENT)
