"""Those who send signals to executions whose steps wait for them.

A signal is sent early, late, twice under one key, or not at all where a step has a
default; what still waits for one without an end is found, and gets another.
"""

import random
import uuid
from collections.abc import Callable

from execution.ending import finish_execution
from execution.errors import DatabaseError
from execution.signal_records import SendAnswer, SignalRecords
from tests.simulation.awaiting import SIGNALS
from tests.simulation.owners import Desk
from tests.simulation.store import Store

_LOOKS_SECONDS = 20.0
_FORLORN = """
    SELECT substr(waits_for, length('signal:') + 1) AS name
      FROM {schema}.execution_steps
     WHERE execution_id = %s::uuid AND status = 'waiting' AND wake_at IS NULL
       AND starts_with(waits_for, 'signal:') ORDER BY "position"
"""


class Signaller:
    """Sends to one execution what its steps wait for."""

    def __init__(
        self,
        desk: Desk,
        signals: SignalRecords,
        store: Store,
        dice: random.Random,
        is_over: Callable[[str], bool],
    ) -> None:
        """Go on until `is_over` says that an execution has ended."""
        self._desk = desk
        self._signals = signals
        self._store = store
        self._dice = dice
        self._is_over = is_over
        self._dispatcher = desk.build_dispatcher()

    def live(self, execution_id: str) -> None:
        """Send at moments that the dice say, and then what still is missed."""
        for _ in range(self._dice.choice([0, 1, 2, 3])):
            self._desk.scheduler.sleep(self._dice.choice([0.01, 1.0, 8.0, 60.0]))
            self._send(execution_id, self._dice.choice(SIGNALS))
        while not self._is_over(execution_id):
            self._desk.scheduler.sleep(_LOOKS_SECONDS)
            for row in self._store.execute(_FORLORN, (execution_id,)):
                self._send(execution_id, row["name"])

    def _send(self, execution_id: str, name: str) -> None:
        key = str(self._dice.getrandbits(32))
        for _ in range(self._dice.choice([1, 1, 2])):
            signal_id = str(uuid.UUID(int=self._dice.getrandbits(128), version=4))
            self._until_answered(execution_id, name, signal_id, key)

    def _until_answered(
        self, execution_id: str, name: str, signal_id: str, key: str
    ) -> None:
        while True:
            try:
                answer = self._signals.send(
                    execution_id,
                    name,
                    f'"{name} {key}"',
                    signal_id=signal_id,
                    by="ann",
                    reason=None,
                    key=key,
                )
                self._follow(execution_id, answer)
            except DatabaseError:
                self._desk.count("signallers asked again")
                self._desk.scheduler.sleep(1.0)
            else:
                return

    def _follow(self, execution_id: str, answer: SendAnswer) -> None:
        # now and then who has sent it dies before anything follows
        if answer.completion is None or self._dice.random() < 0.2:
            return
        self._dispatcher.publish(answer.completion.windows)
        if answer.completion.is_last:
            finish_execution(self._desk.records, self._desk.emitter, execution_id)
