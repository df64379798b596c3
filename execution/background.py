"""Coroutines that a program starts and goes on without: named, bounded, accounted for.

For what belongs to one process and may be lost with it: a cache to warm, a mail to
send. What must survive is a plan.

Promises: no task is left behind, no failure goes unseen, and what is remembered is
bounded. Knows nothing of executions.
"""

import asyncio
import logging
import uuid
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType
from typing import Any, Self, TypeAlias

from .errors import (
    BackgroundTaskLimitError,
    BackgroundTaskNotFoundError,
    ServiceClosedError,
)
from .results import ErrorRecord, error_code

logger = logging.getLogger(__name__)

MOST_RUNNING = 100
"""How many run at a time; more wait, and begin in the order in which they came."""
MOST_WAITING = 1_000
"""How many wait for a place; more are refused."""
MOST_KEPT = 1_000
"""How many that have ended are remembered; the oldest is forgotten first."""

_INSIST_SECONDS = 1.0
"""How long after a cancellation that was swallowed, at the close, the next comes."""

Work: TypeAlias = Coroutine[Any, Any, Any] | Callable[[], Coroutine[Any, Any, Any]]
"""A coroutine, or what makes one when its time has come."""


class BackgroundTaskState(StrEnum):
    """Where a background task stands."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class BackgroundTask:
    """A background task at one moment; `result` once completed, `error` once failed."""

    id: str
    name: str
    state: BackgroundTaskState
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    result: Any = None
    error: ErrorRecord | None = None

    @property
    def has_ended(self) -> bool:
        """Say whether it will not change any more."""
        return self.ended_at is not None


class BackgroundTaskManager:
    """Runs coroutines in the event loop of who starts them; close it in the end.

    Used with `async with`, it is closed at the end of the block.
    """

    def __init__(
        self,
        *,
        most_running: int = MOST_RUNNING,
        most_waiting: int = MOST_WAITING,
        most_kept: int = MOST_KEPT,
    ) -> None:
        """Let `most_running` run at a time and `most_waiting` wait for a place.

        Of those that have ended, `most_kept` are remembered.
        """
        if most_running < 1 or most_waiting < 0 or most_kept < 0:
            raise ValueError("most_running counts from 1, the others from 0")
        self._places = asyncio.Semaphore(most_running)
        self._most_living = most_running + most_waiting
        self._most_kept = most_kept
        self._living: dict[str, asyncio.Task[Any]] = {}
        self._records: dict[str, BackgroundTask] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._is_closed = False

    def start(self, work: Work, *, name: str | None = None) -> str:
        """Let a coroutine run, or wait for its place, and return its id at once.

        `work` may make the coroutine instead, when it has its place; `name` is for
        people. Raises BackgroundTaskLimitError when as many wait as may, and
        ServiceClosedError after `close`, and RuntimeError outside of an event loop; a
        coroutine is closed then.
        """
        try:
            asyncio.get_running_loop()
            self._refuse_excess()
        except BaseException:
            # whatever it was: a coroutine that is left open is warned of, far from here
            _discard(work)
            raise
        task_id = str(uuid.uuid4())
        name = name or getattr(work, "__qualname__", None) or repr(work)
        self._records[task_id] = BackgroundTask(
            task_id, name, BackgroundTaskState.WAITING, datetime.now(UTC)
        )
        task = asyncio.create_task(self._run(task_id, work), name=f"plans: {name}")
        self._living[task_id] = task
        # one that is cancelled before its first step never comes to run its own code
        task.add_done_callback(lambda done: self._settle(task_id, work, done))
        return task_id

    def get(self, task_id: str) -> BackgroundTask:
        """Return how a task stands; raises BackgroundTaskNotFoundError."""
        found = self._records.get(task_id)
        if found is None:
            raise BackgroundTaskNotFoundError(
                f"there is no background task {task_id!r}; of those that have ended,"
                f" the last {self._most_kept} are remembered"
            )
        return found

    def list_tasks(self) -> tuple[BackgroundTask, ...]:
        """Return every task that is remembered, in the order of their start."""
        return tuple(self._records.values())

    async def wait(self, task_id: str) -> BackgroundTask:
        """Wait until a task has ended, and return how; raises as `get` does."""
        record, living = self.get(task_id), self._living.get(task_id)
        if living is None:
            return record
        await asyncio.wait([living])
        # it may be forgotten already where many end at once
        return self._records.get(task_id, record)

    async def cancel(self, task_id: str) -> BackgroundTask:
        """Cancel a task, wait for its end, and return how it ended.

        One that has ended stays as it is; one that does not obey is waited for, and may
        complete. Raises BackgroundTaskNotFoundError.
        """
        self.get(task_id)
        if task_id in self._living:
            self._living[task_id].cancel()
        return await self.wait(task_id)

    def clear(self) -> int:
        """Forget the tasks that have ended, and return how many there were."""
        count = len(self._ended)
        while self._ended:
            self._forget_oldest()
        return count

    async def close(self) -> None:
        """Take no more, cancel all, and wait until the last one has ended.

        One that swallows its cancellation is cancelled again each second.
        """
        self._is_closed = True
        while living := list(self._living.values()):
            for task in living:
                task.cancel()
            await asyncio.wait(living, timeout=_INSIST_SECONDS)

    async def __aenter__(self) -> Self:
        """Close at the end of the block."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        await self.close()

    def _refuse_excess(self) -> None:
        if self._is_closed:
            raise ServiceClosedError("no background task begins once they are closed")
        if len(self._living) >= self._most_living:
            raise BackgroundTaskLimitError(
                f"{self._most_living} background tasks run or wait already; start this"
                " one later, or let more run"
            )

    async def _run(self, task_id: str, work: Work) -> Any:
        async with self._places:
            self._change(
                task_id,
                state=BackgroundTaskState.RUNNING,
                started_at=datetime.now(UTC),
            )
            return await (work() if callable(work) else work)

    def _settle(self, task_id: str, work: Work, done: "asyncio.Task[Any]") -> None:
        _discard(work)
        del self._living[task_id]
        now = datetime.now(UTC)
        if done.cancelled():
            self._change(task_id, state=BackgroundTaskState.CANCELLED, ended_at=now)
        elif (error := done.exception()) is not None:
            state = BackgroundTaskState.FAILED
            record = _record_error(error, now)
            self._change(task_id, state=state, ended_at=now, error=record)
            logger.error(
                "background task failed",
                exc_info=error,
                extra={"task_id": task_id, "task_name": self._records[task_id].name},
            )
        else:
            state, result = BackgroundTaskState.COMPLETED, done.result()
            self._change(task_id, state=state, ended_at=now, result=result)
        self._ended[task_id] = None
        while len(self._ended) > self._most_kept:
            self._forget_oldest()

    def _change(self, task_id: str, **changes: Any) -> None:
        self._records[task_id] = replace(self._records[task_id], **changes)

    def _forget_oldest(self) -> None:
        task_id, _ = self._ended.popitem(last=False)
        del self._records[task_id]


def _discard(work: Work) -> None:
    """Close a coroutine that was never begun; one that was has ended."""
    if not callable(work):
        work.close()


def _record_error(error: BaseException, now: datetime) -> ErrorRecord:
    message = f"{type(error).__name__}: {error}"
    return ErrorRecord(error_code(error), message, None, now, recoverable=False)
