"""What pages say of executions, in words and numbers."""

from datetime import UTC, datetime, timedelta

import pytest

from execution import ExecutionStatus
from execution.flower import words
from execution.flower.navigation import add_entry
from execution.holds import Hold, HoldKind
from execution.narration import list_details
from execution.results import ExecutionSummary

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (None, ""),
        (0.0, "0.0 s"),
        (4.25, "4.2 s"),
        (185.9, "3 min 5 s"),
        (7_620.0, "2 h 7 min"),
        (273_700.0, "3 d 4 h"),
    ],
)
def test_a_time_is_written_as_people_say_it(
    seconds: float | None, written: str
) -> None:
    assert words.write_span(seconds) == written


def test_a_time_ends_with_its_end_and_else_goes_on_till_now() -> None:
    later = NOON + timedelta(seconds=90)

    assert words.count_seconds(None, later) is None
    assert words.count_seconds(NOON, later) == 90
    # by a clock that is behind the database's
    assert words.count_seconds(datetime.now(UTC) + timedelta(hours=1), None) == 0


def test_a_value_that_is_very_long_is_cut() -> None:
    text = words.write_value("x" * 30_000)

    assert len(text) < 21_000
    assert text.endswith("10,002 letters more")


def test_a_moment_is_written_in_utc() -> None:
    there = NOON.astimezone(datetime.strptime("+0530", "%z").tzinfo)

    assert words.write_moment(there) == "2026-11-22 12:00:00 UTC"


@pytest.mark.parametrize("status", [ExecutionStatus.PAUSED, ExecutionStatus.CANCELLED])
def test_what_has_ended_waits_neither_for_its_time_nor_for_its_key(
    status: ExecutionStatus,
) -> None:
    hold = Hold(HoldKind.QUEUE, "io", "ann", "moving disks", NOON)
    execution = ExecutionSummary(
        id="an-execution",
        plan="nightly",
        version=None,
        status=status,
        reason=None,
        epoch=0,
        last_seq=1,
        open_steps=1,
        total_steps=1,
        tags=(),
        parameters={},
        variables={},
        result=None,
        error=None,
        created_at=NOON,
        started_at=None,
        ended_at=None,
        concurrency_key="a-customer",
        holds=(hold,),
    )

    waits = words.list_waits(execution)

    told = ["waits for its key a-customer"]
    assert waits == [
        "queue io is paused by ann: moving disks",
        *(told if status is ExecutionStatus.PAUSED else []),
    ]


def test_every_detail_of_an_event_is_said_once() -> None:
    data = {
        "attempt": 2,
        "percent": 41.6,
        "message": "half of it",
        "child": "an-execution",
        "iteration": 3,
        "reason": "the bank is down",
        "by": "ann",
        "error": {"code": "E003", "message": "no such customer"},
    }

    assert list_details(data) == [
        "attempt 2",
        "iteration 3",
        "runs as an-execution",
        "42 %",
        "half of it",
        "the bank is down",
        "ann",
        "E003 no such customer",
    ]


def test_a_result_that_was_there_already_is_said_to_come_from_where_it_does() -> None:
    source = {"execution_id": "another", "step": "fetch"}

    details = list_details({"from": source, "age_seconds": 12.3})

    assert details == ["from another fetch", "12 s old"]


def test_a_navigation_that_is_not_known_stays_as_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert add_entry(b"<nav>another</nav>") == b"<nav>another</nav>"
    assert "see /executions" in caplog.text
