"""Raises an error inside code whose time is over: after its timeout, or after a cancel.

The main process asks on the board and sends a signal; the handler, here, raises only
while an action is called, and only in the very attempt that is meant. So the code can
tidy up, and the record says where it was. Code that does not end by it is killed. An
event loop hears by itself that it is asked; the handler leaves it alone while it turns.

A signal reaches the main thread alone: that runs the steps of the pools `prefork` and
`solo`, and of no other. What an attempt that was cut has started and left is ended
there as well.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from ..answers import Claim
from ..coroutines import is_attending
from ..errors import ExecutionCancelledError, StepTimeoutError
from ..summons import build_ending
from .board import WorkerBoard
from .processes import Strays, kill_descendants

# not SIGUSR1: in a pool's child that is how Celery ends tasks by a limit of its own
INTERRUPT_SIGNAL = signal.SIGUSR2
INTERRUPTIBLE_POOLS = frozenset({"prefork", "solo"})


class Interruption:
    """What of this process may be interrupted, and by whom."""

    def __init__(self, board: WorkerBoard) -> None:
        """Obey what is asked on `board`; begin in the thread that runs the steps."""
        self._board = board
        self._called: tuple[Claim, int] | None = None
        self._raised: StepTimeoutError | ExecutionCancelledError | None = None
        self._previous: Callable[[int, FrameType | None], Any] | int | None = None
        self._strays: Strays | None = None
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(INTERRUPT_SIGNAL, self._handle)
            self._strays = Strays()

    @contextmanager
    def interruptible(self, claim: Claim, attempt: int) -> Iterator[None]:
        """Let the block, which calls an action for an attempt, be interrupted."""
        if (
            self._strays is None
            or threading.current_thread() is not threading.main_thread()
        ):
            yield
            return
        self._board.begin(self._strays.mark())
        self._called, self._raised = (claim, attempt), None
        try:
            yield
        except Exception as error:
            self._called = None
            if self._is_cut(error, claim):
                self._end_processes(claim)
            # of any class: libraries wrap what they see, and ours must be found in it
            if self._raised is None or error is self._raised:
                raise
            raise type(self._raised)(str(self._raised)) from error
        finally:
            self._called = None

    def _is_cut(self, error: Exception, claim: Claim) -> bool:
        return (
            self._raised is not None
            or isinstance(error, (StepTimeoutError, ExecutionCancelledError))
            or self._board.listen(claim.held.token).is_told()
        )

    def _end_processes(self, claim: Claim) -> None:
        begun = self._board.find_begin(claim.held.token)
        if begun is not None:
            kill_descendants(os.getpid(), begun)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        called = self._called
        if called is not None:
            claim, attempt = called
            calls = self._board.listen(claim.held.token)
            if self._board.is_asked(claim.held.token, attempt):
                if is_attending():
                    return
                self._called = None
                self._raised = build_ending(
                    claim.step, attempt, is_told=calls.is_told()
                )
                raise self._raised
        if callable(self._previous):
            self._previous(number, frame)


def interrupt(board: WorkerBoard, token: str, attempt: int, pid: int) -> None:
    """Ask the process `pid`, which shows `token`, to end that attempt."""
    board.ask(token, attempt)
    with suppress(ProcessLookupError):
        os.kill(pid, INTERRUPT_SIGNAL)
