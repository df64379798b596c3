"""Whether anything has moved: one look at all executions for all who have the list.

Promises: it looks while somebody listens, and no longer; a move that comes after
`listen` is felt. What has moved it does not say: who listens looks at what is shown.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress

from ..errors import ServerError, ServiceClosedError, SetupError
from .source import ServiceSource

logger = logging.getLogger(__name__)

_BREATH_SECONDS = 0.05
"""Between two moves: a busy installation costs twenty looks a second at most."""
_PAUSE_SECONDS = 2.0
"""Before PostgreSQL, which did not answer, is asked again."""


class Pulse:
    """Lets any number of readers wait until some execution has moved."""

    def __init__(self, source: ServiceSource) -> None:
        """Ask the service of `source`."""
        self._source = source
        self._moved = asyncio.Event()
        self._moves = 0
        self._listeners = 0
        self._following: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[None]:
        """Follow all executions within the block, together with who else does."""
        self._listeners += 1
        if self._following is None:
            self._following = asyncio.create_task(self._follow(), name="plans-pulse")
        try:
            yield
        finally:
            self._listeners -= 1
            if self._listeners == 0:
                await self._leave()

    @property
    def moves(self) -> int:
        """How many moves were felt so far; `wait` takes it."""
        return self._moves

    async def wait(self, felt: int, seconds: float) -> None:
        """Wait until there are more moves than were `felt`, or for so many seconds."""
        if self._moves > felt:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._moved.wait()

    async def _leave(self) -> None:
        following, self._following = self._following, None
        if following is not None:
            following.cancel()
            await asyncio.wait([following])

    async def _follow(self) -> None:
        while True:
            try:
                await self._feel()
            except ServiceClosedError:
                return
            except (ServerError, SetupError) as error:
                logger.warning(
                    "executions cannot be followed; another attempt follows",
                    extra={"kind": type(error).__name__},
                )
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _feel(self) -> None:
        service = await self._source.get()
        cursor = await service.get_cursor()
        # what moved between the first look of who listens and the cursor
        self._tick()
        async with aclosing(service.monitor_all(after=cursor)) as updates:
            async for _ in updates:
                self._tick()
                await asyncio.sleep(_BREATH_SECONDS)

    def _tick(self) -> None:
        self._moves += 1
        self._moved.set()
        self._moved = asyncio.Event()
