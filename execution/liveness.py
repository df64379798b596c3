"""The writes of those who keep watch: who is alive, and what nobody runs any more.

Workers sign on, beat and sign off; reconcilers advance the pulse, find what is lost,
late or unsent, and take it back. Each act is one call of a function in `sql/` and a
compare-and-set: of several who find the same, one makes it land.

Knows neither Celery nor Redis nor SQLAlchemy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from execution.database import Database
from execution.records import Completion, Recorded, read_completion
from execution.windows import Window, read_windows


@dataclass(frozen=True)
class LostStep:
    """A step that a sweep found, and the token it was held by."""

    execution_id: str
    position: int
    token: str


@dataclass(frozen=True)
class UnsentStep:
    """A ready step whose message is missing, and how often it was sent."""

    execution_id: str
    position: int
    publishes: int


class LivenessRecords:
    """Keeps the list of workers, and finds and takes back what they left."""

    def __init__(self, database: Database) -> None:
        """Write through `database`."""
        self._database = database

    # workers

    def register_worker(
        self,
        worker_id: str,
        *,
        hostname: str,
        pid: int,
        pool: str,
        slots: int,
        queues: Sequence[str],
        actions: str,
    ) -> datetime:
        """Enter a worker, and publish its actions (a JSON array) in the catalogue.

        Returns the database's time, for the first beat's `sampled_at`.
        """
        row = self._database.call(
            "register_worker",
            worker_id,
            hostname,
            pid,
            pool,
            slots,
            list(queues),
            actions,
        )
        seen_at: datetime = row["seen_at"]
        return seen_at

    def beat(
        self,
        worker_id: str,
        *,
        slots: int,
        in_hand: int,
        queues: Sequence[str],
        deliveries: Sequence[str],
        tokens: Sequence[str],
        sampled_at: datetime,
    ) -> datetime | None:
        """Say that the worker lives, and what it does.

        `in_hand` counts its messages, reserved ones included; `deliveries` are those
        that run; `tokens` are what its living processes show.
        `sampled_at` is what the previous beat returned. None means that the worker was
        declared dead and has to register anew.
        """
        row = self._database.query(
            "SELECT {schema}.beat(%s, %s, %s, %s, %s, %s::uuid[], %s) AS seen_at",
            (
                worker_id,
                slots,
                in_hand,
                list(queues),
                list(deliveries),
                list(tokens),
                sampled_at,
            ),
        )[0]
        seen_at: datetime | None = row["seen_at"]
        return seen_at

    def end_worker(self, worker_id: str) -> bool:
        """Take a worker off the list; what it still holds is given back at once."""
        return bool(self._database.call("end_worker", worker_id)["end_worker"])

    # reconciling

    def advance_pulse(self, most_seconds: float) -> bool:
        """Advance the pulse by the time that has passed, `most_seconds` at most."""
        return bool(self._database.call("advance_pulse", most_seconds)["advance_pulse"])

    def end_silent_workers(self, lease_seconds: float) -> int:
        """Declare dead who has been silent for `lease_seconds`; say how many."""
        row = self._database.call("end_silent_workers", lease_seconds)
        return int(row["end_silent_workers"])

    def find_lost_steps(self, most: int) -> tuple[LostStep, ...]:
        """Return up to `most` steps that nobody runs any more."""
        rows = self._database.call_all("lost_steps_of_all", most)
        return tuple(LostStep(*row.values()) for row in rows)

    def find_overdue_steps(self, worker_id: str) -> tuple[LostStep, ...]:
        """Return the steps of a worker that have outlived their timeout."""
        rows = self._database.call_all("overdue_steps", worker_id)
        return tuple(LostStep(*row.values()) for row in rows)

    def take_lost(self, step: LostStep, *, is_patient: bool) -> Completion | None:
        """Give a lost step back, or end it; None when it is not lost any more.

        Unless `is_patient`, an execution that somebody holds is passed over.
        """
        return self._take(step, "lost", is_patient=is_patient)

    def take_overdue(self, step: LostStep) -> Completion | None:
        """Take a step from an attempt that has outlived its timeout."""
        return self._take(step, "timeout", is_patient=True)

    def _take(
        self, step: LostStep, cause: str, *, is_patient: bool
    ) -> Completion | None:
        row = self._database.call(
            "take_step", step.execution_id, step.position, step.token, cause, is_patient
        )
        if row["outcome"] == "nothing":
            return None
        return read_completion(step.execution_id, Recorded.RECORDED, row)

    def find_unsent_steps(self, beat_seconds: float) -> tuple[UnsentStep, ...]:
        """Return ready steps whose message is missing while a slot is free."""
        rows = self._database.call_all("unsent_steps", beat_seconds)
        return tuple(UnsentStep(*row.values()) for row in rows)

    def mark_resent(self, step: UnsentStep) -> tuple[Window, ...]:
        """Count one more publication of a step and return what to send."""
        row = self._database.call(
            "resend_step", step.execution_id, step.position, step.publishes
        )
        return read_windows(step.execution_id, row["epoch"], row["windows"])

    def find_unfinished(self, most: int) -> tuple[str, ...]:
        """Return executions that lack nothing but their terminal state."""
        rows = self._database.call_all("unfinished_executions", most)
        return tuple(row["unfinished_executions"] for row in rows)
