"""What one worker process writes and tells with, from a claim to what follows it.

Promises: a call is made until it is answered, and what follows a write is told and sent
only after its commit. Must not know what is written, nor why.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from .dispatcher import ExecutionDispatcher
from .events import ExecutionEventEmitter
from .patience import Patience
from .records import StepRecords
from .windows import Window

_T = TypeVar("_T")


@dataclass(frozen=True)
class StepRecorder:
    """Writes by `records`, tells by the others; waits for PostgreSQL by `patience`."""

    records: StepRecords
    emitter: ExecutionEventEmitter
    dispatcher: ExecutionDispatcher
    patience: Patience

    def ask(self, call: Callable[[], _T]) -> _T:
        """Return what PostgreSQL answers, however often it has to be asked.

        Raises DatabaseUnavailableError only when the process is stopping.
        """
        return self.patience.until_answered(call)

    def tell(
        self,
        execution_id: str,
        last_seq: int | None,
        windows: Sequence[Window] = (),
        *,
        is_last: bool = False,
    ) -> None:
        """Tell that the timeline has grown, and send the steps that may run now."""
        self.emitter.emit(execution_id, last_seq, is_last=is_last)
        if windows:
            self.dispatcher.publish(windows)
