"""Ids of executions: UUIDs of version 7, unique, sorted by their time."""

import time
import uuid

import pytest

from execution.identity import draw_execution_id, is_execution_id
from tests.polling import wait_until


def milliseconds_of(execution_id: str) -> int:
    return uuid.UUID(execution_id).int >> 80


def test_the_version_is_seven() -> None:
    assert all(uuid.UUID(draw_execution_id()).version == 7 for _ in range(1000))


def test_the_variant_is_that_of_the_rfc() -> None:
    drawn = [uuid.UUID(draw_execution_id()) for _ in range(1000)]

    assert {id_.variant for id_ in drawn} == {uuid.RFC_4122}


def test_the_first_bits_are_the_time() -> None:
    before = time.time_ns() // 1_000_000
    drawn = milliseconds_of(draw_execution_id())
    after = time.time_ns() // 1_000_000

    assert before <= drawn <= after


def test_later_ids_sort_later() -> None:
    first = draw_execution_id()
    second = wait_until(
        lambda: (
            milliseconds_of(drawn := draw_execution_id()) > milliseconds_of(first)
            and drawn
        ),
        what="the next millisecond",
    )

    assert str(second) > first


def test_all_other_bits_vary() -> None:
    drawn = [uuid.UUID(draw_execution_id()).int for _ in range(1000)]
    ever_set, never_clear = 0, (1 << 128) - 1
    for value in drawn:
        ever_set |= value
        never_clear &= value
    varying = (ever_set & ~never_clear) & ((1 << 80) - 1)

    assert varying == (0xFFF << 64) | ((1 << 62) - 1)


def test_ids_are_unique() -> None:
    assert len({draw_execution_id() for _ in range(20_000)}) == 20_000


def test_a_drawn_id_is_an_id() -> None:
    assert is_execution_id(draw_execution_id())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "latest",
        "0190f3a4",
        "0190F3A4-0000-7000-8000-000000000000",
        "0190f3a400007000800000000000000",
        "{0190f3a4-0000-7000-8000-000000000000}",
        "0190f3a4-0000-7000-8000-000000000000\n",
        "0190f3a4-0000-7000-8000-00000000000g",
        "0190f3a4-0000-7000-8000-0000000000000",
        "'; DROP TABLE executions; --",
    ],
)
def test_other_texts_are_not(text: str) -> None:
    assert not is_execution_id(text)
