"""When schedules are due, and which of the times that have passed count."""

from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.timing import (
    MOST_AT_ONCE,
    CatchUp,
    Firing,
    Timing,
    TimingError,
    decide_firing,
    find_zone,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def cron(text: str, zone: str = "UTC", start: datetime = START) -> Timing:
    return Timing(text, None, zone, start)


def every(seconds: float, end: datetime | None = None) -> Timing:
    return Timing(None, seconds, "UTC", START, end)


def local(timing: Timing, count: int) -> list[str]:
    zone = ZoneInfo(timing.time_zone)
    times = islice(timing.times_from(timing.start_at), count)
    return [time.astimezone(zone).strftime("%d %H:%M %Z") for time in times]


# changes of the clock


@pytest.mark.parametrize(
    ("zone", "text", "start", "expected"),
    [
        # what the gap leaves out comes right after it
        (
            "Europe/Berlin",
            "30 2 * * *",
            datetime(2026, 3, 28, tzinfo=UTC),
            ["28 02:30 CET", "29 03:00 CEST", "30 02:30 CEST"],
        ),
        (
            "America/New_York",
            "30 2 * * *",
            datetime(2026, 3, 7, 5, tzinfo=UTC),
            ["07 02:30 EST", "08 03:00 EDT", "09 02:30 EDT"],
        ),
        # what is repeated comes once
        (
            "Europe/Berlin",
            "30 2 * * *",
            datetime(2026, 10, 24, tzinfo=UTC),
            ["24 02:30 CEST", "25 02:30 CEST", "26 02:30 CET"],
        ),
        (
            "America/New_York",
            "30 1 * * *",
            datetime(2026, 10, 31, 4, tzinfo=UTC),
            ["31 01:30 EDT", "01 01:30 EDT", "02 01:30 EST"],
        ),
        # what runs each hour does so by the time that passes
        (
            "Europe/Berlin",
            "0 * * * *",
            datetime(2026, 3, 29, 0, tzinfo=UTC),
            ["29 01:00 CET", "29 03:00 CEST", "29 04:00 CEST"],
        ),
        (
            "America/New_York",
            "0 * * * *",
            datetime(2026, 11, 1, 5, tzinfo=UTC),
            ["01 01:00 EDT", "01 01:00 EST", "01 02:00 EST"],
        ),
    ],
)
def test_a_cron_text_keeps_to_its_zone_when_the_clock_changes(
    zone: str, text: str, start: datetime, expected: list[str]
) -> None:
    assert local(cron(text, zone, start), 3) == expected


@given(
    text=st.sampled_from(
        ["30 2 * * *", "*/20 * * * *", "0 0 * * *", "15,45 1-3 * * *", "5 4 * * SUN"]
    ),
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "UTC", "Asia/Kolkata"]),
    minutes=st.integers(0, 60 * 24 * 365),
)
def test_the_times_are_the_same_from_wherever_they_are_looked_at(
    text: str, zone: str, minutes: int
) -> None:
    timing = cron(text, zone)
    here = START + timedelta(minutes=minutes)
    before = here - timedelta(days=2)

    through = (time for time in timing.times_from(before) if time >= here)

    assert list(islice(through, 4)) == list(islice(timing.times_from(here), 4))


# intervals


@given(seconds=st.integers(1, 100_000), after=st.integers(0, 10**7), count=st.just(3))
def test_an_interval_does_not_drift(seconds: int, after: int, count: int) -> None:
    timing = every(seconds)

    times = list(islice(timing.times_from(START + timedelta(seconds=after)), count))

    for time in times:
        assert (time - START) % timedelta(seconds=seconds) == timedelta(0)
    assert times[0] - START >= timedelta(seconds=after)
    assert times[0] - START < timedelta(seconds=after + seconds)


def test_an_interval_ends_with_the_calendar() -> None:
    longest = timedelta.max.total_seconds() // 2

    assert list(every(longest).times_from(START)) == [START]


def test_nothing_is_due_before_the_start_or_after_the_end() -> None:
    timing = every(3600, START + 2 * HOUR)

    assert timing.next_from(START - 5 * HOUR) == START
    assert timing.next_after(START) == START + HOUR
    assert list(timing.times_from(START)) == [START, START + HOUR, START + 2 * HOUR]
    assert timing.next_after(START + 2 * HOUR) is None


# what is refused


@pytest.mark.parametrize(
    ("timing", "complaint"),
    [
        (Timing(None, None, "UTC", START), "cron: give either cron or every"),
        (Timing("* * * * *", 60, "UTC", START), "cron: give either cron or every"),
        (cron("* * * * * *"), "cron: .* must have five fields"),
        (cron("60 * * * *"), "cron: .* is no cron text: Bad minute"),
        (cron("0 0 31 2 *"), "cron: .* is no cron text: Bad day-of-month"),
        (cron("0 0 * 2 MON#5", start=START), None),
        (cron("* * * * *", "Europe"), "time_zone: there is no time zone"),
        (every(0.5), "every: must be at least 1s, and is 500ms"),
        (every(60, START - HOUR), "end_at: is before start_at"),
        (
            Timing("0 3 * * *", None, "UTC", START, START + HOUR),
            "cron: .* does not come before end_at",
        ),
    ],
)
def test_a_rule_without_times_is_refused(timing: Timing, complaint: str | None) -> None:
    if complaint is None:
        timing.check()
        return
    with pytest.raises(TimingError, match=complaint):
        timing.check()


@given(st.text(max_size=20))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    for timing in (cron(text), cron(f"{text} * * * *"), cron(f"* * * * {text}")):
        try:
            timing.check()
        except TimingError as error:
            assert error.name == "cron"  # noqa: PT017  # most are refused


@pytest.mark.parametrize("name", ["", "Europe", "../etc", "Mars/Base", "a\0b"])
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(TimingError, match="write UTC, or a name"):
        find_zone(name)


# catching up


def fire(
    catch_up: CatchUp,
    hours: float,
    *,
    window: float | None = None,
    timing: Timing | None = None,
) -> Firing:
    return decide_firing(
        timing or every(3600),
        catch_up,
        window,
        due_at=START,
        now=START + timedelta(hours=hours),
    )


@pytest.mark.parametrize("catch_up", CatchUp)
def test_a_time_that_has_just_come_is_due(catch_up: CatchUp) -> None:
    assert fire(catch_up, 0.01) == Firing((START,), None, START + HOUR)


def test_with_none_a_time_that_is_late_is_given_up() -> None:
    firing = fire(CatchUp.NONE, 0.5)

    assert firing.due == ()
    assert firing.missed is not None
    assert firing.next_at == START + HOUR


def test_with_none_the_time_that_has_just_come_is_due_also_after_an_outage() -> None:
    assert fire(CatchUp.NONE, 5.01).due == (START + 5 * HOUR,)


def test_with_last_the_last_one_is_made_up_for() -> None:
    firing = fire(CatchUp.LAST, 5.5)

    assert firing.due == (START + 5 * HOUR,)
    assert firing.missed == "every time before 2026-01-01T05:00:00+00:00"
    assert firing.next_at == START + 6 * HOUR


def test_with_all_each_one_is_made_up_for() -> None:
    firing = fire(CatchUp.ALL, 3.5)

    assert firing.due == tuple(START + n * HOUR for n in range(4))
    assert (firing.missed, firing.next_at) == (None, START + 4 * HOUR)


def test_with_all_what_is_beyond_the_window_is_given_up() -> None:
    firing = fire(CatchUp.ALL, 3.5, window=2 * 3600)

    assert firing.due == (START + 2 * HOUR, START + 3 * HOUR)
    assert firing.missed == "every time before 2026-01-01T01:30:00+00:00"


def test_with_all_of_many_the_rest_comes_at_the_next_look() -> None:
    firing = fire(CatchUp.ALL, 1000)

    assert len(firing.due) == MOST_AT_ONCE
    assert firing.next_at == START + MOST_AT_ONCE * HOUR


def test_the_last_of_a_rare_schedule_is_found() -> None:
    timing = cron("0 0 29 2 *")
    leap_day = datetime(2028, 2, 29, tzinfo=UTC)

    firing = decide_firing(
        timing,
        CatchUp.LAST,
        None,
        due_at=leap_day,
        now=datetime(2031, 1, 1, tzinfo=UTC),
    )

    assert firing.due == (leap_day,)
    assert firing.next_at == datetime(2032, 2, 29, tzinfo=UTC)


def test_a_time_counts_also_if_the_rules_of_its_zone_have_changed() -> None:
    # 00:30 is none of its times, and was promised nonetheless
    due_at = START + HOUR / 2

    firing = decide_firing(
        every(3600), CatchUp.ALL, None, due_at=due_at, now=START + HOUR
    )

    assert firing.due == (due_at, START + HOUR)


@given(
    minutes=st.integers(1, 5_000),
    passed=st.integers(0, 50_000),
    catch_up=st.sampled_from(CatchUp),
)
def test_every_time_is_due_or_given_up_and_none_twice(
    minutes: int, passed: int, catch_up: CatchUp
) -> None:
    timing, now = every(minutes * 60), START + timedelta(minutes=passed)
    past = list(takewhile(lambda time: time <= now, timing.times_from(START)))

    due: list[datetime] = []
    next_at, missed = START, False
    while next_at <= now:
        firing = decide_firing(timing, catch_up, None, due_at=next_at, now=now)
        due += firing.due
        missed = missed or firing.missed is not None
        assert firing.next_at is not None
        assert firing.next_at > next_at
        next_at = firing.next_at

    assert due == (past if catch_up is CatchUp.ALL else past[-1:])[: len(due)]
    assert missed == (len(due) < len(past))
    assert next_at == timing.next_after(now)
