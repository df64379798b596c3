"""Carries out batches: hands itself items, acts on each, and lets follow what follows.

One is in every reconciler. A batch is nobody's: what one of them leaves undone, another
does. Each item is acted on once, whoever comes to it; should this process end between
an act and what follows, the other looks of the reconcilers find that.

Its clock tells only when to ask again.
"""

import logging
import time
from collections.abc import Callable

from .batch_records import BatchRecords, Handful
from .dispatcher import ExecutionDispatcher
from .events import ExecutionEventEmitter
from .faults import FaultPoint, reach
from .relay import ExecutionRelay

logger = logging.getLogger(__name__)

_MOST_AT_ONCE = 20
_MOST_SECONDS = 0.5
"""How long one call acts: what else a reconciler has to see to must not wait longer."""
_LEAST_REST_SECONDS = 0.05


class BatchCarrier:
    """Acts on the items of batches."""

    def __init__(
        self,
        records: BatchRecords,
        dispatcher: ExecutionDispatcher,
        emitter: ExecutionEventEmitter,
        relay: ExecutionRelay,
        settle: Callable[[str], object],
        *,
        grace_seconds: float,
        most_rest_seconds: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Act through `records`; `settle` gives a key to who waits for it.

        What somebody was handed out is taken for left after `grace_seconds`. Who finds
        nothing to do asks ever less often, every `most_rest_seconds` at least.
        """
        self._records = records
        self._dispatcher = dispatcher
        self._emitter = emitter
        self._relay = relay
        self._settle = settle
        self._grace_seconds = grace_seconds
        self._most_rest_seconds = most_rest_seconds
        self._now = now
        self._due_at: dict[str, float] = {}
        self._rests: dict[str, float] = {}

    def carry(self, batch_id: str) -> int:
        """Act on what is to be acted on now, for half a second; say on how many.

        Raises DatabaseError when PostgreSQL does not answer.
        """
        begun = self._now()
        if self._due_at.setdefault(batch_id, begun) > begun:
            return 0
        until = begun + _MOST_SECONDS
        acted = 0
        while self._now() < until:
            handful = self._records.hand_out(
                batch_id,
                most=_MOST_AT_ONCE,
                grace_seconds=self._grace_seconds,
                can_send=not self._dispatcher.is_quiet,
            )
            if not handful.positions:
                self._put_off(batch_id, handful)
                break
            self._rests.pop(batch_id, None)
            acted += self._act_on_all(batch_id, handful)
        return acted

    def carry_known(self) -> int:
        """Do the same for all batches that it has heard of and that go on."""
        return sum(map(self.carry, tuple(self._due_at)))

    @property
    def rest_seconds(self) -> float:
        """In how many seconds there may be something to do; without end for nothing."""
        due_at = min(self._due_at.values(), default=float("inf"))
        return max(0.0, due_at - self._now())

    def _act_on_all(self, batch_id: str, handful: Handful) -> int:
        acted = 0
        for position in handful.positions:
            deed = self._records.act(batch_id, position)
            if deed.is_stopped:
                break
            if deed.is_acted_on:
                reach(FaultPoint.ACTED)
                acted += 1
                self._emitter.emit(deed.execution_id, deed.last_seq)
                self._dispatcher.publish(deed.windows)
                if deed.held_key is not None:
                    self._settle(deed.held_key)
                self._relay.carry(deed.execution_id)
            if deed.has_to_finish:
                self._relay.finish(deed.execution_id)
        return acted

    def _put_off(self, batch_id: str, handful: Handful) -> None:
        if handful.is_running is False:
            self._due_at.pop(batch_id, None)
            self._rests.pop(batch_id, None)
            return
        # many reconcilers need not ask as often as one that the rate keeps waiting
        rest = max(handful.wait_seconds, self._rests.get(batch_id, 0.0))
        rest = min(max(rest, _LEAST_REST_SECONDS), self._most_rest_seconds)
        self._rests[batch_id] = 2 * rest
        self._due_at[batch_id] = self._now() + rest
