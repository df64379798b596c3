"""Durations: what is read, in seconds, and how the rest is refused."""

import pytest

from execution.durations import DurationError, parse_duration_seconds, write_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0.0),
        ("250ms", 0.25),
        ("30s", 30.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("2d", 172_800.0),
        ("1d2h3m4s5ms", 93_784.005),
        ("90m", 5400.0),
        ("3650d", 315_360_000.0),
    ],
)
def test_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("30", "30s, 30m or 30h"),
        ("1.5", "1.5s"),
        ("9" * 5000, "30s"),
        ("", "units"),
        ("P1Y", "units"),
        ("1m1h", "largest first"),
        ("1s1s", "units"),
        ("-5s", "units"),
        ("1.5s", "whole numbers"),
        (" 5s", "units"),
        ("5 s", "units"),
        ("5S", "units"),
        ("٣s", "units"),
        ("3651d", "3650 days"),
        ("999999999999999s", "3650 days"),
        ("9" * 5000 + "s", "units"),
    ],
)
def test_other_spellings_are_refused_with_a_hint(text: str, hint: str) -> None:
    with pytest.raises(DurationError, match=hint):
        parse_duration_seconds(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.25, "250ms"),
        (30.0, "30s"),
        (5400.0, "1h30m"),
        (86_400.0, "1d"),
        (93_784.005, "1d2h3m4s5ms"),
        (315_360_000.0, "3650d"),
    ],
)
def test_a_written_duration_reads_the_same(seconds: float, text: str) -> None:
    assert write_duration(seconds) == text
    assert parse_duration_seconds(text) == seconds
