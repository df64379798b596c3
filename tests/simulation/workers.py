"""Workers as Celery runs them: a main process with its threads, children, deliveries.

The heart, the watch and the runner are the real ones; what is played here is what
Celery does around them: a message is reserved, runs in a child, the chain's next link
is sent, and only then is the message acknowledged. A child that died is noticed a
moment later, its message goes back and another child takes its place.

Nothing here decides what goes wrong.
"""

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from execution.celery.facts import WorkerFacts
from execution.celery.heart import Heart
from execution.celery.watch import Watch
from execution.errors import DatabaseError
from execution.patience import ASK_TWICE
from execution.reconciler import Reconciler
from tests.simulation.children import Board, Child, Parts, Request
from tests.simulation.scheduler import Process

if TYPE_CHECKING:
    from execution.celery.board import WorkerBoard

_MOST_NOTICE_SECONDS = 1.0


class SimulatedWorker:
    """One worker: its processes, and what its main process has in hand."""

    def __init__(self, parts: Parts, name: str, slots: int) -> None:
        """Start every process."""
        self.parts = parts
        self.name = name
        self.slots = slots
        self.main = Process(name)
        self.board = Board()
        self.requests: list[Request] = []
        self.children: dict[int, Child] = {}
        self.is_leaving = False
        self.spoiled_beats = 0
        self._pids = itertools.count(1)
        self._start_threads()
        for _ in range(slots):
            self._start_child()

    @property
    def living_children(self) -> list[Child]:
        """The children that nothing has happened to yet."""
        return [c for c in self.children.values() if c.process.is_alive]

    def find_state(self) -> SimpleNamespace:
        """Return what `celery.worker.state` is in this worker's main process."""
        return SimpleNamespace(
            reserved_requests=self.requests,
            active_requests=[r for r in self.requests if r.is_active],
        )

    def take_on(self, request: Request) -> None:
        """Count a message as reserved."""
        self.requests.append(request)

    def let_go(self, request: Request) -> None:
        """Hear that a child is done with a message, a moment later."""
        self._later("hears", lambda: self.requests.remove(request), 0.05)

    def kill_child(self, pid: int) -> None:
        """Kill one child; the main process notices soon."""
        child = self.children[pid]
        self.parts.scheduler.kill(child.process)
        self._later("reaps", lambda: self._reap(child), _MOST_NOTICE_SECONDS)

    def kill(self, *, with_children: bool) -> None:
        """Kill the main process; its children too, or they finish what they hold."""
        scheduler = self.parts.scheduler
        scheduler.kill(self.main)
        for child in self.living_children:
            if with_children or child.request is None:
                scheduler.kill(child.process)
        if self.parts.keeps_unacknowledged:
            for request in self.requests:
                self.parts.broker.restore(request.message)

    def stop(self, seconds: float, *, with_children: bool) -> None:
        """Hold the main process still, and its children."""
        self.parts.scheduler.stop(self.main, seconds)
        for child in self.living_children if with_children else ():
            self.parts.scheduler.stop(child.process, seconds)

    def sign_off(self) -> None:
        """Take no message any more, and leave when nothing runs."""
        if not self.is_leaving:
            self.is_leaving = self.board.has_stopped = True
            self._later("signs off", self._leave, 0.0)

    def _leave(self) -> None:
        self._heart.leave()
        until = self.parts.scheduler.now + self.parts.drain_seconds
        while any(child.request for child in self.living_children):
            self.parts.scheduler.sleep(0.5)
            if self.parts.scheduler.now > until:
                self._cut_steps()
        try:
            ASK_TWICE(self._heart.end)
            self.parts.count("workers signed off")
        except DatabaseError:
            self.parts.count("workers that could not sign off")
        self.kill(with_children=True)

    def _cut_steps(self) -> None:
        """Give back what still runs, and end it; an outage puts that off."""
        drains = self.parts.records.drains
        try:
            for held in drains.find_held(self.board.worker_id):
                taken = drains.take(held)
                pid = self.board.find_pid(held.token)
                if taken is not None:
                    self.parts.build_dispatcher().publish(taken.windows)
                if pid in self.children and self.children[pid].process.is_alive:
                    self.kill_child(pid)
        except DatabaseError:
            self.parts.count("drains without an answer")

    def _reap(self, child: Child) -> None:
        del self.children[child.pid]
        # a slot of the board keeps what a dead process showed; nobody asks for its pid
        if child.request is not None:
            self.requests.remove(child.request)
            self.parts.broker.restore(child.request.message)
        self._start_child()

    def _start_child(self) -> None:
        pid = next(self._pids)
        process = Process(f"{self.name}.{pid}")
        child = self.children[pid] = Child(self, pid, process)
        self.parts.scheduler.start(process.name, process, child.live)

    def _start_threads(self) -> None:
        reconciler = Reconciler(
            self.parts.liveness,
            self.parts.records,
            self.parts.build_dispatcher(),
            self.parts.emitter,
            self.parts.settings,
        )
        board = cast("WorkerBoard", self.board)
        settings = self.parts.settings
        facts = self._state_facts()
        draw = self.parts.dice.uniform
        watch = Watch(self.parts.liveness, reconciler, board, facts, settings, draw)
        self._heart = Heart(self.parts.liveness, board, facts, watch, settings)
        self._repeat("heart", self._heart.beat, settings.beat_seconds)
        self._repeat("watch", watch.look, settings.tick_seconds)

    def _repeat(
        self, what: str, work: Callable[[], float | None], interval_seconds: float
    ) -> None:
        """Work every so often, or when `work` says that it wants to go on."""

        def live() -> None:
            while True:
                seconds: float | None = None
                try:
                    seconds = work()
                except DatabaseError:
                    self.parts.count(f"rounds of the {what} without an answer")
                self.parts.scheduler.sleep(
                    interval_seconds if seconds is None else seconds
                )

        self.parts.scheduler.start(f"{self.name}/{what}", self.main, live)

    def _later(self, what: str, act: Callable[[], None], most_seconds: float) -> None:
        after_seconds = self.parts.dice.random() * most_seconds
        name = f"{self.name}/{what}"
        self.parts.scheduler.start(name, self.main, act, after_seconds)

    def _state_facts(self) -> WorkerFacts:
        return WorkerFacts(
            hostname=self.name,
            pool="prefork",
            count_slots=lambda: self.slots,
            list_queues=lambda: {self.parts.settings.queue, "aside"},
            list_pids=lambda: set(self.children),
        )
