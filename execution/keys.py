"""Keyed executions: lets those begin that wait for a key, or ends those that had it.

Called by whoever submits, and by the reconcilers, which are told when an execution with
a key has ended and look for themselves at each round. Who may begin is decided in the
database, one execution a transaction; a call too many changes nothing.
"""

import logging

from .dispatcher import ExecutionDispatcher
from .errors import DatabaseError
from .events import ExecutionEventEmitter
from .liveness import LivenessRecords
from .patience import ASK_TWICE
from .relay import ExecutionRelay

logger = logging.getLogger(__name__)


class KeyedExecutions:
    """Gives keys to executions."""

    def __init__(
        self,
        liveness: LivenessRecords,
        relay: ExecutionRelay,
        dispatcher: ExecutionDispatcher,
        emitter: ExecutionEventEmitter,
    ) -> None:
        """Decide through `liveness`, send what begins, finish through `relay`."""
        self._liveness = liveness
        self._relay = relay
        self._dispatcher = dispatcher
        self._emitter = emitter

    def settle(self, key: str) -> int:
        """Give a key to all who may have it now; say how many began, or were ended.

        Raises DatabaseError when PostgreSQL does not answer.
        """
        done = 0
        while True:
            admission = self._liveness.admit_next(key)
            ended = sum(map(self._supersede, admission.superseded))
            if admission.execution_id is not None:
                done += 1
                self._emitter.emit(admission.execution_id, admission.last_seq)
                self._dispatcher.publish(admission.windows)
            done += ended
            if not admission.is_more or (admission.superseded and not ended):
                return done

    def try_settle(self, key: str) -> None:
        """Do the same for an execution that is stored: should it fail, others do it."""
        try:
            ASK_TWICE(self.settle, key)
        except DatabaseError as error:
            logger.warning(
                "a key is left to the reconcilers",
                extra={"concurrency_key": key, "cause": str(error)},
            )

    def _supersede(self, execution_id: str) -> int:
        expiry = self._liveness.supersede(execution_id)
        if expiry is None:
            return 0
        self._emitter.emit(execution_id, expiry.last_seq)
        if expiry.open_steps == 0:
            self._relay.finish(execution_id)
        return 1
