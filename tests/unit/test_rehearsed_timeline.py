"""What tests are told of an execution: its timeline, as plain data."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from execution import testing
from execution.results import Event
from execution.testing.timeline import Moment, Timeline

BEGUN = datetime(2030, 1, 1, tzinfo=UTC)


def make_timeline(*told: tuple[str, str | None, dict[str, Any]]) -> Timeline:
    """Return a timeline with an event for each of `told`, a minute apart."""
    return Timeline.from_events(
        [
            Event("id", seq, kind, step, data, BEGUN + timedelta(minutes=seq))
            for seq, (kind, step, data) in enumerate(told, 1)
        ]
    )


@pytest.fixture
def timeline() -> Timeline:
    return make_timeline(
        ("execution.started", None, {}),
        ("step.started", "a", {"attempt": 1}),
        ("step.failed", "a", {"error": {"code": "E003", "message": "out of\n stock"}}),
        ("recovery.initiated", "a", {}),
        ("step.started", "b", {"attempt": 1}),
        ("execution.ending", None, {"reason": "abort"}),
    )


def test_a_step_has_its_own_events(timeline: Timeline) -> None:
    assert timeline.of("a") == ["started", "failed"]


def test_the_execution_has_what_is_of_no_step(timeline: Timeline) -> None:
    assert timeline.of() == ["started", "initiated", "ending"]


def test_order_names_steps_as_it_happened_to_them(timeline: Timeline) -> None:
    assert timeline.order("started") == ["a", "b"]


def test_it_is_a_sequence_of_moments(timeline: Timeline) -> None:
    assert len(timeline) == 6
    assert timeline[1] == Moment("started", "a", 60.0, {"attempt": 1})
    assert timeline[1:3].of("a") == ["started", "failed"]


def test_it_is_shown_with_times_and_errors_on_a_line_each(timeline: Timeline) -> None:
    lines = str(timeline).splitlines()

    assert len(lines) == 6
    assert " ".join(lines[2].split()) == "+2m a failed E003 out of stock"
    assert str(timeline) in repr(timeline)


def test_names_of_the_package_are_found_when_they_are_asked_for() -> None:
    assert testing.Timeline is Timeline
    with pytest.raises(AttributeError, match="no attribute 'Timelines'"):
        _ = testing.Timelines
