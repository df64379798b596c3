"""Finds what is lost, late, due or unsent, and sends it back through the front door.

One runs in every worker, with no leader among them: each act is a compare-and-set,
so that what two of them find is done once. A round looks everywhere in one statement
and without locks, and then takes one execution at a time; one that is held by somebody
is passed over until the next round, and a lost step is waited for from the third time
on.

It never runs a step, and decides nothing by its own clock.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from .answers import Completion
from .carrying import BatchCarrier
from .database import DatabaseBusyError, DatabaseUnavailableError
from .dispatcher import ExecutionDispatcher
from .errors import DatabaseError
from .events import ExecutionEventEmitter
from .keys import KeyedExecutions
from .liveness import LivenessRecords
from .parking import ParkedExecutions
from .records import StepRecords
from .relay import ExecutionRelay
from .scheduled_runs import ScheduledRuns
from .settings import Settings
from .sweeps import ExpiredStep, LostStep, Sweep, UnsentStep
from .trials import DependencyTrials

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_MOST_AT_ONCE = 200
_PATIENCE = 3


@dataclass(frozen=True)
class Round:
    """What one round of a reconciler did, or several of them together."""

    dead_workers: int = 0
    lost_steps: int = 0
    woken_steps: int = 0
    expired_steps: int = 0
    expired_executions: int = 0
    resent_steps: int = 0
    sent_executions: int = 0
    finished_executions: int = 0
    told_executions: int = 0
    settled_keys: int = 0
    started_executions: int = 0
    acted_executions: int = 0
    signalled_executions: int = 0
    settled_dependencies: int = 0
    scheduled_runs: int = 0

    @property
    def is_idle(self) -> bool:
        """Say whether there was nothing to do."""
        return self == Round()

    def add(self, other: "Round") -> "Round":
        """Return what both did together."""
        return Round(
            **{name: count + getattr(other, name) for name, count in vars(self).items()}
        )


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
        self._dispatcher = dispatcher
        self._emitter = emitter
        self._settings = settings
        self._relay = ExecutionRelay(records, dispatcher, emitter)
        self._keys = KeyedExecutions(liveness, self._relay, dispatcher, emitter)
        self._parking = ParkedExecutions(liveness, dispatcher, emitter)
        self._batches = BatchCarrier(
            liveness.batches,
            dispatcher,
            emitter,
            self._relay,
            self._keys.try_settle,
            grace_seconds=settings.lease_seconds,
            most_rest_seconds=settings.tick_seconds,
        )
        self._signals = records.signals
        self._dependencies = liveness.dependencies
        self._trials = DependencyTrials(liveness.dependencies, self._parking)
        self._scheduled = ScheduledRuns(liveness, self._relay, dispatcher, emitter)
        self._passed_over: Counter[str] = Counter()

    def look(self, worker_id: str) -> Sweep:
        """Look everywhere once, for a worker whose own overdue attempts count as well.

        Raises DatabaseError when PostgreSQL does not answer; the next look goes on.
        """
        return self._liveness.sweep(
            worker_id,
            tick_seconds=self._settings.tick_seconds,
            lease_seconds=self._settings.lease_seconds,
            beat_seconds=self._settings.beat_seconds,
            most=_MOST_AT_ONCE,
        )

    def mend(self, found: Sweep) -> Round:
        """See to all that was found, but for overdue attempts; say what was done.

        Raises DatabaseError when PostgreSQL does not answer.
        """
        return Round(
            dead_workers=found.dead_workers,
            lost_steps=self._take_lost_steps(found.lost_steps),
            expired_executions=_count(self._expire_execution, found.expired_executions),
            expired_steps=_count(self._expire_step, found.expired_steps),
            woken_steps=_count(self._wake_steps, found.due_executions)
            + _count(self._parking.release, found.resumable_executions),
            resent_steps=_count(self._resend_step, found.unsent_steps),
            sent_executions=_count(self._send_steps, found.unsent_executions),
            finished_executions=_count(self._finish, found.unfinished_executions),
            told_executions=_count(self._relay.carry, found.relaying_executions),
            settled_keys=_count(self._keys.settle, found.due_keys),
            started_executions=_count(self._start, found.delayed_executions),
            acted_executions=_count(self._batches.carry, found.due_batches),
            signalled_executions=_count(
                self._deliver_signals, found.signalled_executions
            ),
            settled_dependencies=_count(self._trials.settle, found.due_dependencies),
            scheduled_runs=_count(self._scheduled.fire, found.due_schedules)
            + _count(self._scheduled.settle, found.queued_schedules),
        )

    def answer_notice(self) -> Round:
        """Do what a transaction has left: send, tell, finish, give keys, act on many.

        Says what was done.
        """
        unsent = self._liveness.find_unsent_executions(_MOST_AT_ONCE)
        relaying = self._liveness.find_relaying_executions(_MOST_AT_ONCE)
        keys = self._liveness.find_due_keys(_MOST_AT_ONCE)
        resumable = self._liveness.find_resumable_executions(_MOST_AT_ONCE)
        batches = self._liveness.batches.find_due(_MOST_AT_ONCE)
        signalled = self._signals.find_signalled_executions(_MOST_AT_ONCE)
        queued = self._liveness.schedules.find_queued(_MOST_AT_ONCE)
        unfinished = self._liveness.find_unfinished_executions(_MOST_AT_ONCE)
        return Round(
            finished_executions=_count(self._finish, unfinished),
            woken_steps=_count(self._parking.release, resumable),
            sent_executions=_count(self._send_steps, unsent),
            told_executions=_count(self._relay.carry, relaying),
            scheduled_runs=_count(self._scheduled.settle, queued),
            settled_keys=_count(self._keys.settle, keys),
            acted_executions=_count(self._batches.carry, batches),
            signalled_executions=_count(self._deliver_signals, signalled),
            settled_dependencies=_count(
                self._trials.settle, self._dependencies.find_due(_MOST_AT_ONCE)
            ),
        )

    def carry_batches(self) -> Round:
        """Go on with the batches that were found, as far as their rates allow."""
        return Round(acted_executions=self._batches.carry_known())

    @property
    def rest_seconds(self) -> float:
        """In how many seconds `carry_batches` may have something to do."""
        return self._batches.rest_seconds

    def follow(self, execution_id: str, completion: Completion) -> None:
        """Do what follows from a step that was taken away: tell, send, finish."""
        self._emitter.emit(
            execution_id, completion.last_seq, is_last=completion.has_ended
        )
        self._dispatcher.publish(completion.windows)
        if completion.is_last:
            self._finish(execution_id)
        elif completion.has_ended:
            self._relay.tell_parent(execution_id)

    def _take_lost_steps(self, found: Sequence[LostStep]) -> int:
        taken = _count(self._take_lost_step, found)
        if not taken and len(self._passed_over) > _MOST_AT_ONCE:
            self._passed_over.clear()
        return taken

    def _take_lost_step(self, step: LostStep) -> int:
        self._passed_over[step.token] += 1
        is_patient = self._passed_over[step.token] > _PATIENCE
        completion = self._liveness.take_lost(step, is_patient=is_patient)
        if completion is None:
            return 0
        del self._passed_over[step.token]
        logger.warning(
            "lost step taken back",
            extra={"execution_id": step.execution_id, "position": step.position},
        )
        self.follow(step.execution_id, completion)
        return 1

    def _expire_execution(self, execution_id: str) -> int:
        expiry = self._liveness.expire_execution(execution_id)
        if expiry is None:
            return 0
        logger.warning(
            "execution outlived its deadline", extra={"execution_id": execution_id}
        )
        self._emitter.emit(execution_id, expiry.last_seq)
        if expiry.open_steps == 0:
            self._finish(execution_id)
        return 1

    def _expire_step(self, step: ExpiredStep) -> int:
        completion = self._liveness.expire_step(step)
        if completion is None:
            return 0
        logger.warning(
            "step outlived its deadline",
            extra={"execution_id": step.execution_id, "position": step.position},
        )
        self.follow(step.execution_id, completion)
        return 1

    def _deliver_signals(self, execution_id: str) -> int:
        completion = self._signals.deliver(execution_id)
        if completion is None:
            return 0
        self.follow(execution_id, completion)
        return 1

    def _wake_steps(self, execution_id: str) -> int:
        woken = self._liveness.wake_steps(execution_id)
        if woken is None:
            return 0
        self._emitter.emit(execution_id, woken.last_seq)
        self._dispatcher.publish(woken.windows)
        return woken.steps

    def _start(self, execution_id: str) -> int:
        start = self._liveness.start_delayed(execution_id)
        if start is None:
            return 0
        self._emitter.emit(execution_id, start.last_seq)
        self._dispatcher.publish(start.windows)
        if start.held_key is not None:
            self._keys.settle(start.held_key)
        elif start.open_steps == 0:
            self._finish(execution_id)
        return 1

    def _resend_step(self, step: UnsentStep) -> int:
        if self._dispatcher.is_quiet:
            # counted as sent while nothing is, it would be missed later each time
            return 0
        windows = self._liveness.mark_resent(step)
        self._dispatcher.publish(windows)
        return len(windows)

    def _send_steps(self, execution_id: str) -> int:
        if self._dispatcher.is_quiet:
            return 0
        windows = self._liveness.mark_sent(execution_id)
        self._dispatcher.publish(windows)
        return bool(windows)

    def _finish(self, execution_id: str) -> int:
        return self._relay.finish(execution_id)


def _count(act: Callable[[_T], int], found: Iterable[_T]) -> int:
    """Do `act` to all that was found, and count what it did.

    Raises DatabaseUnavailableError: then none of the rest would go better.
    """
    done = 0
    busy: set[str] = set()
    for one in found:
        execution_id = str(getattr(one, "execution_id", one))
        if execution_id in busy:
            continue
        try:
            done += act(one)
        except DatabaseBusyError:
            # a stranger holds its row: others must not wait for that more than once
            busy.add(execution_id)
        except DatabaseUnavailableError:
            raise
        except DatabaseError:
            logger.exception("refused", extra={"execution_id": execution_id})
    return done
