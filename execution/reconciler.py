"""Finds what is lost, late, stuck or unsent, and sends it back through the front door.

One runs in every worker, with no leader among them: each act is a compare-and-set,
so that what two of them find is done once. A round looks without locks and then takes
one execution at a time; one that is held by somebody is passed over, and waited for
from the third time on.

It never runs a step, and decides nothing by its own clock.
"""

import logging
from collections import Counter
from dataclasses import dataclass

from execution.database import DatabaseBusyError
from execution.dispatcher import ExecutionDispatcher
from execution.ending import finish_execution
from execution.events import ExecutionEventEmitter
from execution.liveness import LivenessRecords
from execution.records import Completion, StepRecords
from execution.settings import Settings

logger = logging.getLogger(__name__)

_MOST_AT_ONCE = 200
_PATIENCE = 3


@dataclass(frozen=True)
class Round:
    """What one round of a reconciler did."""

    dead_workers: int = 0
    lost_steps: int = 0
    resent_steps: int = 0
    finished_executions: int = 0


class Reconciler:
    """Puts right what no worker will."""

    def __init__(
        self,
        liveness: LivenessRecords,
        records: StepRecords,
        dispatcher: ExecutionDispatcher,
        emitter: ExecutionEventEmitter,
        settings: Settings,
    ) -> None:
        """Work with the lease, beat and tick of `settings`."""
        self._liveness = liveness
        self._records = records
        self._dispatcher = dispatcher
        self._emitter = emitter
        self._settings = settings
        self._passed_over: Counter[str] = Counter()

    def run_round(self) -> Round:
        """Look everywhere once.

        Raises DatabaseError when PostgreSQL does not answer; the next round goes on.
        """
        self._liveness.advance_pulse(self._settings.tick_seconds)
        return Round(
            dead_workers=self._liveness.end_silent_workers(
                self._settings.lease_seconds
            ),
            lost_steps=self._take_lost_steps(),
            resent_steps=self._resend_steps(),
            finished_executions=self._finish_executions(),
        )

    def follow(self, execution_id: str, completion: Completion) -> None:
        """Do what follows from a step that was taken away: tell, send, finish."""
        self._emitter.emit(execution_id, completion.last_seq)
        self._dispatcher.publish(completion.windows)
        if completion.is_last:
            finish_execution(self._records, self._emitter, execution_id)

    def _take_lost_steps(self) -> int:
        taken = 0
        for step in self._liveness.find_lost_steps(_MOST_AT_ONCE):
            self._passed_over[step.token] += 1
            is_patient = self._passed_over[step.token] > _PATIENCE
            try:
                completion = self._liveness.take_lost(step, is_patient=is_patient)
            except DatabaseBusyError:
                # a stranger holds its row: the others must not wait for that
                continue
            if completion is None:
                continue
            del self._passed_over[step.token]
            taken += 1
            logger.warning(
                "lost step taken back",
                extra={"execution_id": step.execution_id, "position": step.position},
            )
            self.follow(step.execution_id, completion)
        if not taken and len(self._passed_over) > _MOST_AT_ONCE:
            self._passed_over.clear()
        return taken

    def _resend_steps(self) -> int:
        resent = 0
        for step in self._liveness.find_unsent_steps(self._settings.beat_seconds):
            windows = self._liveness.mark_resent(step)
            resent += len(windows)
            self._dispatcher.publish(windows)
        return resent

    def _finish_executions(self) -> int:
        finished = 0
        for execution_id in self._liveness.find_unfinished(_MOST_AT_ONCE):
            try:
                finished += finish_execution(self._records, self._emitter, execution_id)
            except DatabaseBusyError:
                continue
        return finished
