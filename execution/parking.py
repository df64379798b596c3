"""Parked executions: lets their steps go on once what they wait for is resumed.

Called by whoever resumed it, for the first of them, and by the reconcilers, which are
told and look for themselves at each round. One execution a transaction, and a call too
many changes nothing: who dies half-way has lost nothing.
"""

import logging

from .dispatcher import ExecutionDispatcher
from .errors import DatabaseError
from .events import ExecutionEventEmitter
from .liveness import LivenessRecords

logger = logging.getLogger(__name__)


class ParkedExecutions:
    """Makes parked steps ready that nothing holds any more."""

    def __init__(
        self,
        liveness: LivenessRecords,
        dispatcher: ExecutionDispatcher,
        emitter: ExecutionEventEmitter,
    ) -> None:
        """Write through `liveness`, send and tell through the others."""
        self._liveness = liveness
        self._dispatcher = dispatcher
        self._emitter = emitter

    def release(self, execution_id: str) -> int:
        """Let an execution go on; say how many of its steps do.

        None do where somebody has locked it: the reconcilers come back to it.
        """
        awakening = self._liveness.unpark_steps(execution_id)
        if awakening is None:
            return 0
        self._emitter.emit(execution_id, awakening.last_seq)
        self._dispatcher.publish(awakening.windows)
        return awakening.steps

    def try_release(self, most: int) -> None:
        """Let up to `most` executions go on; should it fail, the reconcilers do it."""
        try:
            for execution_id in self._liveness.find_resumable_executions(most):
                self.release(execution_id)
        except DatabaseError as error:
            logger.warning(
                "parked steps are left to the reconcilers",
                extra={"cause": str(error)},
            )
