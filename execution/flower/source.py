"""The service that the tab asks, opened when it is first needed, and again if need be.

Promises: Flower starts and shows its own pages while PostgreSQL is away; who asks then
is told so, and the next who asks tries again. Nothing is left open after `close`.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from ..errors import PlansError, ServiceClosedError
from ..service import ExecutionService


class ServiceSource:
    """Gives the one service of a process; belongs to one event loop."""

    def __init__(self, connect: Callable[[], ExecutionService]) -> None:
        """Open what `connect()` returns, once it is asked for."""
        self._connect = connect
        self._service: ExecutionService | None = None
        self._opening: asyncio.Task[ExecutionService] | None = None
        self._is_closed = False

    async def get(self) -> ExecutionService:
        """Return the service; all who ask meanwhile share one attempt to open it.

        Raises what `open` does, and ServiceClosedError after `close`.
        """
        if self._is_closed:
            raise ServiceClosedError("the tab of executions was closed")
        if self._service is not None:
            return self._service
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(), name="plans-open")
            self._opening.add_done_callback(self._forget)
        # who leaves does not end it for the others
        return await asyncio.shield(self._opening)

    async def close(self) -> None:
        """Close what was opened."""
        self._is_closed = True
        if self._opening is not None:
            with suppress(PlansError):
                await self._opening
        if self._service is not None:
            await self._service.close()

    async def _open(self) -> ExecutionService:
        # one that could not be opened cannot be opened later
        self._service = await self._connect().open()
        return self._service

    def _forget(self, opening: asyncio.Task[ExecutionService]) -> None:
        self._opening = None
        if not opening.cancelled():
            # who asked has left meanwhile, and nobody else would look at it
            opening.exception()
