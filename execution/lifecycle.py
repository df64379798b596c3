"""Moves executions on request: pause, resume, cancel, and what follows from it.

A move is checked against the table in `states`, made by one compare-and-set, told to
listeners, and followed by the messages that it allows. What has returned holds: after
`pause` or `cancel` no further step starts.
"""

from collections.abc import Callable

from .dispatcher import ExecutionDispatcher
from .errors import ExecutionNotFoundError, InvalidExecutionStateError
from .events import ExecutionEventEmitter
from .receipts import Move
from .repository import ExecutionRepository
from .states import ExecutionMove, ExecutionStatus, next_status

_MOVES = {
    ExecutionStatus.PAUSED: ExecutionMove.PAUSE,
    ExecutionStatus.RUNNING: ExecutionMove.RESUME,
    ExecutionStatus.ENDING: ExecutionMove.END,
}


class ExecutionStateManager:
    """Changes the states of executions."""

    def __init__(
        self,
        repository: ExecutionRepository,
        dispatcher: ExecutionDispatcher,
        emitter: ExecutionEventEmitter,
        finish: Callable[[str], bool],
        carry: Callable[[str], int],
    ) -> None:
        """Move through `repository`.

        `finish` ends an execution without open steps, `carry` lets those within one
        follow it.
        """
        self._repository = repository
        self._dispatcher = dispatcher
        self._emitter = emitter
        self._finish = finish
        self._carry = carry

    def validate_transition(
        self, current: ExecutionStatus, target: ExecutionStatus
    ) -> None:
        """Raise InvalidExecutionStateError unless a request may lead there."""
        next_status(current, _find_move(target))

    def change_state(
        self,
        execution_id: str,
        target: ExecutionStatus,
        *,
        by: str | None = None,
        reason: str | None = None,
        grace_seconds: float | None = None,
    ) -> ExecutionStatus:
        """Bring an execution to `paused`, `running` or `ending`; return its state.

        `by` and `reason` are kept in its history. Of one that is to end, what runs has
        `grace_seconds`. Raises ExecutionNotFoundError, and
        InvalidExecutionStateError when its state does not allow the move.
        """
        _find_move(target)  # the repository itself would finish what is due
        move = self._repository.update_state(
            execution_id, target, by=by, reason=reason, grace_seconds=grace_seconds
        )
        if move.status is None:
            raise ExecutionNotFoundError(f"there is no execution {execution_id}")
        if not move.landed:
            self.validate_transition(move.status, target)
            raise InvalidExecutionStateError(
                f"execution {execution_id} changed while it was asked to; look again"
            )
        self._follow(execution_id, move)
        return move.status

    def _follow(self, execution_id: str, move: Move) -> None:
        self._emitter.emit(execution_id, move.last_seq)
        self._dispatcher.publish(move.windows)
        # before the call returns: what it promises holds for every execution below
        self._carry(execution_id)
        if move.status is ExecutionStatus.ENDING and move.open_steps == 0:
            self._finish(execution_id)


def _find_move(target: ExecutionStatus) -> ExecutionMove:
    move = _MOVES.get(target)
    if move is None:
        raise InvalidExecutionStateError(
            f"nobody can ask for {target}; ask for {', '.join(sorted(_MOVES))} instead"
        )
    return move
