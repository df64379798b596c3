"""Fires schedules whose time has come, and begins what is queued.

Called by the reconcilers, which are many and have no leader, and by whoever asks for a
run. Each step is a compare-and-set in the database; what one of two finds done it does
not do again, and who dies leaves a queued run that the next look finds.

A schedule whose plan is gone, or takes other parameters now, goes on: its run has
failed, and says why.
"""

import json
import logging
from collections.abc import Mapping

from .dispatcher import ExecutionDispatcher
from .errors import ParameterError
from .events import ExecutionEventEmitter
from .keys import KeyedExecutions
from .liveness import LivenessRecords
from .relay import ExecutionRelay
from .schedule_records import BegunRun, DueSchedule, NextRun
from .timing import RunOutcome, TimingError, decide_firing

logger = logging.getLogger(__name__)

_MOST_RUNS = 1_000
"""Of one schedule at a look: others wait meanwhile."""


class ScheduledRuns:
    """Sees to schedules."""

    def __init__(
        self,
        liveness: LivenessRecords,
        relay: ExecutionRelay,
        dispatcher: ExecutionDispatcher,
        emitter: ExecutionEventEmitter,
    ) -> None:
        """Decide through `liveness`, send what begins, finish through `relay`."""
        self._schedules = liveness.schedules
        self._liveness = liveness
        self._dispatcher = dispatcher
        self._emitter = emitter
        self._relay = relay
        self._keys = KeyedExecutions(liveness, relay, dispatcher, emitter)

    def fire(self, due: DueSchedule) -> int:
        """Enter the times of a schedule that have come; see to its runs; count them.

        Raises DatabaseError when PostgreSQL does not answer.
        """
        try:
            firing = decide_firing(
                due.timing,
                due.catch_up,
                due.catch_up_seconds,
                due_at=due.due_at,
                now=due.seen_at,
            )
        except TimingError:
            # its time zone is not known here: another worker may know it
            logger.exception("schedule cannot be read", extra={"schedule": due.name})
            return 0
        if not self._schedules.fire(due, firing):
            return 0
        if firing.missed is not None:
            logger.warning(
                "schedule has missed times",
                extra={"schedule": due.name, "missed": firing.missed},
            )
        return self.settle(due.name)

    def settle(self, name: str) -> int:
        """See to queued runs of a schedule; say how many were seen to.

        Raises DatabaseError when PostgreSQL does not answer.
        """
        done = 0
        while done < _MOST_RUNS and (run := self._schedules.next_run(name)) is not None:
            begun = self._begin(run)
            if begun.outcome is RunOutcome.QUEUED:
                ended = sum(map(self._supersede, begun.older))
                if not ended:
                    break
            elif begun.outcome is not None:
                self._follow(name, begun)
                done += 1
        return done

    def _begin(self, run: NextRun) -> BegunRun:
        if run.plan_id is None:
            fault = (
                f"no plan is published as {run.plan!r}; publish it: plans publish FILE"
            )
            return self._schedules.begin_run(run, None, fault)
        try:
            bound = json.dumps(_bind(run.declarations, run.parameters))
        except ParameterError as error:
            fault = f"plan {run.plan} does not take its parameters: {error}"
            return self._schedules.begin_run(run, None, fault)
        return self._schedules.begin_run(run, bound, None)

    def _follow(self, name: str, begun: BegunRun) -> None:
        if begun.outcome is RunOutcome.FAILED:
            logger.warning(
                "scheduled run failed",
                extra={"schedule": name, "cause": begun.detail},
            )
        if begun.held_key is not None:
            self._keys.settle(begun.held_key)
        elif begun.execution_id is not None and not self._dispatcher.is_quiet:
            self._dispatcher.publish(self._liveness.mark_sent(begun.execution_id))

    def _supersede(self, execution_id: str) -> int:
        ended = self._schedules.supersede(execution_id)
        if ended is None:
            return 0
        last_seq, open_steps = ended
        self._emitter.emit(execution_id, last_seq)
        if open_steps == 0:
            self._relay.finish(execution_id)
        return 1


def _bind(
    declarations: Mapping[str, object], parameters: Mapping[str, object]
) -> dict[str, object]:
    # the schema of documents costs a worker 20 MB: only those pay that have schedules
    from .language.parameters import bind_parameters, read_declarations

    return bind_parameters(read_declarations(declarations), parameters)
