"""A worker that is played in the test's process: it registers, beats, runs, reconciles.

Its runner, its records and its reconciler are the real ones. What Celery does around
them is played: a message is taken, run, and the rest of its chain is sent on. A worker
that was killed writes nothing any more, not even that it beats, and its lease runs out.
"""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..answers import Claim
from ..errors import RehearsalError, StepTimeoutError
from ..events import ExecutionEventEmitter
from ..liveness import Beat, LivenessRecords
from ..patience import Patience
from ..payloads import PayloadStore
from ..reconciler import Reconciler, Round
from ..recorder import StepRecorder
from ..records import StepRecords
from ..ride import RideLimits
from ..runner import ExecutionTaskRunner
from ..secrets import SecretStore
from .fakes import RehearsedActions
from .surroundings import (
    GroundDatabase,
    Life,
    Message,
    QueueDispatcher,
    Surroundings,
)

_SILENT = ExecutionEventEmitter(None, "")


@dataclass
class Board:
    """What a worker's board is among processes: which tokens it shows."""

    worker_id: str
    tokens: list[str] = field(default_factory=list)

    def expose(self, token: str) -> None:
        """Show a token beside the one before it."""
        self.tokens = [*self.tokens[-1:], token]

    def settle(self) -> None:
        """Show only the token that was exposed last."""
        self.tokens = self.tokens[-1:]

    def withdraw(self) -> None:
        """Show nothing."""
        self.tokens = []

    def listen(self, _token: str) -> None:
        """Call nothing out: who plays it asks the database."""


class RehearsedWorker:
    """One worker with one slot, from its registration until it is killed."""

    def __init__(
        self,
        around: Surroundings,
        actions: RehearsedActions,
        queues: set[str],
        pass_seconds: Callable[[float], None],
    ) -> None:
        """Register for `queues`; waits pass by `pass_seconds(seconds)`."""
        self.life = Life()
        self.board = Board(str(uuid.uuid4()))
        self.published = actions.describe_version()
        self._around = around
        self._actions = actions
        self._queues = queues
        self._message: Message | None = None
        self._called: tuple[Claim, int] | None = None
        self._database = GroundDatabase(around.ground, self.life)
        self._liveness = LivenessRecords(self._database)
        self._dispatcher = QueueDispatcher(around.app, around.queue, self.life)
        payloads = PayloadStore.from_settings(around.settings)
        records = StepRecords(self._database, payloads)
        self._reconciler = Reconciler(
            self._liveness, records, self._dispatcher, _SILENT, around.settings
        )
        patience = Patience(lambda: around.ground.is_lost, pass_seconds)
        self._runner = self._build_runner(records, payloads, patience)
        self._last = self._register()

    def _build_runner(
        self, records: StepRecords, payloads: PayloadStore, patience: Patience
    ) -> ExecutionTaskRunner:
        settings = self._around.settings
        return ExecutionTaskRunner(
            StepRecorder(records, _SILENT, self._dispatcher, patience),
            self._actions,
            self.board,
            self._interruptible,
            # how long the code of a test takes must not decide what rides
            RideLimits(now=lambda: 0.0, steps=64 if settings.ride else 1),
            secrets=SecretStore.from_settings(settings),
            payloads=payloads,
        )

    @property
    def is_running(self) -> bool:
        """Say whether it is in the middle of a message."""
        return self._message is not None

    def handle(self, message: Message) -> None:
        """Run what a message asks for, and send on what follows of its chain.

        Raises ProcessKilledError when it is killed on the way.
        """
        if message.queue not in self._queues:
            self._queues.add(message.queue)
            self.beat()
        self._message = message
        try:
            rest = self._runner.run(message.delivery)
            self._dispatcher.forward(message.links[: len(rest)])
        finally:
            self._message = None

    def beat(self) -> None:
        """Say that it lives, and what it runs."""
        running = [] if self._message is None else [self._message.delivery.id]
        beat = self._liveness.beat(
            self.board.worker_id,
            slots=1,
            in_hand=len(running),
            queues=sorted(self._queues),
            deliveries=running,
            tokens=self.board.tokens,
            previous=self._last,
        )
        if beat is None:
            raise RehearsalError("the worker of the rehearsal was declared dead")
        self._last = beat

    def look(self) -> Round:
        """Do a round of the reconciler; return what it came to."""
        self.beat()
        # of this worker nothing can be overdue here: it runs one thing at a time
        return self._reconciler.mend(self._reconciler.look(self.board.worker_id))

    def end(self) -> None:
        """Sign off."""
        self._liveness.end_worker(self.board.worker_id)

    def raise_if_overdue(self) -> None:
        """End the code that runs, if its attempt has outlived its timeout.

        Raises StepTimeoutError in it, as the signal to a worker's process does.
        """
        if self._called is None:
            return
        claim, attempt = self._called
        overdue = self._database.call_all(
            "overdue_steps", self.board.worker_id, self._around.settings.lease_seconds
        )
        if any(row["lease_token"] == claim.held.token for row in overdue):
            raise StepTimeoutError(
                f"attempt {attempt} of step {claim.step} outlived its timeout"
            )

    @contextmanager
    def _interruptible(self, claim: Claim, attempt: int) -> Iterator[None]:
        self._called = (claim, attempt)
        try:
            yield
        finally:
            self._called = None

    def _register(self) -> Beat:
        return self._liveness.register_worker(
            self.board.worker_id,
            hostname="pytest",
            pid=os.getpid(),
            pool="solo",
            slots=1,
            queues=sorted(self._queues),
            actions=self._actions.to_json(),
        )
