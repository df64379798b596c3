"""What our modules find in place of the operating system, of Celery and of the clock.

For as long as a seed is played, in this process alone. Nothing of ours is replaced but
the names through which a module reaches what lies outside of it.
"""

import random
import signal
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import execution.attempts
import execution.celery.heart
import execution.celery.interruption
import execution.celery.watch
import execution.context
import execution.ending
import execution.lines
import execution.subplans
import execution.telling
from execution.actions import ActionRegistry
from tests.simulation.havoc import Havoc
from tests.simulation.store import Store
from tests.simulation.workers import SimulatedWorker


@dataclass(frozen=True)
class Disguise:
    """Celery's state, signals, time and chance, as they are for the present actor."""

    havoc: Havoc
    store: Store
    registry: ActionRegistry
    dice: random.Random
    looks_a_tick: float
    """How many looks idle workers come to together: few let even two look less."""

    @contextmanager
    def worn(self) -> Iterator[None]:
        """Let our modules find it in the block."""
        heart, watch = execution.celery.heart, execution.celery.watch
        scheduler = self.havoc.scheduler
        clock = SimpleNamespace(monotonic=lambda: scheduler.now, sleep=scheduler.sleep)
        system = SimpleNamespace(
            getpid=lambda: 0,
            kill=self._kill,
            waitid=lambda *_: None,
            **dict.fromkeys(("P_PID", "WSTOPPED", "WEXITED", "WNOWAIT"), 0),
        )
        moment = SimpleNamespace(now=lambda _: self.store.now)
        with ExitStack() as stack:
            for module, name, value in (
                (heart, "state", _PresentState(self)),
                (watch, "state", _PresentState(self)),
                (watch, "_LOOKS_A_TICK", self.looks_a_tick),
                (heart, "registry", self.registry),
                (heart, "os", system),
                (watch, "os", system),
                (execution.celery.interruption, "os", system),
                (heart, "time", clock),
                (watch, "time", clock),
                (execution.context, "time", clock),
                (execution.lines, "time", clock),
                (execution.telling, "time", clock),
                (execution.attempts, "datetime", moment),
                (execution.ending, "datetime", moment),
                (uuid, "uuid4", self._draw_uuid),
                (execution.subplans, "draw_execution_id", self._draw_id),
            ):
                stack.enter_context(patch.object(module, name, value))
            yield

    def find_present_worker(self) -> SimulatedWorker:
        """Return the worker whose main process runs at this moment."""
        process = self.havoc.scheduler.current.process
        return next(w for w in self.havoc.workers if w.main is process)

    def _draw_uuid(self) -> uuid.UUID:
        return uuid.UUID(int=self.dice.getrandbits(128), version=4)

    def _draw_id(self) -> str:
        return str(self._draw_uuid())

    def _kill(self, pid: int, number: int) -> None:
        if number != signal.SIGKILL:
            # held and let go on within one look, or asked to end: it sees to that
            return
        worker = self.find_present_worker()
        if pid in worker.children and worker.children[pid].process.is_alive:
            self.havoc.misfortune.count("overdue attempts killed")
            worker.kill_child(pid)


class _PresentState:
    """`celery.worker.state`, as it is in the process that asks."""

    def __init__(self, disguise: Disguise) -> None:
        self._disguise = disguise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._disguise.find_present_worker().find_state(), name)
