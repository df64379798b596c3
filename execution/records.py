"""The writes of those who run steps, each one call of a function in `sql/`.

Every method is one round trip and one transaction, fenced by a lease token or another
compare-and-set, and says in what it returns whether it landed. Callers draw the tokens
beforehand: after an unknown commit the same call can be made again.

Knows neither Celery nor Redis nor SQLAlchemy.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from .answers import (
    Claim,
    ClaimAnswer,
    ClaimOutcome,
    Completion,
    Ending,
    ExpandAnswer,
    Expanded,
    HeldStep,
    Recorded,
    RepeatAnswer,
    Repeated,
    Retried,
    RetryAnswer,
    ReuseAnswer,
    Reused,
    Rider,
    Run,
    Saved,
    SleepAnswer,
    Slept,
    read_claim,
    read_completion,
    read_outcomes,
)
from .caching import CachePlace
from .children import ChildRecords
from .database import Database
from .drains import DrainRecords, YieldAnswer, YieldCause, Yielded
from .payloads import PayloadStore
from .settings import Settings
from .signal_records import SignalRecords
from .states import EndReason, ExecutionStatus, StepStatus
from .windows import read_windows


class StepRecords:
    """Claims steps, records how they end, and finishes executions."""

    def __init__(
        self, database: Database, payloads: PayloadStore | None = None
    ) -> None:
        """Write through `database`; what is large is read from `payloads`."""
        self._database = database
        self._payloads = payloads or PayloadStore.from_settings(Settings())
        self.children = ChildRecords(database)
        self.drains = DrainRecords(database)
        self.signals = SignalRecords(database)

    # claims and their ends

    def claim(
        self,
        execution_id: str,
        positions: Sequence[int],
        *,
        epoch: int,
        token: str,
        worker_id: str,
        delivery: str,
    ) -> ClaimAnswer:
        """Take the first step of `positions` that may run, under `token`."""
        row = self._database.call(
            "claim_step",
            execution_id,
            list(positions),
            epoch,
            token,
            worker_id,
            delivery,
        )
        outcome = ClaimOutcome(row["outcome"])
        claim = None
        if outcome is ClaimOutcome.CLAIMED:
            run = Run(
                execution_id,
                row["plan"],
                row["parameters"],
                row["execution"],
                row["has_parent"],
            )
            claim = read_claim(
                run, token, row["claim"], row["variables"], self._payloads.read
            )
        return ClaimAnswer(
            outcome, row["detail"], row["skipped"], row["last_seq"], claim
        )

    def complete(
        self,
        held: HeldStep,
        status: StepStatus,
        *,
        result: str | None = None,
        recorded_input: str | None = None,
        error: str | None = None,
        variables: str = "{}",
        covered: int | None = None,
        epoch: int,
        rider: Rider | None = None,
        place: CachePlace | None = None,
        decision: str | None = None,
        guards: tuple[str, ...] = (),
    ) -> Completion:
        """Record how the last attempt of a step ended; values are JSON texts.

        `covered` is the position that the message's own chain sends next, in `epoch`.
        A `rider` claims after a success, in the same transaction, what it can go on to.
        With a `place`, the result of a success is stored there, too. A `decision` is
        a recovery strategy's. `guards` are dependencies that were used well, or failed.
        """
        row = self._database.call(
            "complete_step",
            held.execution_id,
            held.position,
            held.token,
            status.value,
            result,
            recorded_input,
            error,
            variables,
            covered,
            epoch,
            *_list_rare(rider, place, decision, guards),
        )
        outcome = Recorded(row["outcome"])
        claim = self._read_next(rider, row)
        return read_completion(held.execution_id, outcome, row, next_claim=claim)

    def _read_next(self, rider: Rider | None, row: Mapping[str, Any]) -> Claim | None:
        if rider is None or row["next"] is None:
            return None
        return read_claim(
            rider.run, rider.token, row["next"], row["variables"], self._payloads.read
        )

    def retry(
        self,
        held: HeldStep,
        *,
        attempt: int,
        recorded_input: str | None,
        error: str,
        wait_seconds: float,
        parks: bool,
        blamed: tuple[str, ...] = (),
    ) -> RetryAnswer:
        """Count a failed `attempt`; another one follows after `wait_seconds`.

        It begins in place, or, if the step `parks`, is sent again when its time has
        come: the step is not held any more then. So it does where something is paused
        that it uses. `blamed` are the dependencies that it failed of.
        """
        row = self._database.call(
            "retry_step",
            held.execution_id,
            held.position,
            held.token,
            attempt,
            recorded_input,
            error,
            wait_seconds,
            parks,
            *([list(blamed)] if blamed else ()),
        )
        return RetryAnswer(
            Retried(row["outcome"]),
            row["attempt"],
            row["last_seq"],
            read_windows(held.execution_id, row["epoch"], row["windows"]),
        )

    def sleep(
        self,
        held: HeldStep,
        *,
        recorded_input: str,
        seconds: float | None,
        until: datetime | None,
    ) -> SleepAnswer:
        """Let a step sleep for `seconds`, or `until` a moment: it is not held then."""
        row = self._database.call(
            "sleep_step",
            held.execution_id,
            held.position,
            held.token,
            recorded_input,
            seconds,
            until,
        )
        return SleepAnswer(
            Slept(row["outcome"]),
            row["last_seq"],
            read_windows(held.execution_id, row["epoch"], row["windows"]),
        )

    def reuse(self, held: HeldStep, place: CachePlace) -> ReuseAnswer:
        """Look for a result that the step may use instead of running."""
        row = self._database.call(
            "reuse_result",
            held.execution_id,
            held.position,
            held.token,
            place.digest,
            place.ttl_seconds,
        )
        return ReuseAnswer(Reused(row["outcome"]), row["result"], row["last_seq"])

    def expand(self, held: HeldStep, *, attempt: int, items: str) -> ExpandAnswer:
        """Let a step wait for a step for each of `items`, a JSON array."""
        row = self._database.call(
            "expand_step", held.execution_id, held.position, held.token, attempt, items
        )
        return ExpandAnswer(
            Expanded(row["outcome"]),
            row["last_seq"],
            read_windows(held.execution_id, row["epoch"], row["windows"]),
        )

    def repeat(
        self, held: HeldStep, *, index: int, epoch: int, rider: Rider | None = None
    ) -> RepeatAnswer:
        """Let a loop wait for its iteration `index`, counted from 0.

        A `rider` claims it in the same transaction, for a message of `epoch`.
        """
        row = self._database.call(
            "repeat_step",
            held.execution_id,
            held.position,
            held.token,
            index,
            epoch,
            *((rider.token, rider.worker_id, rider.delivery) if rider else ()),
        )
        claim = None
        if rider is not None and row["next"] is not None:
            claim = self._read_next(rider, row)
        return RepeatAnswer(
            Repeated(row["outcome"]),
            row["last_seq"],
            read_windows(held.execution_id, row["epoch"], row["windows"]),
            claim,
        )

    # what a running step tells

    def report_progress(
        self,
        held: HeldStep,
        percent: float,
        message: str | None,
        *,
        chunks: int | None,
        records: int | None,
    ) -> int | None:
        """Store progress; return the event's number, None when the token is stale."""
        row = self._database.call(
            "report_progress",
            held.execution_id,
            held.position,
            held.token,
            percent,
            message,
            chunks,
            records,
        )
        return row["last_seq"] if row["landed"] else None

    def save_checkpoint(self, held: HeldStep, data: str) -> Saved:
        """Store what a step has done so far; hear whether it is asked to yield."""
        row = self._database.call(
            "save_checkpoint", held.execution_id, held.position, held.token, data
        )
        return Saved(row["outcome"])

    def is_wanted_to_yield(self, held: HeldStep) -> bool:
        """Say whether the attempt is asked to yield, or no longer ours."""
        row = self._database.call(
            "is_wanted_to_yield", held.execution_id, held.position, held.token
        )
        return bool(row["is_wanted_to_yield"])

    def yield_step(
        self,
        held: HeldStep,
        *,
        attempt: int,
        cause: YieldCause,
        recorded_input: str | None,
    ) -> YieldAnswer:
        """Give a step back, for an attempt that begins where its checkpoint says."""
        row = self._database.call(
            "yield_step",
            held.execution_id,
            held.position,
            held.token,
            attempt,
            cause.value,
            recorded_input,
        )
        return YieldAnswer(
            Yielded(row["outcome"]),
            row["last_seq"],
            read_windows(held.execution_id, row["epoch"], row["windows"]),
        )

    def append_observations(self, held: HeldStep, logs: str, metrics: str) -> bool:
        """Store log lines and metrics; say whether the token still held."""
        row = self._database.call(
            "append_observations",
            held.execution_id,
            held.position,
            held.token,
            logs,
            metrics,
        )
        return bool(row["landed"])

    def is_unwanted(self, held: HeldStep) -> bool:
        """Say whether the attempt should stop: cancelled, or no longer ours."""
        row = self._database.call(
            "is_unwanted", held.execution_id, held.position, held.token
        )
        return bool(row["is_unwanted"])

    # the end of an execution

    def read_ending(self, execution_id: str) -> Ending | None:
        """Return what the result is made of; None unless the end is due."""
        row = self._database.call("read_ending", execution_id)
        if row["reason"] is None:
            return None
        scope = {
            "parameters": row["parameters"],
            "execution": row["execution"],
            "steps": read_outcomes(row["steps"], self._payloads.read),
        }
        return Ending(
            EndReason(row["reason"]),
            row["template"],
            scope,
            row["error"],
        )

    def finish(
        self,
        execution_id: str,
        status: ExecutionStatus,
        *,
        result: str | None,
        error: str | None,
    ) -> tuple[bool, int | None]:
        """Reach the terminal state; say whether it landed, and the last event."""
        row = self._database.call(
            "finish_execution", execution_id, status.value, result, error
        )
        return row["landed"], row["last_seq"]

    def finish_stopped(
        self, execution_id: str
    ) -> tuple[bool, ExecutionStatus | None, int | None]:
        """Finish what was stopped and needs no result; its state, and last event."""
        row = self._database.call("finish_stopped", execution_id)
        status = row["status"] and ExecutionStatus(row["status"])
        return row["landed"], status, row["last_seq"]


def _list_rare(
    rider: Rider | None,
    place: CachePlace | None,
    decision: str | None,
    guards: tuple[str, ...],
) -> list[object]:
    """Return the last arguments of a completion, as far as there are any."""
    rare: list[object] = [None] * 7
    if rider is not None:
        rare[:3] = rider.token, rider.worker_id, rider.delivery
    if place is not None:
        rare[3:5] = place.digest, place.ttl_seconds
    rare[5] = decision
    rare[6] = list(guards) or None
    while rare and rare[-1] is None:
        rare.pop()
    return rare
