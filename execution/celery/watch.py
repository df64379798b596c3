"""Runs a worker's reconciler, and ends attempts of this worker that are overdue.

Code that has outlived its timeout is asked to end; what does not is taken from it, and
its process killed. It works in a thread of its own (see `heart`), and must not touch
the event loop of the worker.
"""

import logging
import os
import signal
import time
from contextlib import suppress
from typing import Any

from execution.celery.board import WorkerBoard
from execution.celery.facts import WorkerFacts
from execution.celery.interruption import INTERRUPTIBLE_POOLS, interrupt
from execution.database import DatabaseBusyError
from execution.liveness import LivenessRecords, OverdueStep
from execution.reconciler import Reconciler, Round
from execution.settings import Settings

logger = logging.getLogger(__name__)

_GRACE_SECONDS = 2.0
"""How long code may take to end after it was asked to, before its process is killed."""


class Watch:
    """Runs the reconciler, and ends this worker's own overdue attempts."""

    def __init__(
        self,
        liveness: LivenessRecords,
        reconciler: Reconciler,
        board: WorkerBoard,
        facts: WorkerFacts,
        settings: Settings,
    ) -> None:
        """Watch over all executions, and over the attempts that `board` shows."""
        self._liveness = liveness
        self._reconciler = reconciler
        self._board = board
        self._facts = facts
        self._settings = settings
        self._asked: dict[tuple[str, int], float] = {}
        self._ended: dict[str, OverdueStep] = {}
        self._totals = self._last_deeds = Round()
        self._acted_at: float | None = None
        self._looked_at: float | None = None
        self._look_seconds = 0.0

    def look(self) -> None:
        """Do one round.

        Raises DatabaseError when PostgreSQL does not answer.
        """
        begun = time.monotonic()
        done = self._reconciler.run_round()
        self._note(done)
        self._end_overdue_attempts()
        self._looked_at = time.monotonic()
        self._look_seconds = self._looked_at - begun

    def listen(self, seconds: float) -> bool:
        """Let `seconds` pass, or send at once what is submitted meanwhile by SQL.

        Says whether there was something. Raises DatabaseError when PostgreSQL does not
        answer.
        """
        is_told = self._liveness.wait_for_unsent(seconds)
        if is_told:
            self._note(Round(sent_executions=self._reconciler.send_unsent()))
        return is_told

    def describe(self) -> dict[str, Any]:
        """Return what this worker tells of its rounds: the last, and all of them."""
        now = time.monotonic()
        told: dict[str, Any] = {"totals": vars(self._totals)}
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

    def _end_overdue_attempts(self) -> None:
        self._kill_leftovers()
        overdue = self._liveness.find_overdue_steps(
            self._board.worker_id, self._settings.lease_seconds
        )
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
            if pid is None or self._facts.pool not in INTERRUPTIBLE_POOLS:
                return False
            interrupt(self._board, step.token, step.attempt, pid)
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
            "attempt outlived its timeout",
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

    def _kill_holder(self, token: str) -> None:
        pid = self._find_holder(token)
        if pid is None or pid == os.getpid():
            # a thread cannot be killed: it runs on, and what it writes is refused
            return
        with suppress(ProcessLookupError, ChildProcessError):
            # frozen, it cannot go on to another step between the look and the kill
            os.kill(pid, signal.SIGSTOP)
            os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            still_holds = self._board.find_pid(token) == pid
            os.kill(pid, signal.SIGKILL if still_holds else signal.SIGCONT)

    def _find_holder(self, token: str) -> int | None:
        """Return the living process of this worker that shows `token`."""
        pid = self._board.find_pid(token)
        # what a dead child showed stays there; its pid may be a stranger's by now
        return pid if pid in self._facts.list_pids() else None
