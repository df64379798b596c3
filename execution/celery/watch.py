"""Runs a worker's reconciler, and ends attempts of this worker that are overdue.

Code whose execution is cancelled is told so. Code that has outlived its timeout, or the
time that it was given after a cancel, is asked to end; what does not is taken from it,
and its process killed, with all that it has started.

While this worker has nothing to do, it looks the less often the more others look. It
works in a thread of its own (see `heart`), and must not touch the event loop of the
worker.
"""

import logging
import os
import random
import signal
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

from celery.worker import state

from ..database import DatabaseBusyError
from ..liveness import LivenessRecords
from ..overdue import OverdueCause, OverdueStep
from ..reconciler import Reconciler, Round
from ..release import find_release
from ..settings import Settings
from ..sql import functions_digest
from ..sweeps import Sweep
from .board import WorkerBoard
from .facts import WorkerFacts
from .interruption import INTERRUPTIBLE_POOLS, interrupt
from .processes import kill_descendants

logger = logging.getLogger(__name__)

_GRACE_SECONDS = 2.0
"""How long code may take to end after it was asked to, before its process is killed."""
_LOOKS_A_TICK = 4
"""How many looks a tick idle workers come to together, if there are that many."""
_MOST_TICKS = 4
"""How many ticks an idle worker lets pass between two looks, at most."""
_JITTER = 0.1
"""By what share that differs: who began together must not look together for ever."""


_CUTS = {
    OverdueCause.TIMEOUT: "attempt outlived its timeout",
    OverdueCause.CANCEL: "attempt outlived the cancel of its execution",
}


class Watch:
    """Runs the reconciler, and ends this worker's own overdue attempts."""

    def __init__(
        self,
        liveness: LivenessRecords,
        reconciler: Reconciler,
        board: WorkerBoard,
        facts: WorkerFacts,
        settings: Settings,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """Watch over all executions, and over the attempts that `board` shows.

        `draw` returns a number between two, by chance.
        """
        self._liveness = liveness
        self._reconciler = reconciler
        self._board = board
        self._facts = facts
        self._settings = settings
        self._draw = draw
        self._rests_until = float("-inf")
        self._shown_tokens: Collection[str] = ()
        self._asked: dict[tuple[str, int], float] = {}
        self._ended: dict[str, OverdueStep] = {}
        self._totals = self._last_deeds = Round()
        self._acted_at: float | None = None
        self._looked_at: float | None = None
        self._look_seconds = 0.0

    def look(self) -> float:
        """Do one round, unless it is not needed; say in how many seconds to come again.

        Raises DatabaseError when PostgreSQL does not answer.
        """
        if time.monotonic() >= self._rests_until or self._holds_something():
            self._look()
        left = self._rests_until - time.monotonic()
        # a step that begins meanwhile is looked after from the next tick on
        return max(0.0, min(left, self._settings.tick_seconds))

    def _look(self) -> None:
        # should this one fail, the next call makes it again
        self._rests_until = begun = time.monotonic()
        found = self._reconciler.look(self._board.worker_id)
        self._tell(found.told_tokens)
        self._note(self._reconciler.mend(found))
        self._end_overdue_attempts(found.overdue_steps)
        self._looked_at = time.monotonic()
        self._look_seconds = self._looked_at - begun
        self._rests_until = self._looked_at + self._choose_rest_seconds(found)

    def _choose_rest_seconds(self, found: Sweep) -> float:
        ticks = min(found.looking_workers / _LOOKS_A_TICK, _MOST_TICKS)
        is_idle = found.is_empty and not found.comes_soon
        if ticks <= 1 or not is_idle or self._holds_something():
            return self._settings.tick_seconds
        return (
            ticks * self._draw(1 - _JITTER, 1 + _JITTER) * self._settings.tick_seconds
        )

    def _holds_something(self) -> bool:
        # what Celery forgot when it lost its broker still runs, and shows its token
        return bool(self._shown_tokens or state.active_requests)

    def listen(self, seconds: float, stirred: int) -> bool:
        """Let `seconds` pass, or do at once what a transaction leaves to do meanwhile.

        Comes back earlier when the file `stirred` can be read, or a batch goes on. Says
        whether a transaction left something. Raises DatabaseError when PostgreSQL does
        not answer.
        """
        seconds = min(seconds, self._reconciler.rest_seconds)
        is_told = self._liveness.wait_for_unsent(seconds, stirred)
        if is_told:
            if self._holds_something():
                self._tell(self._liveness.find_told(self._board.worker_id))
            self._note(self._reconciler.answer_notice())
        self._note(self._reconciler.carry_batches())
        return is_told

    def _tell(self, tokens: Collection[str]) -> None:
        for token in tokens:
            self._board.tell(token)

    def heed(self, tokens: Collection[str]) -> None:
        """Hear which tokens the board showed at the latest beat."""
        self._shown_tokens = tokens

    def describe(self) -> dict[str, Any]:
        """Return what this worker tells of its rounds: the last, and all of them.

        And which program it runs, for whoever compares it with others.
        """
        now = time.monotonic()
        program = {
            "release": find_release(),
            "functions": functions_digest(),
            "lease_seconds": self._settings.lease_seconds,
        }
        told: dict[str, Any] = {"totals": vars(self._totals), "program": program}
        if self._looked_at is not None:
            told |= {"age": now - self._looked_at, "seconds": self._look_seconds}
        if self._acted_at is not None:
            told |= {"last_age": now - self._acted_at, "last": vars(self._last_deeds)}
        return told

    def _note(self, done: Round) -> None:
        if done.is_idle:
            return
        logger.info("reconciled", extra={"round": done})
        self._totals = self._totals.add(done)
        self._last_deeds, self._acted_at = done, time.monotonic()

    def _end_overdue_attempts(self, overdue: Sequence[OverdueStep]) -> None:
        self._kill_leftovers()
        due = {(step.token, step.attempt) for step in overdue}
        self._asked = {key: at for key, at in self._asked.items() if key in due}
        busy: set[str] = set()
        for step in overdue:
            if step.execution_id in busy or self._is_given_time(step):
                continue
            try:
                self._end_attempt(step)
            except DatabaseBusyError:
                # a stranger holds its row: others must not wait for that more than once
                busy.add(step.execution_id)

    def _is_given_time(self, step: OverdueStep) -> bool:
        """Ask the code to end, where that can be; say whether it may still do so."""
        key = (step.token, step.attempt)
        if key not in self._asked:
            pid = self._find_holder(step.token)
            if pid is None:
                return False
            if step.cause is OverdueCause.CANCEL:
                # how it ends depends on what it was told
                self._board.tell(step.token)
            if self._facts.pool in INTERRUPTIBLE_POOLS:
                interrupt(self._board, step.token, step.attempt, pid)
            elif self._board.is_heeded(step.token):
                self._board.ask(step.token, step.attempt)
            else:
                return False
            self._asked[key] = time.monotonic()
        return time.monotonic() < self._asked[key] + _GRACE_SECONDS

    def _end_attempt(self, step: OverdueStep) -> None:
        wait_seconds = step.retry.compute_wait_seconds(step.failures)
        self._ended[step.token] = step
        # the token goes first: nothing that the attempt writes is kept then
        completion = self._liveness.take_overdue(step, wait_seconds=wait_seconds)
        del self._ended[step.token]
        if completion is None:
            return
        logger.warning(
            _CUTS[step.cause],
            extra={"execution_id": step.execution_id, "position": step.position},
        )
        self._kill_holder(step.token)
        self._reconciler.follow(step.execution_id, completion)

    def _kill_leftovers(self) -> None:
        """Kill what was taken from by a call whose answer was lost."""
        for token, step in list(self._ended.items()):
            if not self._liveness.is_held(step):
                self._kill_holder(token)
            del self._ended[token]

    def kill_holder(self, token: str) -> None:
        """Kill the process that shows `token`, if it is one of this worker's pool."""
        self._kill_holder(token)

    def _kill_holder(self, token: str) -> None:
        pid = self._find_holder(token)
        if pid is None:
            return
        if pid == os.getpid():
            self._let_run_on(token)
            return
        with suppress(ProcessLookupError, ChildProcessError):
            # frozen, it cannot go on to another step between the look and the kill
            os.kill(pid, signal.SIGSTOP)
            os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            still_holds = self._board.find_pid(token) == pid
            if still_holds:
                self._kill_below(pid, token)
            os.kill(pid, signal.SIGKILL if still_holds else signal.SIGCONT)

    def _let_run_on(self, token: str) -> None:
        # what it writes is refused from now on, and it hears that nobody wants it
        self._board.tell(token)
        logger.warning(
            "code runs on: a worker of this pool cannot kill it",
            extra={"pool": self._facts.pool, "token": token},
        )
        self._kill_below(os.getpid(), token)

    def _kill_below(self, pid: int, token: str) -> None:
        """Kill what the step under `token` has started, where that can be told."""
        begun = self._board.find_begin(token)
        if begun is not None:
            kill_descendants(pid, begun)

    def _find_holder(self, token: str) -> int | None:
        """Return the living process of this worker that shows `token`."""
        pid = self._board.find_pid(token)
        # what a dead child showed stays there; its pid may be a stranger's by now
        return pid if pid in self._facts.list_pids() else None
