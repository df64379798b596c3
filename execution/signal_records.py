"""What is written and read of signals, each by a function of `sql/26_signals*.sql`.

Promises: who sends draws the signal's id beforehand, and a step that waits is held by
its token, so that after an unknown commit the same call can be made again. Knows
neither Celery nor Redis nor SQLAlchemy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from .answers import Completion, HeldStep, Recorded, read_completion
from .database import Database
from .states import ExecutionStatus


@dataclass(frozen=True)
class Signal:
    """A signal that was sent to an execution.

    `taken_by` is the step whose result `payload` became, None as long as none has taken
    it. `id` and the time are the database's.
    """

    id: str
    execution_id: str
    name: str
    payload: Any
    by: str | None
    reason: str | None
    key: str | None
    sent_at: datetime
    taken_by: str | None
    taken_at: datetime | None


@dataclass(frozen=True)
class Awaiting:
    """What has to be known of an execution before a signal is sent to it.

    `takers` are what the steps ask of the payload that may take it, by their names,
    None for those that ask nothing; `written` are all names that its plan waits for.
    """

    status: ExecutionStatus
    plan: str
    takers: Mapping[str, Mapping[str, Any] | None]
    written: tuple[str, ...]


class Sent(StrEnum):
    """Whether a signal was sent; `sql/26_signals_sent.sql` says what each asks."""

    SENT = "sent"
    REPEATED = "repeated"
    CONFLICT = "conflict"
    OVER = "over"
    UNAWAITED = "unawaited"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class SendAnswer:
    """The answer to a signal that was sent, and where its execution stands then.

    `completion` is None where nothing was sent.
    """

    outcome: Sent
    detail: str | None
    signal_id: str | None
    completion: Completion | None


class Awaited(StrEnum):
    """Whether a step waits for a signal; `sql/26_signals.sql` says what each asks."""

    WAITING = "waiting"
    ENDED = "ended"
    REFUSED = "refused"
    STALE = "stale"


@dataclass(frozen=True)
class AwaitAnswer:
    """The answer to a step that is to wait, and where its execution stands then."""

    outcome: Awaited
    completion: Completion


class SignalRecords:
    """Signals, and the steps that wait for them."""

    def __init__(self, database: Database) -> None:
        """Write through `database`."""
        self._database = database

    def read_awaiting(self, execution_id: str, name: str) -> Awaiting | None:
        """Return what an execution could do with a signal; None if there is none."""
        row = self._database.call("read_awaiting", execution_id, name)
        if row["status"] is None:
            return None
        return Awaiting(
            ExecutionStatus(row["status"]),
            row["plan"],
            row["takers"] or {},
            tuple(row["written"]),
        )

    def send(
        self,
        execution_id: str,
        name: str,
        payload: str,
        *,
        signal_id: str,
        by: str | None,
        reason: str | None,
        key: str | None,
    ) -> SendAnswer:
        """Send a signal, whose `payload` is JSON text and was looked at.

        The same `signal_id`, or the same `key`, with the same name and payload answers
        the signal that was sent first.
        """
        row = self._database.call(
            "send_signal", execution_id, signal_id, name, payload, by, reason, key
        )
        outcome = Sent(row["outcome"])
        is_there = outcome in (Sent.SENT, Sent.REPEATED)
        return SendAnswer(
            outcome,
            row["detail"],
            None if row["signal_id"] is None else str(row["signal_id"]),
            read_completion(execution_id, Recorded.RECORDED, row) if is_there else None,
        )

    def list_signals(self, execution_id: str) -> tuple[Signal, ...]:
        """Return the signals that were sent to an execution, in their order."""
        rows = self._database.call_all("list_signals", execution_id)
        return tuple(
            Signal(**{**row, "id": str(row["id"]), "execution_id": execution_id})
            for row in rows
        )

    def begin_wait(
        self,
        held: HeldStep,
        *,
        recorded_input: str,
        name: str,
        seconds: float | None,
    ) -> AwaitAnswer:
        """Let a step wait for a signal, for `seconds` at most: it is not held then."""
        row = self._database.call(
            "await_signal",
            held.execution_id,
            held.position,
            held.token,
            recorded_input,
            name,
            seconds,
        )
        return AwaitAnswer(
            Awaited(row["outcome"]),
            read_completion(held.execution_id, Recorded.RECORDED, row),
        )

    def deliver(self, execution_id: str) -> Completion | None:
        """Receive what transactions have sent to an execution; None: nothing."""
        row = self._database.call("deliver_signals", execution_id)
        if row["outcome"] == "nothing":
            return None
        return read_completion(execution_id, Recorded.RECORDED, row)

    def find_signalled_executions(self, most: int) -> tuple[str, ...]:
        """Return executions to which signals were sent that nobody has received."""
        rows = self._database.call_all("signalled_executions", most)
        return tuple(row["signalled_executions"] for row in rows)
