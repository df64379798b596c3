"""What an action tells, on its way into the database: bounded, fenced, not lost."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from execution import (
    Context,
    ExecutionRepository,
    ExecutionStatus,
    Plan,
    Settings,
    Step,
)
from execution.database import Database
from execution.errors import ExecutionCancelledError, StaleLeaseError
from execution.liveness import LivenessRecords
from execution.patience import Patience
from execution.records import StepRecords
from execution.results import StepSummary
from execution.states import StepStatus
from execution.telling import MOST_METRICS
from tests.integration.test_protocol import claim, register
from tests.polling import wait_until
from tests.rows import committed

PLAN = Plan("told", steps=[Step("only", action="test.nothing")])


@dataclass
class Attempt:
    """A claimed step, its context, and what the context has announced."""

    ctx: Context
    settings: Settings
    repository: ExecutionRepository
    records: StepRecords
    announced: list[int | None] = field(default_factory=list)

    def read_step(self) -> StepSummary:
        return self.repository.list_steps(self.ctx.execution_id)[0]

    def read_progress(self) -> list[dict[str, Any]]:
        events = self.repository.list_events(self.ctx.execution_id)
        return [dict(e.data) for e in events if e.type == "step.progress"]

    def read_rows(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        with committed(str(self.settings.database_url), self.settings.schema) as cursor:
            cursor.execute(
                f"SELECT {', '.join(columns)} FROM {table}"  # noqa: S608  # our own tables
                " WHERE execution_id = %s",
                (self.ctx.execution_id,),
            )
            return cursor.fetchall()

    def lose_step(self) -> None:
        """End the step in the attempt's own name, so that its token holds nothing."""
        self.records.complete(self.ctx._held, StepStatus.COMPLETED, epoch=1)


@pytest.fixture
def attempt(
    settings: Settings,
    repository: ExecutionRepository,
    records: StepRecords,
    liveness: LivenessRecords,
) -> Attempt:
    worker_id = register(liveness, settings)
    submitted = repository.submit(PLAN, {}, queue=settings.queue)
    claimed = claim(records, worker_id, submitted.execution_id, 0)
    announced: list[int | None] = []
    ctx = Context(claimed, records, announced.append, Patience())
    return Attempt(ctx, settings, repository, records, announced)


@pytest.mark.parametrize(
    ("percent", "stored"),
    [
        (0, 0.0),
        (40.5, 40.5),
        (100, 100.0),
        (-1, 0.0),
        (101, 100.0),
        (float("inf"), 100.0),
        (float("-inf"), 0.0),
        (float("nan"), 0.0),
    ],
)
def test_progress_is_kept_within_its_bounds(
    attempt: Attempt, percent: float, stored: float
) -> None:
    attempt.ctx.progress(percent)

    assert attempt.read_step().progress == stored


@pytest.mark.parametrize(
    ("message", "stored"),
    [
        (None, None),
        ("", None),
        ("parsing é", "parsing é"),
        ("a\x00b", "ab"),
        ("parsing caf\udce9.py", "parsing caf?.py"),
        ("x" * 5_000, "x" * 4_000),
    ],
)
def test_any_message_can_be_stored(
    attempt: Attempt, message: str | None, stored: str | None
) -> None:
    attempt.ctx.progress(1, message)

    assert attempt.read_step().progress_message == stored


def test_progress_is_an_event_that_is_announced(attempt: Attempt) -> None:
    attempt.ctx.progress(40, "parsing", chunks=2, records=900)

    assert attempt.read_progress() == [
        {"percent": 40, "message": "parsing", "chunks": 2, "records": 900}
    ]
    last_seq = attempt.repository.list_events(attempt.ctx.execution_id)[-1].seq
    assert attempt.announced == [last_seq]


def test_a_tight_loop_is_written_at_its_beginning_and_its_end(attempt: Attempt) -> None:
    for percent in range(100):
        attempt.ctx.progress(percent)
    attempt.ctx.flush()

    told = [data["percent"] for data in attempt.read_progress()]
    # a machine that stands still for half a second writes one more in between
    assert told[0] == 0
    assert told[-1] == 99
    assert len(told) < 50


def test_ten_thousand_reports_a_second_are_two_writes(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, writes = attempt.records.report_progress, 0

    def count_and_write(*arguments: Any, **options: Any) -> int | None:
        nonlocal writes
        writes += 1
        return write(*arguments, **options)

    monkeypatch.setattr(attempt.records, "report_progress", count_and_write)
    begun = time.monotonic()
    for number in range(10_000):
        attempt.ctx.progress(number / 100, f"at {number}")
    attempt.ctx.flush()
    took_seconds = time.monotonic() - begun

    told = [data["message"] for data in attempt.read_progress()]
    assert len(told) == writes <= 2 + 2 * took_seconds
    assert (told[0], told[-1]) == ("at 0", "at 9999")


def test_logs_and_metrics_are_stored_when_the_attempt_ends(attempt: Attempt) -> None:
    attempt.ctx.log.info("parsed %d", 900)
    attempt.ctx.metric("quality", 0.98)
    attempt.ctx.metric("quality", 1)

    attempt.ctx.flush()

    logs = attempt.read_rows(
        "execution_logs", "position", "attempt", "level", "message"
    )
    metrics = attempt.read_rows("execution_metrics", "attempt", "name", "value")
    assert logs == [(0, 1, "info", "parsed 900")]
    assert metrics == [(1, "quality", 0.98), (1, "quality", 1.0)]


def test_what_was_flushed_is_not_written_again(attempt: Attempt) -> None:
    attempt.ctx.log.info("once")

    attempt.ctx.flush()
    attempt.ctx.flush()

    assert attempt.read_rows("execution_logs", "message") == [("once",)]


def test_what_is_reported_while_metrics_are_written_is_kept(attempt: Attempt) -> None:
    attempt.ctx.metric("first", 1)
    flushing = threading.Thread(target=attempt.ctx.flush)
    with committed(
        str(attempt.settings.database_url), attempt.settings.schema
    ) as cursor:
        cursor.execute(
            "SELECT FROM executions WHERE id = %s FOR UPDATE",
            (attempt.ctx.execution_id,),
        )
        flushing.start()

        def is_waited_for() -> bool:
            cursor.execute(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted"
                " AND transactionid = pg_current_xact_id()::xid)"
            )
            return cursor.fetchone() == (True,)

        wait_until(is_waited_for, what="the write of the first")
        attempt.ctx.metric("meanwhile", 2)
    flushing.join()

    attempt.ctx.flush()

    names = [name for (name,) in attempt.read_rows("execution_metrics", "name")]
    assert names == ["first", "meanwhile"]


def test_metrics_that_wait_are_bounded_and_the_log_says_so(attempt: Attempt) -> None:
    for number in range(MOST_METRICS + 2):
        attempt.ctx.metric("n", number)

    attempt.ctx.flush()
    attempt.ctx.metric("n", -1)
    attempt.ctx.flush()

    values = [value for (value,) in attempt.read_rows("execution_metrics", "value")]
    assert values == [*range(MOST_METRICS), -1]
    assert attempt.read_rows("execution_logs", "source", "level", "message") == [
        (
            "plans",
            "warning",
            "more than 10,000 metrics wait to be written; others are not kept",
        )
    ]


def test_a_handler_of_signals_may_flush_what_is_being_flushed(attempt: Attempt) -> None:
    telling = attempt.ctx._telling
    ask = telling._ask

    def be_interrupted(call: Callable[[], Any]) -> Any:
        answer = ask(call)
        attempt.ctx.log.info("from the handler")
        telling._ask = ask
        attempt.ctx.flush()
        return answer

    telling._ask = be_interrupted
    attempt.ctx.log.info("from the code")
    flushing = threading.Thread(target=attempt.ctx.flush, daemon=True)
    flushing.start()
    flushing.join(60)

    assert not flushing.is_alive()
    assert attempt.read_rows("execution_logs", "message") == [
        ("from the code",),
        ("from the handler",),
    ]


def test_a_checkpoint_replaces_the_one_before(attempt: Attempt) -> None:
    attempt.ctx.save_checkpoint({"done": 1})
    attempt.ctx.save_checkpoint({"done": 2})

    rows = attempt.read_rows("execution_checkpoints", "attempt", "data")
    assert rows == [(1, {"done": 2})]
    assert attempt.ctx.checkpoint == {"done": 2}


@pytest.mark.parametrize(
    "tell",
    [lambda ctx: ctx.progress(1), lambda ctx: ctx.save_checkpoint({})],
    ids=["progress", "checkpoint"],
)
def test_who_lost_the_step_is_told_to_stop(
    attempt: Attempt, tell: Callable[[Context], None]
) -> None:
    attempt.lose_step()

    with pytest.raises(StaleLeaseError, match="no longer held by this attempt"):
        tell(attempt.ctx)


def test_nothing_of_who_lost_the_step_is_stored(attempt: Attempt) -> None:
    attempt.lose_step()
    attempt.ctx.log.info("late")
    attempt.ctx.metric("late", 1)

    attempt.ctx.flush()

    assert attempt.read_rows("execution_logs", "message") == []
    assert attempt.read_rows("execution_metrics", "name") == []


def test_a_step_that_is_wanted_goes_on(attempt: Attempt) -> None:
    attempt.ctx.raise_if_cancelled()


def test_a_cancelled_execution_stops_its_step(attempt: Attempt) -> None:
    attempt.repository.update_state(attempt.ctx.execution_id, ExecutionStatus.ENDING)

    with pytest.raises(ExecutionCancelledError, match="no longer wants step only"):
        attempt.ctx.raise_if_cancelled()


def test_a_paused_execution_does_not_stop_its_step(attempt: Attempt) -> None:
    attempt.repository.update_state(attempt.ctx.execution_id, ExecutionStatus.PAUSED)

    attempt.ctx.raise_if_cancelled()


def test_a_lost_step_stops(attempt: Attempt) -> None:
    attempt.lose_step()

    with pytest.raises(ExecutionCancelledError):
        attempt.ctx.raise_if_cancelled()


def test_the_question_is_asked_no_more_than_twice_a_second(attempt: Attempt) -> None:
    attempt.ctx.raise_if_cancelled()
    attempt.ctx._cancel_due += 60  # however slow this machine is
    attempt.lose_step()

    # at once again: the answer of a moment ago still holds
    attempt.ctx.raise_if_cancelled()


@pytest.fixture
def cut_off(attempt: Attempt, database: Database) -> Attempt:
    """An attempt whose connection was ended by the server while it lay idle."""
    (row,) = database.query("SELECT pg_backend_pid() AS pid")
    settings = attempt.settings
    with committed(str(settings.database_url), settings.schema) as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (row["pid"],))
    return attempt


@pytest.mark.parametrize(
    "tell",
    [
        lambda ctx: ctx.progress(1),
        lambda ctx: ctx.save_checkpoint({}),
        lambda ctx: ctx.raise_if_cancelled(),
        lambda ctx: (ctx.log.info("a"), ctx.flush()),
    ],
    ids=["progress", "checkpoint", "cancelled", "flush"],
)
def test_an_outage_is_no_error_of_the_action(
    cut_off: Attempt, tell: Callable[[Context], None]
) -> None:
    tell(cut_off.ctx)
