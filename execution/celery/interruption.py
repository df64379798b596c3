"""Raises an error inside code that has outlived its timeout.

The main process asks on the board and sends a signal; the handler, here, raises only
while an action is called, and only in the very attempt that is meant. So the code can
tidy up, and the record says where it was. Code that does not end by it is killed.

A signal reaches the main thread alone: that runs the steps of the pools `prefork` and
`solo`, and of no other.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from execution.answers import Claim
from execution.celery.board import WorkerBoard
from execution.errors import StepTimeoutError

# not SIGUSR1: in a pool's child that is how Celery ends tasks by a limit of its own
INTERRUPT_SIGNAL = signal.SIGUSR2
INTERRUPTIBLE_POOLS = frozenset({"prefork", "solo"})


class Interruption:
    """What of this process may be interrupted, and by whom."""

    def __init__(self, board: WorkerBoard) -> None:
        """Obey what is asked on `board`; begin in the thread that runs the steps."""
        self._board = board
        self._called: tuple[Claim, int] | None = None
        self._raised: StepTimeoutError | None = None
        self._previous: Callable[[int, FrameType | None], Any] | int | None = None
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(INTERRUPT_SIGNAL, self._handle)

    @contextmanager
    def interruptible(self, claim: Claim, attempt: int) -> Iterator[None]:
        """Let the block, which calls an action for an attempt, be interrupted."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._called, self._raised = (claim, attempt), None
        try:
            yield
        except Exception as error:
            if self._raised is None or error is self._raised:
                raise
            # a library between the code and the signal has made another error of it
            raise StepTimeoutError(str(self._raised)) from error
        finally:
            self._called = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        called = self._called
        if called is not None:
            claim, attempt = called
            if self._board.is_asked(claim.held.token, attempt):
                self._called = None
                self._raised = StepTimeoutError(
                    f"attempt {attempt} of step {claim.step} outlived its timeout"
                )
                raise self._raised
        if callable(self._previous):
            self._previous(number, frame)


def interrupt(board: WorkerBoard, token: str, attempt: int, pid: int) -> None:
    """Ask the process `pid`, which shows `token`, to end that attempt."""
    board.ask(token, attempt)
    with suppress(ProcessLookupError):
        os.kill(pid, INTERRUPT_SIGNAL)
