"""A few threads that make the calls which would block an event loop.

Promises: a call that has begun is made to its end, whatever becomes of who waits for
it; one that has not begun when its wait is cancelled is never made; `close` returns
when no thread is left, and ends them also when nobody waits for that any more. Knows
nothing of what is called.
"""

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from .errors import ServiceClosedError

_T = TypeVar("_T")


class CallThreads:
    """Makes blocking calls for coroutines of one event loop."""

    def __init__(self, most_threads: int) -> None:
        """Make up to `most_threads` calls at a time; threads start when needed."""
        self._pool = ThreadPoolExecutor(
            most_threads, thread_name_prefix="plans-service"
        )
        self._calls: set[Future[Any]] = set()
        self._ending: Future[None] | None = None

    async def run(self, call: Callable[[], _T]) -> _T:
        """Return what `call()` does, in a thread, with the context of who calls.

        Raises ServiceClosedError after `close`.
        """
        return await asyncio.wrap_future(self._begin(call))

    async def run_whole(self, call: Callable[[], _T]) -> _T:
        """Do the same, but pass on a cancellation only when the call has ended.

        For what uses something of the caller's, who goes on with it afterwards.
        """
        begun = asyncio.wrap_future(self._begin(call))
        try:
            return await asyncio.shield(begun)
        except asyncio.CancelledError:
            # who is cancelled may be so again, by a deadline of somebody else's
            while not begun.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([begun])
            raise

    async def close(self, last: Callable[[], None]) -> None:
        """Let the calls come to their end, make the `last` one, and end the threads.

        All of that comes about also when this is cancelled; who closes again waits for
        it, and `last` is that of the first.
        """
        if self._ending is None:
            # behind all others, so that what it waits for has a thread already
            end = partial(_end, tuple(self._calls), last)
            self._ending = self._pool.submit(copy_context().run, end)
            self._pool.shutdown(wait=False)
        await asyncio.shield(asyncio.wrap_future(self._ending))
        self._pool.shutdown()

    def _begin(self, call: Callable[[], _T]) -> Future[_T]:
        if self._ending is not None:
            raise ServiceClosedError(
                "the service is closed; use it within `async with`, or after `open`"
            )
        begun = self._pool.submit(copy_context().run, call)
        self._calls.add(begun)
        begun.add_done_callback(self._calls.discard)
        return begun


def _end(calls: Collection[Future[Any]], last: Callable[[], None]) -> None:
    wait_for(calls)
    last()
