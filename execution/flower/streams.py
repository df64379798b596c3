"""How many streams there are, and their end.

Promises: there are never more than so many, and after `close` none; a stream whose
reader has left ends at once. Knows nothing of what is told in them.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Streams:
    """The streams of one tab."""

    def __init__(self, most: int) -> None:
        """Allow so many at a time."""
        self._most = most
        self._told: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._told)

    @property
    def is_full(self) -> bool:
        """Say whether there is no place for another."""
        return self._is_closed or len(self._told) >= self._most

    def begin(self, telling: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run what tells a stream; cancelling the task ends it."""
        task = asyncio.create_task(telling, name="plans-stream")
        self._told.add(task)
        task.add_done_callback(self._told.discard)
        return task

    async def close(self) -> None:
        """End all, and allow no other."""
        self._is_closed = True
        for task in self._told:
            task.cancel()
        await asyncio.gather(*self._told, return_exceptions=True)
