"""Looks at executions for all who wait for them in one event loop.

However many wait, there is one connection that listens for hints, and one look at the
database at a time: it asks for all of which something was heard meanwhile. Where hints
are lost, a look at every execution that is waited for comes every two seconds.

An outage of PostgreSQL is waited out by one who knocks, and not by all who wait. Knows
neither threads nor what is done with what it sees.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import copy
from typing import TypeAlias

from .async_events import HintListener
from .database import DatabaseUnavailableError
from .errors import ServiceClosedError
from .events import Hint
from .inspection import not_found
from .results import Headway

logger = logging.getLogger(__name__)

_POLL_SECONDS = 2.0
"""How long a hint that was lost delays who waits for it, a quarter more or less."""
_FIRST_PAUSE_SECONDS = 0.1
_MOST_PAUSE_SECONDS = 2.0

Find: TypeAlias = Callable[[Collection[str]], Awaitable[Mapping[str, Headway]]]
"""Returns how far executions have come; those that are missing do not exist."""


class Watch:
    """What one who waits knows of an execution; `Lookout.watch` makes one."""

    def __init__(self, *, for_end: bool) -> None:
        """Begin without knowing anything; `for_end` cares for nothing but the end."""
        self.for_end = for_end
        self.headway: Headway | None = None
        self._failure: Exception | None = None
        self._news = asyncio.Event()

    def tell(self, headway: Headway) -> None:
        """Say how far the execution has come."""
        if headway != self.headway:
            self.headway = headway
            self._news.set()

    def note(self, headway: Headway) -> None:
        """Keep what who waits has found out without us; it is no news to them."""
        self.headway = headway

    def fail(self, failure: Exception) -> None:
        """Say that there is nothing to wait for any more."""
        self._failure = failure
        self._news.set()

    def stir(self) -> None:
        """Let who waits see for itself how things are."""
        self._news.set()

    async def wait(self) -> None:
        """Wait for news; raises what `fail` was told."""
        await self._news.wait()
        self._news.clear()
        if self._failure is not None:
            # one of its own for each who waits: an error has one trace
            raise copy(self._failure) from self._failure


class Lookout:
    """One for each service; `open` it in the event loop that it is used in."""

    def __init__(self, find: Find, url: str | None, installation_id: str) -> None:
        """Look by `find`, and listen for hints on the Redis at `url`, if any."""
        self._find = find
        self._listener = HintListener(url, installation_id, self._hear)
        self._watches: dict[str, set[Watch]] = {}
        self._due: set[str] = set()
        self._stirred = asyncio.Event()
        self._answered = asyncio.Event()
        self._answered.set()
        self._trouble: DatabaseUnavailableError | None = None
        self._poll_at = 0.0
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to look; `close` ends it."""
        self._task = asyncio.create_task(self._keep_looking(), name="plans-lookout")

    async def close(self) -> None:
        """Stop looking and listening; who waits gets ServiceClosedError."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self._listener.close()
        for watch in _all_of(self._watches.values()):
            watch.fail(ServiceClosedError("the service was closed meanwhile"))
        self._answered.set()

    @contextmanager
    def watch(self, execution_id: str, *, for_end: bool = False) -> Iterator[Watch]:
        """Look at an execution for as long as the block runs."""
        watch = Watch(for_end=for_end)
        watches = self._watches.setdefault(execution_id, set())
        watches.add(watch)
        self._look_at(execution_id)
        try:
            yield watch
        finally:
            watches.discard(watch)
            if not watches:
                del self._watches[execution_id]
                self._listener.leave(execution_id)

    async def wait_until(
        self,
        watch: Watch,
        is_enough: Callable[[Headway], bool],
        until: float | None = None,
    ) -> Headway:
        """Return where the execution stands once that `is_enough`.

        At the loop's time `until` it returns where it stands at any rate.

        Raises ExecutionNotFoundError, and at that time DatabaseUnavailableError if
        PostgreSQL does not answer.
        """
        try:
            async with asyncio.timeout_at(until):
                while watch.headway is None or not is_enough(watch.headway):
                    await watch.wait()
        except TimeoutError:
            # the first look is waited for, however short the time
            while watch.headway is None and self._trouble is None:
                await watch.wait()
        headway = watch.headway
        if headway is not None and (self._trouble is None or is_enough(headway)):
            return headway
        assert self._trouble is not None  # noqa: S101  # what else ends the loops
        raise copy(self._trouble) from self._trouble

    async def wait_for_database(self) -> None:
        """Wait until PostgreSQL has answered a look."""
        self._answered.clear()
        self._stirred.set()
        await self._answered.wait()

    def _hear(self, execution_id: str, hint: Hint | None) -> None:
        watches = self._watches.get(execution_id, ())
        if hint is None or hint.is_last or not all(one.for_end for one in watches):
            self._look_at(execution_id)

    def _look_at(self, execution_id: str) -> None:
        self._due.add(execution_id)
        self._stirred.set()

    async def _keep_looking(self) -> None:
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            await self._await_reason()
            due, self._due = self._due, set()
            # who comes while the look is under way may ask for what it cannot see yet
            asked = {i: tuple(self._watches[i]) for i in due if i in self._watches}
            if not asked and self._answered.is_set():
                continue
            try:
                await self._look(asked)
            except DatabaseUnavailableError as error:
                self._bear(error, due)
                await asyncio.sleep(pause_seconds * random.uniform(0.5, 1.0))  # noqa: S311  # spreads load, keeps no secret
                pause_seconds = min(2 * pause_seconds, _MOST_PAUSE_SECONDS)
            except Exception as error:  # noqa: BLE001  # nobody may wait for ever
                # a refusal is an answer: who waits for one asks, and hears it
                self._trouble = None
                self._answered.set()
                for watch in _all_of(asked.values()):
                    watch.fail(error)
            else:
                pause_seconds = _FIRST_PAUSE_SECONDS

    async def _await_reason(self) -> None:
        """Wait until something is due, or until it is time to look at everything."""
        try:
            async with asyncio.timeout_at(self._poll_at if self._watches else None):
                await self._stirred.wait()
        except TimeoutError:
            self._due.update(self._watches)
            seconds = _POLL_SECONDS * random.uniform(0.75, 1.25)  # noqa: S311  # the same
            self._poll_at = asyncio.get_running_loop().time() + seconds
        self._stirred.clear()

    async def _look(self, asked: Mapping[str, Collection[Watch]]) -> None:
        found = await self._find(asked.keys())
        self._trouble = None
        self._answered.set()
        for execution_id, watches in asked.items():
            headway = found.get(execution_id)
            for watch in watches:
                if headway is None:
                    watch.fail(not_found(execution_id))
                else:
                    watch.tell(headway)
            if headway and not headway.has_ended and execution_id in self._watches:
                self._listener.follow(execution_id)

    def _bear(self, error: DatabaseUnavailableError, due: Collection[str]) -> None:
        logger.warning("waiting for PostgreSQL", extra={"cause": str(error)})
        self._trouble = error
        self._due.update(due)
        self._stirred.set()
        for watch in _all_of(self._watches.values()):
            watch.stir()


def _all_of(groups: Iterable[Collection[Watch]]) -> list[Watch]:
    return [watch for watches in groups for watch in watches]
