"""What is stored of an error, whoever raised it."""

import json
from datetime import UTC, datetime

import pytest

from execution.attempts import describe_error
from tests.unit.test_attempts import CLAIM, Bench, error_of, failing


def test_a_record_says_what_was_raised_where() -> None:
    error = error_of(Bench().run(failing(*[LookupError("x")] * 3)))

    assert error.context["type"] == "builtins.LookupError"
    assert "in fail\n" in error.context["traceback"]
    assert error.context["traceback"].endswith("LookupError: x\n")


def test_a_record_has_the_time() -> None:
    before = datetime.now(UTC)

    record = json.loads(describe_error(ValueError(), CLAIM))

    assert before <= datetime.fromisoformat(record["timestamp"]) <= datetime.now(UTC)


class MuteError(Exception):
    """An error of somebody's whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("x" * 5_000), "ValueError: " + "x" * 1_988),
        (ValueError("a\x00b\ud800c"), "ValueError: ab?c"),
        (
            ExceptionGroup("two", [ValueError(1)]),
            "ExceptionGroup: two (1 sub-exception)",
        ),
        (MuteError(), "MuteError: <exception str() failed>"),
    ],
    ids=["long", "unstorable", "group", "mute"],
)
def test_every_error_can_be_stored(error: BaseException, message: str) -> None:
    assert json.loads(describe_error(error, CLAIM))["message"] == message


def test_a_long_traceback_keeps_its_end() -> None:
    error = ValueError("\n".join(f"line {n}" for n in range(5_000)))

    trace = json.loads(describe_error(error, CLAIM))["context"]["traceback"]

    assert len(trace) == 8_000
    assert trace.endswith("line 4999\n")


def test_notes_that_cannot_be_read_do_not_lose_the_record() -> None:
    def refuse(_: Exception) -> list[str]:
        raise RuntimeError("no notes for you")

    kind = type("MaliciousError", (Exception,), {"__notes__": property(refuse)})

    record = error_of(Bench().run(failing(*(kind("cause") for _ in range(3)))))

    assert record.message.endswith("MaliciousError: cause")
    assert record.context["traceback"] == "<the traceback could not be written>"
