"""Listens for hints in an event loop: one connection to Redis, however many listen.

What is heard are hints, as in `events`: each is handed on, with the id of its
execution, and so is the moment from which on no hint of an execution is missed. That
moment comes again after each break of the connection: who hears of it has to look.

While Redis is away nothing is heard and nobody waits for it. Knows neither what hints
are followed by nor the database.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from .events import Hint, name_channel, read_hint

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
"""How long a Redis that failed is left alone, half more or less."""
_PING_SECONDS = 10.0
"""How often a connection that had nothing to say is asked whether it lives; one that
nobody needs any more is closed then."""
_SILENCE_SECONDS = 2 * _PING_SECONDS
"""A connection that has said nothing for so long leads nowhere."""
_ANSWER_SECONDS = 2.0
"""How long Redis may take to accept a connection, or a command."""
_LOST_SECONDS = 0.1
"""How long a task that was cancelled may take to end, before it is told again."""


class HintListener:
    """Follows the hints of any number of executions; belongs to one event loop."""

    def __init__(
        self,
        url: str | None,
        installation_id: str,
        hear: Callable[[str, Hint | None], None],
    ) -> None:
        """Listen on the Redis at `url`; without one, nothing is ever heard.

        `hear(execution_id, hint)` is called for each hint, and with None for the hint
        when it is listened to from now on.
        """
        self._url = url
        self._prefix = name_channel(installation_id, " ").rstrip()
        self._hear = hear
        self._followed: set[str] = set()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    def follow(self, execution_id: str) -> None:
        """Listen for the hints of an execution until `leave`; returns at once."""
        if self._url is None or execution_id in self._followed:
            return
        self._followed.add(execution_id)
        self._changed.set()
        if self._task is None:
            self._task = asyncio.create_task(
                self._keep_listening(self._url), name="plans-hints"
            )

    def leave(self, execution_id: str) -> None:
        """Listen for the hints of an execution no longer."""
        self._followed.discard(execution_id)
        self._changed.set()

    async def close(self) -> None:
        """End the connection and what reads from it."""
        self._followed.clear()
        task, self._task = self._task, None
        self._is_closed = True
        self._changed.set()
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _keep_listening(self, url: str) -> None:
        while not self._is_closed:
            await self._changed.wait()
            if not self._followed:
                self._changed.clear()
                continue
            try:
                await self._converse(url)
            except (redis.RedisError, OSError) as error:
                logger.warning("hints are not heard", extra={"cause": str(error)})
                # many that lost the same server must not come back at the same moment
                await asyncio.sleep(_RETRY_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311  # spreads load, keeps no secret
                self._changed.set()

    async def _converse(self, url: str) -> None:
        """Tell and hear over one connection, until it breaks or nobody needs it."""
        client = redis.asyncio.Redis.from_url(
            url,
            socket_connect_timeout=_ANSWER_SECONDS,
            socket_timeout=_ANSWER_SECONDS,
            retry=_NoRetry(NoBackoff(), 0),
        )
        pubsub = client.pubsub()
        try:
            await _run_until_one_ends(pubsub.connect())  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
            await _run_until_one_ends(self._tell(pubsub), self._read(pubsub))
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]  # the same
            await client.aclose()

    async def _tell(self, pubsub: PubSub) -> None:
        """Keep the channels of the connection as they are wanted."""
        told: set[str] = set()
        while True:
            self._changed.clear()
            wanted = set(self._followed)
            if new := wanted - told:
                await pubsub.subscribe(*(self._prefix + one for one in new))
            if old := told - wanted:
                await pubsub.unsubscribe(*(self._prefix + one for one in old))
            told = wanted
            try:
                async with asyncio.timeout(_PING_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                if not told:
                    return
                await pubsub.ping()

    async def _read(self, pubsub: PubSub) -> None:
        while True:
            message = await pubsub.get_message(timeout=_SILENCE_SECONDS)
            if message is None:
                raise redis.TimeoutError(f"Redis was silent for {_SILENCE_SECONDS:g} s")
            if message["type"] not in ("subscribe", "message"):
                continue
            execution_id = message["channel"].decode().removeprefix(self._prefix)
            if message["type"] == "subscribe":
                self._hear(execution_id, None)
            elif (hint := read_hint(message["data"])) is not None:
                self._hear(execution_id, hint)


class _NoRetry(Retry):
    """Lets a connection that broke be: who listens has to look again after a new one.

    With no retries at all redis-py still connects anew, and whoever reads and whoever
    writes at that moment would do so both, in each other's way.
    """

    async def call_with_retry(self, do: Any, *others: Any, **options: Any) -> Any:
        return await do()


async def _run_until_one_ends(*calls: Coroutine[Any, Any, None]) -> None:
    """Run calls of redis-py's beside each other until one has ended; end the others.

    Each is a task of its own: redis-py can lose a cancellation while it connects, and
    one that waits for it would wait for ever.
    """
    tasks = [asyncio.create_task(call, name="plans-hints-talk") for call in calls]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        left = {task for task in tasks if not task.done()}
        while left:
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=_LOST_SECONDS)
        failures = [task.exception() for task in tasks if not task.cancelled()]
    for failure in failures:
        if failure is not None:
            raise failure
