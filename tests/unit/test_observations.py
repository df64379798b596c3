"""Levels of lines, and how what is captured is chosen."""

import logging

import pytest

from execution.observations import NO_CAPTURE, CaptureChoice, LineLevel


@pytest.mark.parametrize(
    ("number", "level"),
    [
        (0, "debug"),
        (10, "debug"),
        (15, "debug"),
        (20, "info"),
        (35, "warning"),
        (99, "critical"),
    ],
)
def test_every_number_has_a_level(number: int, level: str) -> None:
    assert LineLevel.of(number) == level


def test_levels_have_the_numbers_of_logging() -> None:
    names = logging.getLevelNamesMapping()

    assert all(level.number == names[level.name] for level in LineLevel)


def test_levels_above_matter_more() -> None:
    assert LineLevel.ERROR.and_above() == (LineLevel.ERROR, LineLevel.CRITICAL)
    assert LineLevel.DEBUG.and_above() == tuple(LineLevel)


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("off", NO_CAPTURE),
        ("output", CaptureChoice(None)),
        ("logging", CaptureChoice(LineLevel.INFO, output=False)),
        ("Logging:WARNING", CaptureChoice(LineLevel.WARNING, output=False)),
        ("output, logging:debug", CaptureChoice(LineLevel.DEBUG)),
        ("logging:info,output", CaptureChoice()),
    ],
)
def test_a_choice_is_read(text: str, choice: CaptureChoice) -> None:
    assert CaptureChoice.read(text) == choice
    assert CaptureChoice.read(str(choice)) == choice


@pytest.mark.parametrize(
    "text",
    ["logging:loud", "output:info", "stdout", "off,output", "", "logging:info:x"],
)
def test_what_is_no_choice_is_refused(text: str) -> None:
    with pytest.raises(
        ValueError, match="is none of logging, logging:LEVEL, output, off"
    ):
        CaptureChoice.read(text)
