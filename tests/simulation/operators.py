"""Operators, who retry what has ended, and skip or force steps of that or of what runs.

They wait until the owners have gone: what these were promised stays as it is told.
"""

import random
import uuid
from collections.abc import Callable
from typing import Any

from execution.acts import Act
from execution.errors import DatabaseError
from execution.operations import ActAnswer, OperationRecords
from execution.relay import ExecutionRelay
from execution.states import ExecutionStatus
from tests.simulation.owners import Desk
from tests.simulation.store import Store

FORCED = {"forced": "by an operator"}
_LOOKS_SECONDS = 5.0
_MOST_LOOKS = 40
_STANDS = "SELECT epoch, status FROM {schema}.executions WHERE id = %s::uuid"
_STEPS = """
    SELECT name FROM {schema}.execution_steps
     WHERE execution_id = %s::uuid AND status <> 'completed' ORDER BY "position"
"""


class Operator:
    """Does some acts on one execution."""

    def __init__(
        self,
        desk: Desk,
        operations: OperationRecords,
        store: Store,
        dice: random.Random,
        is_over: Callable[[str], bool],
    ) -> None:
        """Act on executions of which `is_over` says when they have ended."""
        self._desk = desk
        self._operations = operations
        self._store = store
        self._dice = dice
        self._is_over = is_over
        self._dispatcher = desk.build_dispatcher()
        self._relay = ExecutionRelay(desk.records, self._dispatcher, desk.emitter)

    def live(self, execution_id: str) -> None:
        """Act now and then: mostly on what has ended."""
        for _ in range(self._dice.choice([1, 2, 3])):
            if self._dice.random() < 0.7:
                self._wait_for_end(execution_id)
            self._desk.scheduler.sleep(self._dice.choice([0.1, 2.0, 15.0]))
            self._act(execution_id)

    def _wait_for_end(self, execution_id: str) -> None:
        for _ in range(_MOST_LOOKS):
            if self._is_over(execution_id):
                return
            self._desk.scheduler.sleep(_LOOKS_SECONDS)

    def _act(self, execution_id: str) -> None:
        stands = self._store.execute(_STANDS, (execution_id,))
        names = [row["name"] for row in self._store.execute(_STEPS, (execution_id,))]
        if not stands or not names:
            return
        act = self._dice.choice([Act.RETRY, Act.RETRY, Act.SKIP, Act.FORCE])
        step = None if act is Act.RETRY else self._dice.choice(names)
        act_id = str(uuid.UUID(int=self._dice.getrandbits(128), version=4))
        epoch = stands[0]["epoch"]
        self._until_answered(
            lambda: self._follow(
                execution_id,
                self._operations.operate(
                    act,
                    execution_id,
                    act_id=act_id,
                    epoch=epoch,
                    step=step,
                    result='{"forced": "by an operator"}' if act is Act.FORCE else None,
                    by="ann",
                ),
            )
        )

    def _follow(self, execution_id: str, answer: ActAnswer) -> None:
        # now and then who has asked for it dies before anything follows
        if answer.refusal is not None or self._dice.random() < 0.2:
            return
        self._dispatcher.publish(answer.move.windows)
        self._relay.carry(execution_id)
        move = answer.move
        if move.status is ExecutionStatus.ENDING and move.open_steps == 0:
            self._relay.finish(execution_id)

    def _until_answered(self, act: Callable[[], Any]) -> None:
        while True:
            try:
                act()
            except DatabaseError:
                self._desk.count("operators asked again")
                self._desk.scheduler.sleep(1.0)
            else:
                return
