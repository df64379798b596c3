"""The two threads of a worker's main process: its heartbeat and its reconciler.

The heartbeat says every few seconds that the worker lives and what it has in hand;
the reconciler looks for what is lost, and ends attempts of this worker that have
outlived their timeout. Both wait out an absent database, and neither touches the
event loop of the worker.
"""

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from typing import TypeVar

from celery.worker import state

from ..actions import registry
from ..errors import DatabaseError
from ..liveness import Beat, LivenessRecords
from ..patience import ASK_TWICE
from ..settings import Settings
from .board import WorkerBoard
from .facts import WorkerFacts
from .vitals import Vitals
from .watch import Watch

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_BREATH_SECONDS = 0.05
_LOOKS = 5
_LOOK_SECONDS = 0.02


class Heart:
    """Registers the worker and beats for it."""

    def __init__(
        self,
        liveness: LivenessRecords,
        board: WorkerBoard,
        facts: WorkerFacts,
        watch: Watch,
        settings: Settings,
    ) -> None:
        """Beat for the worker that `facts` describes, with what `board` shows."""
        self._settings = settings
        self._liveness = liveness
        self._watch = watch
        self._board = board
        self._facts = facts
        self._last: Beat | None = None
        self._has_left = False

    def beat(self) -> None:
        """Say that the worker lives; register it first, and when it was declared dead.

        Raises DatabaseError when PostgreSQL does not answer.
        """
        self._board.is_watched = self._facts.is_watched()
        if self._last is not None:
            self._last = self._liveness.beat(
                self._board.worker_id,
                slots=self._facts.count_slots(),
                in_hand=self._count_in_hand(),
                # who is to stop serves none: nobody counts on its slots any more
                queues=[]
                if self._board.is_stopping()
                else sorted(self._facts.list_queues()),
                deliveries=[str(r.id) for r in copy_set(state.active_requests)],
                tokens=self._find_tokens(),
                previous=self._last,
                rounds=json.dumps(self._watch.describe()),
            )
            if self._last is None and not self._has_left:
                logger.warning("declared dead while alive; registering anew")
        if self._last is None and not self._has_left:
            self._last = self._register()

    def _find_tokens(self) -> tuple[str, ...]:
        tokens = self._board.find_tokens(self._facts.list_pids())
        self._watch.heed(tokens)
        return tokens

    def _count_in_hand(self) -> int:
        # between two short messages of a long backlog a slot is free for a moment, and
        # the reconcilers would take what waits behind it for lost
        counts = []
        for _ in range(_LOOKS):
            counts.append(len(copy_set(state.reserved_requests)))
            time.sleep(_LOOK_SECONDS)
        return max(counts)

    def leave(self) -> None:
        """Register no more: a beat under way must not bring back who is leaving."""
        self._has_left = True

    def end(self) -> None:
        """Take the worker off the list."""
        if self._last is not None:
            self._liveness.end_worker(self._board.worker_id)

    def _register(self) -> Beat:
        worker_id = str(uuid.uuid4())
        registered = self._liveness.register_worker(
            worker_id,
            hostname=self._facts.hostname,
            pid=os.getpid(),
            pool=self._facts.pool,
            slots=self._facts.count_slots(),
            queues=sorted(self._facts.list_queues()),
            actions=registry.to_json(),
            grace_seconds=self._settings.cancel_grace_seconds,
            lease_seconds=self._settings.lease_seconds,
        )
        # shown to the children only once the row is there: a claim must find it
        self._board.worker_id = worker_id
        logger.info("worker registered", extra={"worker_id": worker_id})
        return registered


class Pulse:
    """The threads: each calls its work again and again until `stop`."""

    def __init__(
        self, heart: Heart, watch: Watch, settings: Settings, vitals: Vitals
    ) -> None:
        """Prepare both threads; `start` begins them. `vitals` hear how beats go."""
        self._heart = heart
        self._vitals = vitals
        self._watch = watch
        self._stopping = threading.Event()
        # readable once a thread that listens to PostgreSQL should end
        self._stir_reader, self._stir_writer = os.pipe()
        self._threads = [
            self._build("plans-heart", self._beat, settings.beat_seconds, self._rest),
            self._build("plans-watch", watch.look, settings.tick_seconds, self._listen),
        ]
        self._beat_seconds = settings.beat_seconds

    def start(self) -> None:
        """Begin both threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End both threads and sign the worker off; call it once nothing runs."""
        self._heart.leave()
        self._stopping.set()
        os.write(self._stir_writer, b"!")
        for thread in self._threads:
            thread.join(timeout=5)
        if any(thread.is_alive() for thread in self._threads):
            # it hangs in a call: PostgreSQL would not answer this one either
            logger.warning("worker could not sign off")
            return
        try:
            ASK_TWICE(self._heart.end)
        except DatabaseError as error:
            # its silence will say the same, a lease later
            logger.warning("worker could not sign off", extra={"cause": str(error)})

    def _beat(self) -> float:
        with self._vitals.hear_beat():
            self._heart.beat()
        return self._beat_seconds

    def _build(
        self,
        name: str,
        work: Callable[[], float],
        retry_seconds: float,
        rest: Callable[[float], None],
    ) -> threading.Thread:
        """Build a thread in which `work` says each time how long to rest."""

        def repeat() -> None:
            while not self._stopping.is_set():
                try:
                    rest(work())
                except DatabaseError as error:
                    logger.warning(
                        "waiting for PostgreSQL", extra={"cause": str(error)}
                    )
                    self._rest(retry_seconds)
                except Exception:
                    # a thread that ended would make a healthy worker look dead
                    logger.exception("%s failed", name)
                    self._rest(retry_seconds)

        return threading.Thread(target=repeat, name=name, daemon=True)

    def _rest(self, seconds: float) -> None:
        self._stopping.wait(seconds)

    def _listen(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping.is_set() and (left := until - time.monotonic()) > 0:
            if self._watch.listen(left, self._stir_reader):
                # a stream of notices is answered by one look for several
                self._rest(_BREATH_SECONDS)


def copy_set(changing: Iterable[_T]) -> list[_T]:
    """Return the members of a set that another thread changes meanwhile."""
    while True:
        try:
            return list(changing)
        except RuntimeError:
            # it changed while it was copied
            continue
