"""Values that are stored: error records, and the result of an execution."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execution.errors import (
    DatabaseError,
    ErrorCode,
    ExecutionFailedError,
    ExecutionNotFinishedError,
    ExecutionNotFoundError,
    StepTimeoutError,
)
from execution.results import (
    ErrorRecord,
    ExecutionResult,
    ExecutionSummary,
    error_code,
    read_result,
)
from execution.states import TERMINAL_EXECUTION_STATUSES, ExecutionStatus

NOW = datetime(2026, 11, 21, 12, 30, 15, 250_000, tzinfo=UTC)
RECORD = ErrorRecord(
    code=ErrorCode.TIMEOUT,
    message="attempt 1 of step scan outlived its timeout",
    step="scan",
    timestamp=NOW,
    recoverable=True,
    context={"worker": "w1"},
)
SUMMARY = ExecutionSummary(
    id="e1",
    plan="census",
    version=None,
    status=ExecutionStatus.COMPLETED,
    reason="result",
    epoch=1,
    last_seq=9,
    open_steps=0,
    total_steps=2,
    tags=(),
    parameters={},
    variables={},
    result={"n": 1},
    error=None,
    created_at=NOW,
    started_at=NOW,
    ended_at=NOW,
)

texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
zones = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
records = st.builds(
    ErrorRecord,
    code=st.sampled_from(ErrorCode),
    message=texts,
    step=st.none() | texts,
    timestamp=st.datetimes(datetime(1970, 1, 2), datetime(9998, 1, 1), timezones=zones),  # noqa: DTZ001  # bounds of hypothesis have no zone
    recoverable=st.booleans(),
    context=st.dictionaries(texts, st.none() | st.integers() | texts),
)


@given(records)
@settings(print_blob=True)
def test_an_error_record_survives_storage(record: ErrorRecord) -> None:
    assert ErrorRecord.from_json(record.to_json()) == record


def test_a_stored_record_has_the_fields_that_are_promised() -> None:
    assert RECORD.to_json() == {
        "code": "E002",
        "message": "attempt 1 of step scan outlived its timeout",
        "step": "scan",
        "timestamp": "2026-11-21T12:30:15.250000+00:00",
        "recoverable": True,
        "context": {"worker": "w1"},
    }


def test_a_record_without_step_and_context_can_be_read() -> None:
    stored = RECORD.to_json()
    del stored["step"], stored["context"]

    assert ErrorRecord.from_json(stored) == replace(RECORD, step=None, context={})


def test_times_are_read_as_utc() -> None:
    stored = RECORD.to_json() | {"timestamp": "2026-11-21T14:30:15.25+02:00"}

    assert ErrorRecord.from_json(stored).timestamp.tzinfo is UTC


@pytest.mark.parametrize("status", ExecutionStatus)
def test_only_an_ended_execution_has_a_result(status: ExecutionStatus) -> None:
    has_ended = status in TERMINAL_EXECUTION_STATUSES
    summary = replace(SUMMARY, status=status, ended_at=NOW if has_ended else None)

    assert summary.has_ended is has_ended
    if has_ended:
        assert read_result(summary).status is status
    else:
        with pytest.raises(ExecutionNotFinishedError, match=f"e1 is {status};"):
            read_result(summary)


def test_a_result_repeats_what_was_stored() -> None:
    assert read_result(replace(SUMMARY, error=RECORD)) == ExecutionResult(
        execution_id="e1",
        status=ExecutionStatus.COMPLETED,
        value={"n": 1},
        error=RECORD,
        started_at=NOW,
        ended_at=NOW,
    )


@pytest.mark.parametrize("value", [None, {"n": 1}, [], False])
def test_a_success_unwraps_to_its_value(value: Any) -> None:
    result = read_result(replace(SUMMARY, result=value))

    assert result.is_success
    assert result.unwrap() == value


@pytest.mark.parametrize(
    "status", sorted(TERMINAL_EXECUTION_STATUSES - {ExecutionStatus.COMPLETED})
)
@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (None, "no error"),
        (RECORD, "E002 attempt 1 of step scan outlived its timeout"),
    ],
)
def test_anything_else_unwraps_to_an_error(
    status: ExecutionStatus, error: ErrorRecord | None, cause: str
) -> None:
    result = read_result(replace(SUMMARY, status=status, error=error))

    assert not result.is_success
    with pytest.raises(ExecutionFailedError) as failure:
        result.unwrap()
    assert str(failure.value) == f"execution e1 is {status}: {cause}"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StepTimeoutError(), ErrorCode.TIMEOUT),
        (DatabaseError(), ErrorCode.DATABASE),
        (ExecutionNotFoundError(), ErrorCode.NOT_FOUND),
        (ValueError(), ErrorCode.EXECUTION),
        (KeyboardInterrupt(), ErrorCode.EXECUTION),
    ],
)
def test_every_error_has_a_code(error: BaseException, code: ErrorCode) -> None:
    assert error_code(error) is code
