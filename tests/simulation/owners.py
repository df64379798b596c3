"""Those who submit executions, pause them, go on and cancel, at moments of their own.

An owner does what `ExecutionEngine` does, with the real repository, state manager and
dispatcher; a submit whose outcome it does not know it repeats under the same id.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from execution.dispatcher import ExecutionDispatcher
from execution.errors import (
    ConcurrencyConflictError,
    DatabaseError,
    InvalidExecutionStateError,
)
from execution.events import ExecutionEventEmitter
from execution.keys import KeyedExecutions
from execution.lifecycle import ExecutionStateManager
from execution.liveness import LivenessRecords
from execution.patience import ASK_TWICE
from execution.plan import Plan
from execution.records import StepRecords
from execution.relay import ExecutionRelay
from execution.repository import ExecutionRepository
from execution.states import ExecutionStatus
from execution.transactions import Transaction
from tests.simulation.scheduler import Scheduler


class Wish(StrEnum):
    """What an owner asks for after the submit."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"


_SHARE_WITHIN_TRANSACTIONS = 0.15
"""How many submit in a transaction of their own, and leave the sending to others."""
_TARGETS = {
    Wish.PAUSE: ExecutionStatus.PAUSED,
    Wish.RESUME: ExecutionStatus.RUNNING,
    Wish.CANCEL: ExecutionStatus.ENDING,
}
_SCRIPTS: tuple[tuple[Wish, ...], ...] = (
    (),
    (Wish.PAUSE, Wish.RESUME),
    (Wish.PAUSE, Wish.RESUME, Wish.PAUSE, Wish.RESUME),
    (Wish.CANCEL,),
    (Wish.PAUSE, Wish.CANCEL),
)


@dataclass(frozen=True)
class Desk:
    """What owners work with; `stands_still` are executions that may start nothing."""

    scheduler: Scheduler
    dice: random.Random
    repository: ExecutionRepository
    records: StepRecords
    liveness: LivenessRecords
    build_dispatcher: Callable[[], ExecutionDispatcher]
    emitter: ExecutionEventEmitter
    transaction: Transaction
    queue: str
    stands_still: set[str]
    count: Callable[[str], None]


class Owner:
    """Somebody with one execution."""

    def __init__(self, desk: Desk, execution_id: str, plan: Plan | None) -> None:
        """Own an execution; without a plan, it was submitted by somebody else."""
        self._desk = desk
        self._id = execution_id
        self._plan = plan
        self._is_within = desk.dice.random() < _SHARE_WITHIN_TRANSACTIONS
        self._dispatcher = desk.build_dispatcher()
        self._relay = ExecutionRelay(desk.records, self._dispatcher, desk.emitter)
        self._keyed = KeyedExecutions(
            desk.liveness, self._relay, self._dispatcher, desk.emitter
        )
        self._states = ExecutionStateManager(
            desk.repository,
            self._dispatcher,
            desk.emitter,
            self._finish,
            lambda execution_id: ASK_TWICE(self._relay.carry, execution_id),
        )

    def live(self) -> None:
        """Submit, and ask for whatever the dice say."""
        desk = self._desk
        if self._plan is not None:
            try:
                self._until_answered(self._submit)
            except ConcurrencyConflictError:
                return
        script = desk.dice.choices(_SCRIPTS, [10, 4, 1, 2, 1])[0]
        self._ask(script)

    def inherit(self) -> None:
        """Go on with what somebody else has paused and left."""
        self._ask((Wish.RESUME,))

    def _ask(self, script: Sequence[Wish]) -> None:
        for wish in script:
            self._desk.scheduler.sleep(self._desk.dice.choice([0.01, 0.5, 15.0]))
            self._until_answered(lambda w=wish: self._change(w))  # type: ignore[misc]  # bound to this round

    def _submit(self) -> None:
        assert self._plan is not None
        desk = self._desk
        submitted = desk.repository.submit(
            self._plan,
            self._plan.bind({}),
            queue=desk.queue,
            execution_id=self._id,
            transaction=desk.transaction if self._is_within else None,
        )
        desk.emitter.emit(self._id, submitted.last_seq)
        self._dispatcher.publish(submitted.windows)
        if submitted.held_key is not None:
            self._keyed.try_settle(submitted.held_key)

    def _change(self, wish: Wish) -> None:
        still = self._desk.stands_still
        if wish is Wish.RESUME:
            still.discard(self._id)
        try:
            self._states.change_state(
                self._id, _TARGETS[wish], grace_seconds=self._draw_grace(wish)
            )
        except InvalidExecutionStateError:
            # it has ended, or a call whose answer was lost had moved it
            self._desk.count("moves refused")
            return
        if wish is not Wish.RESUME:
            still.add(self._id)

    def _draw_grace(self, wish: Wish) -> float | None:
        if wish is not Wish.CANCEL:
            return None
        # of their own, so that worlds without a cancel are those of before
        dice = random.Random(f"grace {self._id}")
        return dice.choice([None, 0.0, 3.0, 20.0])

    def _finish(self, execution_id: str) -> bool:
        return ASK_TWICE(self._relay.finish, execution_id)

    def _until_answered(self, act: Callable[[], None]) -> None:
        while True:
            try:
                act()
            except DatabaseError:
                self._desk.count("owners asked again")
                self._desk.scheduler.sleep(1.0)
            else:
                return
