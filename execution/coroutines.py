"""Runs the code of `async def` actions, and cancels it when its attempt is to end.

It is cancelled as asyncio cancels: `CancelledError` is raised where the code awaits,
and what it awaits to tidy up is awaited. Nobody need reach into the event loop for
that, so it works in every kind of pool: the loop itself asks from time to time.

Must not know who says that an attempt is to end, nor what becomes of it.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from .summons import Summoned, Summons

_T = TypeVar("_T")

_LOOK_SECONDS = 0.1
_BLOCKED_SECONDS = 0.5
"""A loop that has not looked for so long is kept busy by code that does not await."""

_present = threading.local()


def run_coroutine(coroutine: Coroutine[Any, Any, _T], summoned: object) -> _T:
    """Return what `coroutine` does, in an event loop of its own.

    When it ends by an error after it was cancelled, that of the summons is raised, and
    has the other as its cause.
    """
    find = summoned.find_summons if isinstance(summoned, Summoned) else _find_none
    return asyncio.run(_attend(coroutine, find))


def is_attending() -> bool:
    """Say whether this thread's event loop will soon hear of a summons by itself."""
    looked_at: float | None = getattr(_present, "looked_at", None)
    return looked_at is not None and time.monotonic() < looked_at + _BLOCKED_SECONDS


async def _attend(
    coroutine: Coroutine[Any, Any, _T], find: Callable[[], Summons | None]
) -> _T:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  # asyncio.run has begun it
    watcher = _Watcher(task, find)
    watcher.look()
    try:
        return await coroutine
    except (Exception, asyncio.CancelledError) as error:
        if watcher.heard is None:
            raise
        raise watcher.heard.error from error
    finally:
        watcher.end()


class _Watcher:
    """Looks for a summons as long as the loop turns, and cancels the task."""

    def __init__(
        self, task: "asyncio.Task[Any]", find: Callable[[], Summons | None]
    ) -> None:
        self.heard: Summons | None = None
        self._task = task
        self._find = find
        self._loop = task.get_loop()
        self._timer: asyncio.TimerHandle | None = None

    def look(self) -> None:
        _present.looked_at = time.monotonic()
        # before anything else can fail: the next look must come
        self._timer = self._loop.call_later(_LOOK_SECONDS, self.look)
        summons = self._find()
        if summons is not None and summons != self.heard:
            self.heard = summons
            self._task.cancel(str(summons.error))

    def end(self) -> None:
        _present.looked_at = None
        if self._timer is not None:
            self._timer.cancel()


def _find_none() -> None:
    return None
