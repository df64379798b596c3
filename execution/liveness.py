"""The writes of those who keep watch: who is alive, and what nobody runs any more.

Workers sign on, beat and sign off; reconcilers advance the pulse, find what is lost,
late or unsent, and take it back. Each act is one call of a function in `sql/` and a
compare-and-set: of several who find the same, one makes it land.

Knows neither Celery nor Redis nor SQLAlchemy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .answers import Completion, Recorded, read_completion
from .batch_records import BatchRecords
from .database import Database
from .dependency_records import DependencyRecords
from .overdue import OverdueStep
from .schedule_records import ScheduleRecords
from .sweeps import ExpiredStep, LostStep, Sweep, UnsentStep, read_sweep
from .windows import Window, read_windows


@dataclass(frozen=True)
class Beat:
    """The answer to a beat: when it was, by the database, and which one."""

    seen_at: datetime
    beats: int


@dataclass(frozen=True)
class Awakening:
    """Steps of an execution that were made ready, and what to send."""

    steps: int
    last_seq: int
    windows: tuple[Window, ...]


@dataclass(frozen=True)
class Start:
    """A delayed execution whose time has come, and what to send.

    `held_key` is the key that it waits for now; without open steps it is to be
    finished.
    """

    last_seq: int
    open_steps: int
    windows: tuple[Window, ...]
    held_key: str | None


@dataclass(frozen=True)
class Admission:
    """Who was given a key, and what to send; or whom newer ones with it replace.

    `is_more` says that asking again may find more.
    """

    execution_id: str | None
    last_seq: int | None
    windows: tuple[Window, ...]
    superseded: tuple[str, ...]
    is_more: bool


@dataclass(frozen=True)
class Expiry:
    """An execution that began to end, for its deadline or for a newer one."""

    last_seq: int
    open_steps: int


class LivenessRecords:
    """Keeps the list of workers, and finds and takes back what they left."""

    def __init__(self, database: Database) -> None:
        """Write through `database`."""
        self._database = database
        self.batches = BatchRecords(database)
        self.dependencies = DependencyRecords(database)
        self.schedules = ScheduleRecords(database)

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
        grace_seconds: float = 30.0,
        lease_seconds: float | None = None,
    ) -> Beat:
        """Enter a worker, and publish its actions (a JSON array) in the catalogue.

        What it runs has `grace_seconds` to end after a cancel that does not say
        otherwise. It may be silent for `lease_seconds`, by default for as long as who
        looks for the silent may be. Returns what its first beat follows.
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
            grace_seconds,
            lease_seconds,
        )
        return Beat(row["seen_at"], 0)

    def beat(
        self,
        worker_id: str,
        *,
        slots: int,
        in_hand: int,
        queues: Sequence[str],
        deliveries: Sequence[str],
        tokens: Sequence[str],
        previous: Beat,
        rounds: str | None = None,
    ) -> Beat | None:
        """Say that the worker lives, and what it does.

        `in_hand` counts its messages, reserved ones included; `deliveries` are those
        that run; `tokens` are what its living processes show. All that is looked at
        after `previous` was answered. `rounds` is a JSON object in which its reconciler
        tells of itself. None means that the worker was declared dead and has to
        register anew.
        """
        row = self._database.query(
            "SELECT * FROM {schema}.beat(%s, %s, %s, %s, %s, %s::uuid[], %s, %s, %s)",
            (
                worker_id,
                slots,
                in_hand,
                list(queues),
                list(deliveries),
                list(tokens),
                previous.seen_at,
                previous.beats,
                rounds,
            ),
        )[0]
        return Beat(row["seen_at"], row["beats"]) if row["seen_at"] else None

    def end_worker(self, worker_id: str) -> bool:
        """Take a worker off the list; what it still holds is given back at once."""
        return bool(self._database.call("end_worker", worker_id)["end_worker"])

    # reconciling

    def sweep(
        self,
        worker_id: str,
        *,
        tick_seconds: float,
        lease_seconds: float,
        beat_seconds: float,
        most: int,
    ) -> Sweep:
        """Advance the pulse by a tick at most, and look for whatever there is to do.

        Declares dead who has been silent for a lease. Up to `most` of each are found;
        the overdue steps are those of `worker_id`, which are its own to end, and those
        of others that should have ended them a lease ago.
        """
        row = self._database.call(
            "sweep", worker_id, tick_seconds, lease_seconds, beat_seconds, most
        )
        return read_sweep(row)

    def take_lost(self, step: LostStep, *, is_patient: bool) -> Completion | None:
        """Give a lost step back, or end it; None when it is not lost any more.

        Unless `is_patient`, an execution that somebody holds is passed over.
        """
        return self._take(step, "lost", wait_seconds=0.0, is_patient=is_patient)

    def take_overdue(
        self, step: OverdueStep, *, wait_seconds: float
    ) -> Completion | None:
        """Take a step from an attempt that has outlived its time.

        The next attempt, if there is one, begins after `wait_seconds`.
        """
        return self._take(step, step.cause, wait_seconds=wait_seconds, is_patient=True)

    def find_told(self, worker_id: str) -> tuple[str, ...]:
        """Return the tokens of a worker's steps that are told to end."""
        rows = self._database.call_all("told_tokens", worker_id)
        return tuple(str(row["told_tokens"]) for row in rows)

    def is_held(self, step: OverdueStep) -> bool:
        """Say whether nobody took it: it runs, or has succeeded, under that token."""
        row = self._database.call(
            "is_held", step.execution_id, step.position, step.token
        )
        return bool(row["is_held"])

    def _take(
        self,
        step: LostStep | OverdueStep,
        cause: str,
        *,
        wait_seconds: float,
        is_patient: bool,
    ) -> Completion | None:
        row = self._database.call(
            "take_step",
            step.execution_id,
            step.position,
            step.token,
            cause,
            wait_seconds,
            is_patient,
        )
        return _read_ended(step.execution_id, row)

    def mark_resent(self, step: UnsentStep) -> tuple[Window, ...]:
        """Count one more publication of a step and return what to send."""
        row = self._database.call(
            "resend_step", step.execution_id, step.position, step.publishes
        )
        return read_windows(step.execution_id, row["epoch"], row["windows"])

    def find_unsent_executions(self, most: int) -> tuple[str, ...]:
        """Return executions with steps that were never sent, and that nobody sends."""
        rows = self._database.call_all("unsent_executions", most)
        return tuple(row["unsent_executions"] for row in rows)

    def find_relaying_executions(self, most: int) -> tuple[str, ...]:
        """Return executions of which their parent or their children have to hear."""
        rows = self._database.call_all("relaying_executions", most)
        return tuple(row["relaying_executions"] for row in rows)

    def find_unfinished_executions(self, most: int) -> tuple[str, ...]:
        """Return executions whose last step has ended, and that nobody has finished."""
        rows = self._database.call_all("unfinished_executions", most)
        return tuple(str(row["unfinished_executions"]) for row in rows)

    def mark_sent(self, execution_id: str) -> tuple[Window, ...]:
        """Count what was never sent of an execution as sent; return what to send."""
        row = self._database.call("send_steps", execution_id)
        return read_windows(execution_id, row["epoch"], row["windows"])

    # keys

    def find_due_keys(self, most: int) -> tuple[str, ...]:
        """Return keys under which an execution can begin, or is replaced."""
        rows = self._database.call_all("due_keys", most)
        return tuple(row["due_keys"] for row in rows)

    def admit_next(self, key: str) -> Admission:
        """Let the next execution that waits for a key begin, if there is room."""
        row = self._database.call("admit_next", key)
        admitted = row["execution_id"] and str(row["execution_id"])
        return Admission(
            execution_id=admitted,
            last_seq=row["last_seq"],
            windows=read_windows(admitted, row["epoch"], row["windows"])
            if admitted
            else (),
            superseded=tuple(row["superseded"]),
            is_more=row["is_more"],
        )

    def supersede(self, execution_id: str) -> Expiry | None:
        """End an execution that a newer one replaces; None when it is not so."""
        row = self._database.call("supersede_execution", execution_id)
        if not row["landed"]:
            return None
        return Expiry(row["last_seq"], row["open_steps"])

    # time

    def wake_steps(self, execution_id: str) -> Awakening | None:
        """Make the due steps of an execution ready; None when there are none."""
        return self._wake("wake_steps", execution_id)

    def find_resumable_executions(self, most: int) -> tuple[str, ...]:
        """Return executions with steps that are parked, and held no more."""
        rows = self._database.call_all("resumable_executions", most)
        return tuple(row["resumable_executions"] for row in rows)

    def unpark_steps(self, execution_id: str) -> Awakening | None:
        """Make the parked steps of an execution ready that are held no more.

        None when there are none, or somebody has locked it.
        """
        return self._wake("unpark_steps", execution_id)

    def _wake(self, function: str, execution_id: str) -> Awakening | None:
        row = self._database.call(function, execution_id)
        if not row["woken"]:
            return None
        windows = read_windows(execution_id, row["epoch"], row["windows"])
        return Awakening(row["woken"], row["last_seq"], windows)

    def start_delayed(self, execution_id: str) -> Start | None:
        """Let a delayed execution begin; None when its time has not come."""
        row = self._database.call("start_delayed", execution_id)
        if not row["landed"]:
            return None
        windows = read_windows(execution_id, row["epoch"], row["windows"])
        return Start(row["last_seq"], row["open_steps"], windows, row["held_key"])

    def expire_execution(self, execution_id: str) -> Expiry | None:
        """Let an execution end for its deadline; None when it is not due."""
        row = self._database.call("expire_execution", execution_id)
        if not row["landed"]:
            return None
        return Expiry(row["last_seq"], row["open_steps"])

    def expire_step(self, step: ExpiredStep) -> Completion | None:
        """Time out a step that does not run; None when it is not due."""
        row = self._database.call("expire_step", step.execution_id, step.position)
        return _read_ended(step.execution_id, row)

    # messages of the database

    def wait_for_unsent(self, seconds: float, stirred: int | None = None) -> bool:
        """Wait until a transaction leaves steps that nobody sends; say whether one did.

        For `seconds` at most, or until the file `stirred` can be read. What was
        committed before the first call goes unheard.
        """
        return self._database.wait_for_notice("plans_ready", seconds, stirred)


def _read_ended(execution_id: str, row: Mapping[str, Any]) -> Completion | None:
    if row["outcome"] == "nothing":
        return None
    return read_completion(execution_id, Recorded.RECORDED, row)
