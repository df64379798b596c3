"""The two threads of a worker's main process: its heartbeat and its reconciler.

The heartbeat says every few seconds that the worker lives and what it has in hand;
the reconciler looks for what is lost, and ends attempts of this worker that have
outlived their timeout. Both wait out an absent database, and neither touches the
event loop of the worker.
"""

import logging
import os
import signal
import threading
import uuid
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from celery.worker import state

from execution.actions import registry
from execution.celery.board import WorkerBoard
from execution.database import DatabaseBusyError
from execution.errors import DatabaseError
from execution.liveness import LivenessRecords
from execution.patience import ASK_TWICE
from execution.reconciler import Reconciler
from execution.settings import Settings

logger = logging.getLogger(__name__)

_T = TypeVar("_T")


@dataclass(frozen=True)
class WorkerFacts:
    """What a worker says of itself; the callables answer for this moment."""

    hostname: str
    pool: str
    count_slots: Callable[[], int]
    list_queues: Callable[[], Collection[str]]
    list_pids: Callable[[], Collection[int]]


class Heart:
    """Registers the worker and beats for it."""

    def __init__(
        self, liveness: LivenessRecords, board: WorkerBoard, facts: WorkerFacts
    ) -> None:
        """Beat for the worker that `facts` describes, with what `board` shows."""
        self._liveness = liveness
        self._board = board
        self._facts = facts
        self._seen_at: datetime | None = None
        self._has_left = False

    def beat(self) -> None:
        """Say that the worker lives; register it first, and when it was declared dead.

        Raises DatabaseError when PostgreSQL does not answer.
        """
        if self._seen_at is not None:
            self._seen_at = self._liveness.beat(
                self._board.worker_id,
                slots=self._facts.count_slots(),
                in_hand=len(copy_set(state.reserved_requests)),
                queues=sorted(self._facts.list_queues()),
                deliveries=[str(r.id) for r in copy_set(state.active_requests)],
                tokens=self._board.find_tokens(self._facts.list_pids()),
                sampled_at=self._seen_at,
            )
            if self._seen_at is None and not self._has_left:
                logger.warning("declared dead while alive; registering anew")
        if self._seen_at is None and not self._has_left:
            self._seen_at = self._register()

    def leave(self) -> None:
        """Register no more: a beat under way must not bring back who is leaving."""
        self._has_left = True

    def end(self) -> None:
        """Take the worker off the list."""
        if self._seen_at is not None:
            self._liveness.end_worker(self._board.worker_id)

    def _register(self) -> datetime:
        worker_id = str(uuid.uuid4())
        seen_at = self._liveness.register_worker(
            worker_id,
            hostname=self._facts.hostname,
            pid=os.getpid(),
            pool=self._facts.pool,
            slots=self._facts.count_slots(),
            queues=sorted(self._facts.list_queues()),
            actions=registry.to_json(),
        )
        # shown to the children only once the row is there: a claim must find it
        self._board.worker_id = worker_id
        logger.info("worker registered", extra={"worker_id": worker_id})
        return seen_at


class Watch:
    """Runs the reconciler, and ends this worker's own overdue attempts."""

    def __init__(
        self, liveness: LivenessRecords, reconciler: Reconciler, board: WorkerBoard
    ) -> None:
        """Watch over all executions, and over the attempts that `board` shows."""
        self._liveness = liveness
        self._reconciler = reconciler
        self._board = board

    def look(self) -> None:
        """Do one round.

        Raises DatabaseError when PostgreSQL does not answer.
        """
        done = self._reconciler.run_round()
        if done.dead_workers or done.lost_steps or done.resent_steps:
            logger.info("reconciled", extra={"round": done})
        self._end_overdue_attempts()

    def _end_overdue_attempts(self) -> None:
        for step in self._liveness.find_overdue_steps(self._board.worker_id):
            try:
                # the token goes first: nothing that the attempt writes is kept then
                completion = self._liveness.take_overdue(step)
            except DatabaseBusyError:
                continue
            if completion is None:
                continue
            logger.warning(
                "attempt outlived its timeout",
                extra={"execution_id": step.execution_id, "position": step.position},
            )
            self._kill_holder(step.token)
            self._reconciler.follow(step.execution_id, completion)

    def _kill_holder(self, token: str) -> None:
        pid = self._board.find_pid(token)
        if pid is None or pid == os.getpid():
            # a thread cannot be killed: it runs on, and what it writes is refused
            return
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return


class Pulse:
    """The threads: each calls its work again and again until `stop`."""

    def __init__(self, heart: Heart, watch: Watch, settings: Settings) -> None:
        """Prepare both threads; `start` begins them."""
        self._heart = heart
        self._stopping = threading.Event()
        self._threads = [
            self._build("plans-heart", heart.beat, settings.beat_seconds),
            self._build("plans-watch", watch.look, settings.tick_seconds),
        ]

    def start(self) -> None:
        """Begin both threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End both threads and sign the worker off; call it once nothing runs."""
        self._heart.leave()
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=5)
        try:
            ASK_TWICE(self._heart.end)
        except DatabaseError as error:
            # its silence will say the same, a lease later
            logger.warning("worker could not sign off", extra={"cause": str(error)})

    def _build(
        self, name: str, work: Callable[[], None], interval_seconds: float
    ) -> threading.Thread:
        def repeat() -> None:
            while True:
                try:
                    work()
                except DatabaseError as error:
                    logger.warning(
                        "waiting for PostgreSQL", extra={"cause": str(error)}
                    )
                except Exception:
                    # a thread that ended would make a healthy worker look dead
                    logger.exception("%s failed", name)
                if self._stopping.wait(interval_seconds):
                    return

        return threading.Thread(target=repeat, name=name, daemon=True)


def copy_set(changing: Iterable[_T]) -> list[_T]:
    """Return the members of a set that another thread changes meanwhile."""
    while True:
        try:
            return list(changing)
        except RuntimeError:
            # it changed while it was copied
            continue
