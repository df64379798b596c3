"""What misfortune does: to processes, to the clock, to the broker and the database.

Knows who stands where, so that a fault finds somebody to strike.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.simulation.broker import SimulatedBroker
from tests.simulation.children import Child
from tests.simulation.misfortune import AT_A_CALL, Fault, Misfortune
from tests.simulation.scheduler import Killed, Process, Scheduler
from tests.simulation.workers import SimulatedWorker

_MOST_CLOCK_LEAP_SECONDS = 200.0
_MOST_SPOILED_BEATS = 3
_SHARE_OF_FROZEN_ORPHANS = 0.7
_SWEEPS_WEIGHT = 0.3
_WORK_WEIGHT = 2.0
"""Sweeps are many and mostly find nothing: what is tried is rather the work."""


@dataclass
class Havoc:
    """Strikes where an actor touches the world, while faults are due."""

    scheduler: Scheduler
    misfortune: Misfortune
    broker: SimulatedBroker
    dice: random.Random
    lease_seconds: float
    replace: Callable[[], None]
    workers: list[SimulatedWorker] = field(default_factory=list)
    owners: list[Process] = field(default_factory=list)
    clock_seconds: float = 0.0
    database_away_until: float = 0.0

    @property
    def is_database_away(self) -> bool:
        """Say whether nobody can reach PostgreSQL at this moment."""
        return self.scheduler.now < self.database_away_until

    def strike(self, *, at_a_call: bool = False) -> Fault | None:
        """Let something go wrong, perhaps; return what the call has to see to itself.

        Raises Killed when it was the end of the process that asked.
        """
        mains = [worker.main for worker in self.workers]
        is_sweeping = self.scheduler.current.process in mains
        fault = self.misfortune.draw(_SWEEPS_WEIGHT if is_sweeping else _WORK_WEIGHT)
        if fault is None:
            return None
        if fault in AT_A_CALL:
            if not at_a_call:
                return None
            self._spoil()
            self.misfortune.spend(fault)
            return fault
        if self._bring(fault):
            self.misfortune.spend(fault)
        if not self.scheduler.current.process.is_alive:
            raise Killed
        return None

    def find_child(self, process: Process) -> Child | None:
        """Return the child that is this process."""
        children = (c for w in self.workers for c in w.children.values())
        return next((c for c in children if c.process is process), None)

    def is_healthy_worker(self, worker_id: str) -> bool:
        """Say whether this is a worker that lives and was never stopped."""
        return any(
            w.board.worker_id == worker_id and self._is_healthy(w) for w in self.workers
        )

    def is_healthy_holder(self, token: str) -> bool:
        """Say whether a living child of a healthy worker shows this token."""
        return any(
            token in child.tokens and not child.process.was_stopped
            for worker in self.workers
            if self._is_healthy(worker)
            for child in worker.living_children
        )

    @staticmethod
    def _is_healthy(worker: SimulatedWorker) -> bool:
        return (
            worker.main.is_alive
            and not worker.main.was_stopped
            and not worker.is_leaving
            and worker.spoiled_beats <= _MOST_SPOILED_BEATS
        )

    def _spoil(self) -> None:
        process = self.scheduler.current.process
        for worker in self.workers:
            if worker.main is process:
                worker.spoiled_beats += 1

    def _bring(self, fault: Fault) -> bool:
        match fault:
            case Fault.OUTAGE:
                seconds = self.dice.choice([1.0, 10.0, 1.5 * self.lease_seconds])
                self.database_away_until = self.scheduler.now + seconds
                self.scheduler.note(f"DATABASE AWAY for {seconds:.0f} s")
            case Fault.CLOCK_FORWARD:
                self._leap(self.dice.random() * _MOST_CLOCK_LEAP_SECONDS)
            case Fault.CLOCK_BACKWARD:
                self._leap(-self.dice.choice([0.05, 1.0, 8.0]))
            case Fault.FLUSH:
                self.broker.flush()
            case Fault.BROKER_AWAY:
                seconds = self.dice.choice([0.5, 20.0])
                self.broker.away_until = self.scheduler.now + seconds
            case Fault.KILL_OWNER:
                return self._kill_owner()
            case _:
                return self._harm_worker(fault)
        return True

    def _leap(self, seconds: float) -> None:
        self.scheduler.note(f"CLOCK leaps by {seconds:.3f} s")
        self.clock_seconds += seconds

    def _kill_owner(self) -> bool:
        process = self.scheduler.current.process
        if process in self.owners:
            self.scheduler.kill(process)
        return process in self.owners

    def _harm_worker(self, fault: Fault) -> bool:
        worker = self._choose_worker()
        if worker is None or (
            # an orphan is somebody who was in the middle of something
            fault is Fault.KILL_MAIN and not self._is_present(worker)
        ):
            return False
        match fault:
            case Fault.KILL_CHILD | Fault.STOP_CHILD:
                return self._harm_child(fault)
            case Fault.KILL_WORKER | Fault.KILL_MAIN:
                worker.kill(with_children=fault is Fault.KILL_WORKER)
                self._freeze_orphans(worker)
                self.replace()
            case Fault.STOP_WORKER | Fault.STOP_MAIN:
                seconds = self.dice.choice([1.0, 1.2, 1.6]) * self.lease_seconds
                worker.stop(seconds, with_children=fault is Fault.STOP_WORKER)
            case Fault.SIGN_OFF:
                worker.sign_off()
                self.replace()
            case _:
                raise AssertionError(fault)
        return True

    def _freeze_orphans(self, worker: SimulatedWorker) -> None:
        for child in worker.living_children:
            if self.dice.random() < _SHARE_OF_FROZEN_ORPHANS:
                # long enough for somebody else to have taken its step
                seconds = self.dice.uniform(1.0, 1.7) * self.lease_seconds
                self.scheduler.stop(child.process, seconds)

    def _choose_worker(self) -> SimulatedWorker | None:
        living = [w for w in self.workers if w.main.is_alive and not w.is_leaving]
        # one that works, for what happens to an idle one is soon told
        busy = [w for w in living if any(c.request for c in w.living_children)]
        present = [w for w in busy if self._is_present(w)]
        candidates = present or busy or living
        return self.dice.choice(candidates) if candidates else None

    def _is_present(self, worker: SimulatedWorker) -> bool:
        process = self.scheduler.current.process
        return process in [child.process for child in worker.children.values()]

    def _harm_child(self, fault: Fault) -> bool:
        child = self.find_child(self.scheduler.current.process)
        if child is None:
            busy = [c for w in self.workers for c in w.living_children if c.request]
            child = self.dice.choice(busy) if busy else None
        if child is None or not child.worker.main.is_alive:
            return False
        if fault is Fault.KILL_CHILD:
            child.worker.kill_child(child.pid)
        else:
            seconds = self.dice.choice([5.0, 1.3 * self.lease_seconds])
            self.scheduler.stop(child.process, seconds)
        return True
