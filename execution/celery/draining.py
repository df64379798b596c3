"""Gives back what a worker that was told to stop does not finish.

    told to stop ── what waits goes back ──► what runs may end, until the limit
        │                                       │
        └────────── told once more ─────────────┴──► the rest goes back, and is cut

Promises: a step is taken from its attempt in PostgreSQL before its process is ended, so
that nothing it still does is recorded, and is sent to others at once; it counts neither
as a failure nor as a loss. What cannot be ended, a thread, is said, and refused. It
touches neither the event loop of the worker nor what is not ours. It must not know what
a step does.
"""

import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from celery.worker import state

from ..answers import HeldStep
from ..database import DatabaseBusyError, DatabaseUnavailableError
from ..dispatcher import STEP_TASK, ExecutionDispatcher
from ..drains import DrainRecords
from ..errors import DatabaseError
from ..reconciler import Reconciler
from .board import WorkerBoard
from .facts import WorkerFacts
from .heart import copy_set
from .processes import has_ended

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.1
_MOST_SECONDS_TO_CUT = 5.0
"""How long PostgreSQL may be away, or an execution locked, before it is given up."""
_POOLS_OF_THREADS = frozenset({"thread", "solo"})

_STOP = b"s"
_STOP_NOW = b"n"
_LEAVE = b"l"


class Drain:
    """The thread that gives back, once it is told to."""

    def __init__(
        self,
        records: DrainRecords,
        reconciler: Reconciler,
        dispatcher: ExecutionDispatcher,
        board: WorkerBoard,
        facts: WorkerFacts,
        *,
        kill: Callable[[str], None],
        end: Callable[[], None],
    ) -> None:
        """Give back for the worker that `facts` describes what `board` shows.

        `kill(token)` ends the process that shows it; `end()` signs the worker off, and
        is called before this process ends itself.
        """
        self._records = records
        self._reconciler = reconciler
        self._dispatcher = dispatcher
        self._board = board
        self._facts = facts
        self._kill = kill
        self._end = end
        self._seconds = 0.0
        self._returned: set[str] = set()
        self._is_asked = False
        self.is_over = False
        """Whether nothing that is ours is held any more."""
        # written to in a handler of signals: a lock could be held by who it interrupts
        self._reader, self._writer = os.pipe()
        self._thread = threading.Thread(
            target=self._run, name="plans-drain", daemon=True
        )

    def start(self) -> None:
        """Begin to wait for the word to stop."""
        self._thread.start()

    def ask(self, seconds: float) -> None:
        """Let what runs go on for `seconds`; whoever asks once more ends it now.

        No process of this worker begins a step from now on, and who yields does. Safe
        in a handler of signals.
        """
        self._board.stop()
        self._seconds = seconds
        word = _STOP_NOW if self._is_asked or seconds <= 0 else _STOP
        self._is_asked = True
        os.write(self._writer, word)

    def await_end(self) -> None:
        """Wait until all is given back, for as long as that may take at most.

        Safe in a handler of signals, which may be interrupted by itself.
        """
        until = time.monotonic() + _MOST_SECONDS_TO_CUT
        while not self.is_over and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS / 5)

    def stop(self) -> None:
        """Give back what has come since, when nothing runs any more; end the thread."""
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            os.write(self._writer, _LEAVE)
            self._thread.join(timeout=_MOST_SECONDS_TO_CUT)
        if self._is_asked:
            self._return_messages()

    def _run(self) -> None:
        try:
            word = os.read(self._reader, 1)
            if word != _LEAVE:
                self._drain(word)
        except Exception:
            # nobody would see it, and who waits must not wait for ever
            logger.exception("plans-drain failed")
        finally:
            self.is_over = True

    def _drain(self, word: bytes) -> None:
        self._return_messages()
        if word == _STOP:
            word = self._await_steps()
        if word == _LEAVE:
            return
        self._cut_steps()
        self.is_over = True
        if self._facts.pool in _POOLS_OF_THREADS and self._runs_something():
            self._leave_threads()

    def _await_steps(self) -> bytes:
        """Wait for what runs, until the limit or another word, which is returned."""
        until = time.monotonic() + self._seconds
        while time.monotonic() < until and self._runs_something():
            ready, _, _ = select.select([self._reader], [], [], _LOOK_SECONDS)
            if ready:
                return os.read(self._reader, 1)
        return _STOP_NOW

    def _runs_something(self) -> bool:
        # what Celery forgot when it lost its broker still runs, and shows its token
        return bool(self._board.find_tokens(self._facts.list_pids())) or any(
            request.type == STEP_TASK for request in copy_set(state.active_requests)
        )

    def _cut_steps(self) -> None:
        """Take all steps that this worker runs, and end their processes."""
        until = time.monotonic() + _MOST_SECONDS_TO_CUT
        while time.monotonic() < until:
            try:
                held = self._records.find_held(self._board.worker_id)
                for step in held:
                    self._try_cut(step)
                if not held and not self._shows_more():
                    break
            except DatabaseUnavailableError as error:
                logger.warning("waiting for PostgreSQL", extra={"cause": str(error)})
            time.sleep(_LOOK_SECONDS)
        else:
            self._give_up()

    def _give_up(self) -> None:
        """End what could not be taken: others will take it for lost."""
        logger.warning("the worker ends before all of its steps are given back")
        for token in self._board.find_tokens(self._facts.list_pids()):
            self._kill(token)

    def _shows_more(self) -> bool:
        """Say whether a process may just be about to claim a step.

        A thread that was cut goes on to show what it held.
        """
        if self._facts.pool in _POOLS_OF_THREADS:
            return False
        # in a handler of signals Celery does not hear of the processes that were killed
        pids = {pid for pid in self._facts.list_pids() if not has_ended(pid)}
        return bool(self._board.find_tokens(pids))

    def _try_cut(self, step: HeldStep) -> None:
        try:
            self._cut(step)
        except DatabaseBusyError as error:
            # a stranger holds its row: others must not wait for that
            logger.warning("execution is locked", extra={"cause": str(error)})

    def _cut(self, step: HeldStep) -> None:
        completion = self._records.take(step)
        if completion is None and self._records.is_held(step):
            # it has just ended by itself
            return
        # also when the answer to an earlier call was lost
        self._kill(step.token)
        if completion is not None:
            self._reconciler.follow(step.execution_id, completion)
        logger.warning(
            "step given back: its worker stops",
            extra={"execution_id": step.execution_id, "position": step.position},
        )

    def _leave_threads(self) -> None:
        """End this process if nothing but cut steps runs in it: no thread obeys."""
        requests = list(state.requests.values())
        if any(request.type != STEP_TASK for request in requests):
            logger.warning(
                "steps were given back, but threads cannot be ended: what they write"
                " is refused, and the worker ends when they do"
            )
            return
        logger.warning(
            "ending the process, and with it the threads of steps given back"
        )
        self._end()
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)

    def _return_messages(self) -> None:
        """Send to others what this worker has reserved, and does not run any more."""
        running = {request.id for request in copy_set(state.active_requests)}
        for request in list(state.requests.values()):
            if (
                request.type != STEP_TASK
                or request.id in running
                or request.id in self._returned
                or request.time_start is not None
            ):
                continue
            self._returned.add(request.id)
            try:
                self._return(request)
            except DatabaseError as error:
                # missed by the reconcilers a beat later
                logger.warning("message not returned", extra={"cause": str(error)})

    def _return(self, request: Any) -> None:
        match request.args:
            case [str(execution_id), [*positions], int(epoch)]:
                windows = self._records.return_message(execution_id, positions, epoch)
                self._dispatcher.publish(windows)
            case _:
                # forged: its claim would refuse it as well
                pass
