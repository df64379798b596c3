"""Executions waited for and watched in an event loop: what a service tells of them.

Who waits for one execution, or watches one, holds no thread: all share a lookout. Who
watches many at once, or is called back, has a thread of the engine's that reads, and
hears of each update in the event loop before the next is read.
"""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from functools import partial
from operator import ne
from typing import Any, TypeVar

from .cursors import Horizon, read_mark
from .database import DatabaseUnavailableError
from .engine import ExecutionEngine
from .errors import ServiceClosedError
from .filters import ExecutionFilter
from .logs import POLL_SECONDS
from .lookout import Lookout
from .observations import LineLevel, LogLine
from .results import ExecutionResult, Headway
from .states import is_terminal
from .subscribing import Callback
from .threads import CallThreads
from .updates import ExecutionUpdate

_T = TypeVar("_T")

_BREATH_SECONDS = 0.1
"""Before a call is made again that PostgreSQL did not answer, though it does others."""


class AwaitedExecutions:
    """What `ExecutionService` tells of executions while they run."""

    def __init__(self, threads: CallThreads) -> None:
        """Make blocking calls by `threads`; the engine comes when it is opened."""
        self._threads = threads
        self._opened: ExecutionEngine | None = None
        self._looking: Lookout | None = None
        self._readers: set[_Updates] = set()

    async def wait(
        self, execution_id: str, *, timeout_seconds: float | None = None
    ) -> ExecutionResult:
        """Wait until the execution has ended and return how.

        An outage of PostgreSQL is waited out. Raises ExecutionNotFoundError, and after
        `timeout_seconds` TimeoutError, or DatabaseError in an outage.
        """
        engine, lookout = self._engine, self._lookout
        until = None
        if timeout_seconds is not None:
            until = asyncio.get_running_loop().time() + timeout_seconds
        with lookout.watch(execution_id, for_end=True) as watch:
            headway = await lookout.wait_until(watch, lambda one: one.has_ended, until)
        if not headway.has_ended:
            raise TimeoutError(
                f"execution {execution_id} is still {headway.status} after"
                f" {timeout_seconds:g} s; it goes on"
            )
        return await self._ask(partial(engine.get_result, execution_id), until)

    def monitor(
        self, execution_id: str, *, after: int | str = 0
    ) -> AsyncGenerator[ExecutionUpdate, None]:
        """Yield where the execution stands, each time it has moved, until it has ended.

        Every event comes exactly once, in order: those after `after`, which is the
        `cursor` of an update or the number of an event. Where the database was restored
        from a backup from before that, the timeline is told anew from its start. An
        outage of PostgreSQL is waited out. Raises CursorError, and
        ExecutionNotFoundError when there is no such execution.
        """
        read_mark(after)
        return self._follow(execution_id, after)

    async def follow_logs(
        self,
        execution_id: str,
        *,
        step: str | None = None,
        level: LineLevel | str | None = None,
        after: int = 0,
    ) -> AsyncGenerator[LogLine, None]:
        """Yield the lines that steps tell, until the execution has ended.

        Every line with an id above `after` comes exactly once, in order: those of
        `step`, or of its items and iterations; and of `level` or above. An outage of
        PostgreSQL is waited out. Raises ExecutionNotFoundError when there is no such
        execution.
        """
        read = partial(self._engine.read_logs, execution_id, step=step, level=level)
        while True:
            page = await self._ask(partial(read, after=after))
            for line in page.lines:
                after = line.id
                yield line
            if not page.lines:
                if is_terminal(page.status):
                    return
                await asyncio.sleep(POLL_SECONDS)

    async def monitor_all(
        self, wanted: ExecutionFilter | None = None, *, after: str | None = None
    ) -> AsyncGenerator[ExecutionUpdate, None]:
        """Yield an update for each execution that matches, each time it has moved.

        The updates are those of the engine's `monitor_all`, until the caller stops.
        Each such loop has a thread that reads, at the pace of the caller. Raises
        CursorError.
        """
        first = str(Horizon(self._engine.installation_id[:8]))
        # one that is ready, and a place for the word that there are no more
        updates: _Updates = asyncio.Queue(2)
        self._readers.add(updates)
        try:
            subscription = await self.subscribe(
                wanted or ExecutionFilter(),
                partial(self._hand_over, updates),
                after=first if after is None else after,
            )
        except BaseException:
            # also a cancellation: nobody else would take the queue away
            self._leave(updates)
            raise
        try:
            while (update := await updates.get()) is not None:
                yield update
            raise ServiceClosedError("the service was closed meanwhile")
        finally:
            self._leave(updates)
            if self._opened is not None:
                end = partial(self._opened.unsubscribe, subscription)
                with suppress(ServiceClosedError):
                    await self._threads.run_whole(end)

    async def subscribe(
        self,
        watched: str | ExecutionFilter | None,
        callback: Callback,
        *,
        after: int | str | None = None,
    ) -> str:
        """Call `callback(update)` for each update of what is watched; return an id.

        As the engine's `subscribe`, but the callback is called in the event loop, and
        what it returns is awaited, if it can be, before the next call. Raises
        CursorError, and ExecutionNotFoundError when there is no such execution.
        """
        loop = asyncio.get_running_loop()

        def call_back(update: ExecutionUpdate) -> None:
            call = _call(callback, update)
            asyncio.run_coroutine_threadsafe(call, loop).result()

        engine = self._engine
        begun: list[str] = []

        def begin() -> None:
            begun.append(engine.subscribe(watched, call_back, after=after))

        try:
            await self._threads.run_whole(begin)
        except asyncio.CancelledError:
            # nobody gets to know the id
            for subscription in begun:
                await self._threads.run(partial(engine.unsubscribe, subscription))
            raise
        return begun[0]

    @property
    def _lookout(self) -> Lookout:
        assert self._looking is not None  # noqa: S101  # there is one with each engine
        return self._looking

    @property
    def _engine(self) -> ExecutionEngine:
        if self._opened is None:
            raise ServiceClosedError(
                "the service is not open; use it within `async with`, or after `open`"
            )
        return self._opened

    async def _follow(
        self, execution_id: str, after: int | str
    ) -> AsyncGenerator[ExecutionUpdate, None]:
        engine, lookout = self._engine, self._lookout
        with lookout.watch(execution_id) as watch:
            await lookout.wait_until(watch, lambda _: True)
            while True:
                look = partial(engine.look, execution_id, after)
                update, execution = await self._ask(look)
                after = update.cursor
                if update.events:
                    yield update
                if execution.last_seq > update.last_seq:
                    continue
                if execution.has_ended:
                    return
                known = Headway(execution.status, execution.last_seq)
                watch.note(known)
                await lookout.wait_until(watch, partial(ne, known))

    async def _ask(self, call: Callable[[], _T], until: float | None = None) -> _T:
        """Make a call, again after an outage, up to the time `until` of the loop."""
        while True:
            try:
                return await self._threads.run(call)
            except DatabaseUnavailableError:
                if not await self._is_back(until):
                    raise

    async def _is_back(self, until: float | None) -> bool:
        """Wait for PostgreSQL, up to the time `until`; say whether it answers."""
        try:
            async with asyncio.timeout_at(until):
                await self._lookout.wait_for_database()
                await asyncio.sleep(_BREATH_SECONDS)
        except TimeoutError:
            return False
        return True

    async def _hand_over(self, updates: "_Updates", update: ExecutionUpdate) -> None:
        if updates in self._readers:
            await updates.put(update)

    def _leave(self, updates: "_Updates") -> None:
        """Read no more; a thread that waits for a place in `updates` gets it."""
        self._readers.discard(updates)
        while not updates.empty():
            updates.get_nowait()

    async def _end_waits(self) -> None:
        """Let nobody wait any more: each gets ServiceClosedError."""
        if self._looking is not None:
            await self._looking.close()
        for updates in tuple(self._readers):
            self._leave(updates)
            updates.put_nowait(None)


_Updates = asyncio.Queue[ExecutionUpdate | None]


async def _call(callback: Callable[..., Any], update: ExecutionUpdate) -> None:
    answer = callback(update)
    if inspect.isawaitable(answer):
        await answer
