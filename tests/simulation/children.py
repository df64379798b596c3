"""The children of a worker's pool: each takes a message, runs it, sends what follows.

The runner is the real one; what is played here is what Celery does around it. A child
that was killed shows its token until its worker notices.
"""

import random
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from execution.actions import ActionRegistry
from execution.answers import Claim
from execution.database import DatabaseUnavailableError
from execution.dispatcher import ExecutionDispatcher
from execution.events import ExecutionEventEmitter
from execution.liveness import LivenessRecords
from execution.patience import Patience
from execution.recorder import StepRecorder
from execution.records import StepRecords
from execution.ride import Delivery, RideLimits
from execution.runner import ExecutionTaskRunner
from execution.settings import Settings
from tests.simulation.broker import Message, SimulatedBroker
from tests.simulation.scheduler import Process, Scheduler

_NOBODY = str(uuid.UUID(int=0))


@dataclass(frozen=True)
class Parts:
    """What every process of a world works with."""

    scheduler: Scheduler
    dice: random.Random
    broker: SimulatedBroker
    settings: Settings
    registry: ActionRegistry
    records: StepRecords
    liveness: LivenessRecords
    build_dispatcher: Callable[[], ExecutionDispatcher]
    emitter: ExecutionEventEmitter
    keeps_unacknowledged: bool
    ride_limits: RideLimits
    drain_seconds: float
    count: Callable[[str], None]


class Worker(Protocol):
    """What a child knows of its worker."""

    parts: Parts
    main: Process
    board: "Board"
    is_leaving: bool

    def kill_child(self, pid: int) -> None:
        """Kill one child; the main process notices soon."""

    def take_on(self, request: "Request") -> None:
        """Count a message as reserved."""

    def let_go(self, request: "Request") -> None:
        """Hear that a child is done with a message, a moment later."""


@dataclass(eq=False)
class Request:
    """A delivery in the hands of a worker."""

    message: Message
    is_active: bool = False

    @property
    def id(self) -> str:
        """The delivery's id, as the heart reads it."""
        return self.message.id


@dataclass
class Board:
    """What `WorkerBoard` is among processes, among actors."""

    worker_id: str = _NOBODY
    shown: dict[int, list[str]] = field(default_factory=dict)
    asked: set[tuple[str, int]] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    has_stopped: bool = False

    def is_stopping(self) -> bool:
        """Say whether the worker was told to stop."""
        return self.has_stopped

    def ask(self, token: str, attempt: int) -> None:
        """Ask whoever shows `token` to end that attempt of it."""
        self.asked.add((token, attempt))

    def tell(self, token: str) -> None:
        """Tell whoever shows `token` that nobody wants its step any more."""
        self.told.add(token)

    def find_begin(self, token: str) -> None:
        """Return nothing: no code of a step starts a process."""

    def find_tokens(self, pids: set[int]) -> tuple[str, ...]:
        """Return the tokens that the processes `pids` show."""
        return tuple(
            token
            for pid, tokens in sorted(self.shown.items())
            for token in tokens
            if pid in pids
        )

    def find_pid(self, token: str) -> int | None:
        """Return the process that shows `token`."""
        return next((pid for pid, ts in self.shown.items() if token in ts), None)


@dataclass(frozen=True)
class Calls:
    """What `BoardCalls` is; a process that was killed hears nothing any more."""

    board: Board
    token: str

    def is_told(self) -> bool:
        """Say whether nobody wants the step's work any more."""
        return self.token in self.board.told

    def heed(self, attempt: int) -> bool:
        """Say whether that attempt is asked to end."""
        return (self.token, attempt) in self.board.asked


@dataclass(eq=False)
class Child:
    """A process of a pool; to its runner it is the holder of tokens."""

    worker: Worker
    pid: int
    process: Process
    request: Request | None = None
    called: tuple[str, int] | None = None

    @property
    def is_asked_to_end(self) -> bool:
        """Say whether the attempt whose code runs here is asked to end."""
        return self.called is not None and self.called in self.worker.board.asked

    @property
    def worker_id(self) -> str:
        """The worker's id at this moment."""
        return self.worker.board.worker_id

    def expose(self, token: str) -> None:
        """Show a token beside the last one, unless this process is no more."""
        if self.process.is_alive:
            self.worker.board.shown[self.pid] = [*self.tokens[-1:], token]

    def settle(self) -> None:
        """Show only the last token."""
        if self.process.is_alive:
            self.worker.board.shown[self.pid] = self.tokens[-1:]

    def withdraw(self) -> None:
        """Show nothing any more."""
        if self.process.is_alive:
            self.worker.board.shown.pop(self.pid, None)

    def listen(self, token: str) -> Calls:
        """Return what is called out to this process."""
        return Calls(self.worker.board, token)

    @property
    def tokens(self) -> list[str]:
        """What this process shows."""
        return self.worker.board.shown.get(self.pid, [])

    def live(self) -> None:
        """Take messages and run them until the worker ends."""
        worker, parts = self.worker, self.worker.parts
        dispatcher = parts.build_dispatcher()
        runner = ExecutionTaskRunner(
            StepRecorder(
                parts.records,
                parts.emitter,
                dispatcher,
                Patience(lambda: worker.is_leaving, parts.scheduler.sleep),
            ),
            parts.registry,
            self,
            self._interruptible,
            parts.ride_limits,
        )
        while worker.main.is_alive and not worker.is_leaving:
            # messages come through the main process
            held_seconds = worker.main.stopped_until - parts.scheduler.now
            if held_seconds > 0:
                parts.scheduler.sleep(held_seconds)
            elif message := parts.broker.take():
                self._handle(runner, dispatcher, Request(message))
            else:
                parts.broker.wait(parts.scheduler.current)

    @contextmanager
    def _interruptible(self, claim: Claim, attempt: int) -> Iterator[None]:
        self.called = (claim.held.token, attempt)
        try:
            yield
        finally:
            self.called = None

    def _handle(
        self,
        runner: ExecutionTaskRunner,
        dispatcher: ExecutionDispatcher,
        request: Request,
    ) -> None:
        parts = self.worker.parts
        self.request = request
        self.worker.take_on(request)
        parts.scheduler.switch(f"reserved {request.id}")
        request.is_active = True
        (execution_id, positions, epoch), links = request.message.read()
        delivery = Delivery(request.id, execution_id, tuple(positions), epoch)
        try:
            rest = runner.run(delivery)
        except DatabaseUnavailableError:
            # told to stop while PostgreSQL is away: Celery reports a task that failed
            parts.count("deliveries given up by a worker that stops")
            rest = ()
        if not dispatcher.forward((links or ())[: len(rest)]):
            parts.count("links of chains that could not be sent")
        parts.scheduler.switch(f"done with {request.id}")
        self.request = None
        self.worker.let_go(request)
