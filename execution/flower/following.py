"""Streams of server-sent events, by which open pages are kept current.

Promises: who comes again with the id that was told last misses nothing and gets nothing
twice; a stream that has nothing to tell shows that it lives; when its reader leaves,
reads too slowly, or Flower ends, it ends, and leaves no task behind. While PostgreSQL
is away a stream says so and goes on later; without Redis it is as slow as a poll.
"""

import asyncio
import json
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Any

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, authenticated

from ..errors import ExecutionNotFoundError, ServerError, ServiceClosedError
from ..service import ExecutionService
from ..updates import ExecutionUpdate
from .listing import Asked, find_page, read_asked, sign
from .pages import Page, answering
from .reading import read_moving

_BEAT_SECONDS = 15.0
"""How long a reader, or a proxy on the way, hears nothing at most."""
_SEND_SECONDS = 20.0
"""How long a reader may take to read what it was sent."""
_BREATH_SECONDS = 1.0
"""Between two messages of a stream: a page need not change faster."""
_BREATHS = 4
"""Or so many times as long as the message took, if that is longer: whoever looks at a
very large execution leaves the servers time for others."""
_LOOK_SECONDS = 10.0
"""After so long a page is looked at though nothing moved: a plan may be paused."""
_RETRY_SECONDS = 5
_CLOCK = re.compile(r'data-seconds="[^"]*">[^<]*')


class StreamPage(Page, ABC):
    """An answer that goes on."""

    _telling: asyncio.Task[None] | None = None

    async def stream(self, service: ExecutionService) -> None:
        """Tell until there is no more to tell, or nobody to whom."""
        if self.tab.streams.is_full:
            raise HTTPError(HTTPStatus.SERVICE_UNAVAILABLE, "too many pages are open")
        self.set_header("Content-Type", "text/event-stream")
        # nginx would keep it back
        self.set_header("X-Accel-Buffering", "no")
        self._sending = asyncio.Lock()
        self._telling = self.tab.streams.begin(self._tell_all(service))
        # a cancellation is how it ends when the reader leaves
        await asyncio.wait([self._telling])
        if not self._telling.cancelled():
            self._telling.result()

    def on_connection_close(self) -> None:
        """End: the reader has left."""
        super().on_connection_close()
        if self._telling is not None:
            self._telling.cancel()

    @abstractmethod
    async def tell(self, service: ExecutionService) -> None:
        """Send messages until there is no more to tell."""

    async def send(
        self, event: str, data: Any = None, event_id: str | None = None
    ) -> None:
        """Send a message, and wait until it is on its way."""
        head = "" if event_id is None else f"id: {event_id}\n"
        # JSON has no line breaks
        text = json.dumps({} if data is None else data)
        await self._write(f"{head}event: {event}\ndata: {text}\n\n")

    async def rest(self, began: float) -> None:
        """Leave others time, after a message of which the making began then."""
        spent_seconds = asyncio.get_running_loop().time() - began
        await asyncio.sleep(max(_BREATH_SECONDS, _BREATHS * spent_seconds))

    async def _tell_all(self, service: ExecutionService) -> None:
        beating = asyncio.create_task(self._beat(service), name="plans-beat")
        try:
            await self._write(f"retry: {1000 * _RETRY_SECONDS}\n\n")
            await self.tell(service)
        except (StreamClosedError, ServiceClosedError, TimeoutError):
            # nobody reads any more, or Flower ends; a browser comes again by itself
            pass
        finally:
            beating.cancel()
            await asyncio.wait([beating])

    async def beat(self, service: ExecutionService) -> None:
        """Show that the stream lives."""
        del service
        await self._write(": still here\n\n")

    async def _beat(self, service: ExecutionService) -> None:
        with suppress(StreamClosedError, ServiceClosedError, TimeoutError):
            while True:
                await asyncio.sleep(_BEAT_SECONDS)
                await self.beat(service)

    async def _write(self, text: str) -> None:
        async with self._sending:
            try:
                async with asyncio.timeout(_SEND_SECONDS):
                    self.write(text)
                    await self.flush()
            except TimeoutError:
                # what it has not read would be kept for as long as it likes
                self.request.connection.stream.close()
                raise


class ListStream(StreamPage):
    """A page of the list, and the links to others, whenever they have changed.

    The id of a message stands for what the page showed with it.
    """

    @authenticated
    async def get(self) -> None:
        """Begin, unless the filter is none."""
        self._asked = read_asked(self)
        async with answering():
            service = await self.tab.source.get()
            await find_page(service, self._asked)
        await self.stream(service)

    async def tell(self, service: ExecutionService) -> None:
        """Send the page after each move that changes it."""
        pulse, shown = self.tab.pulse, read_last_id(self)
        now = asyncio.get_running_loop().time
        async with pulse.listen():
            while True:
                felt, began = pulse.moves, now()
                try:
                    shown = await self._tell_page(service, self._asked, shown)
                except ServerError:
                    await self.send("away")
                    shown = ""
                await self.rest(began)
                await pulse.wait(felt, _LOOK_SECONDS)

    async def _tell_page(
        self, service: ExecutionService, asked: Asked, shown: str
    ) -> str:
        async with answering():
            page = await find_page(service, asked)
        signature = sign(page)
        if signature != shown:
            parts = {
                name: self.render_string(
                    f"executions_{name}.html", page=page, asked=asked
                ).decode()
                for name in ("rows", "pages")
            }
            await self.send("parts", {"parts": parts}, signature)
        return signature


class ExecutionStream(StreamPage):
    """What one execution does; the id of a message is the cursor after its events.

    A message without an id tells of what changed though the execution did not move.
    """

    @authenticated
    async def get(self, execution_id: str) -> None:
        """Begin, if there is such an execution and what it continues after is a cursor.

        What is wrong is found here, before the answer begins, and has its own status.
        """
        async with answering():
            service = await self.tab.source.get()
            await service.get_status(execution_id)
        self._execution_id = execution_id
        self._cursor = read_last_id(self) or "0"
        self._shown: Mapping[str, str] = {}
        self._updates = service.monitor(execution_id, after=self._cursor)
        await self.stream(service)

    async def tell(self, service: ExecutionService) -> None:
        """Send what has happened, until the execution has ended."""
        with suppress(ExecutionNotFoundError):
            async with aclosing(self._updates):
                await self._follow(service)
        await self.send("end")

    async def beat(self, service: ExecutionService) -> None:
        """Say whether PostgreSQL answers: who waits for a move hears nothing of it."""
        try:
            async with answering():
                await service.read_clock()
        except ServerError:
            await self.send("away")
        else:
            await self.send("here")

    async def _follow(self, service: ExecutionService) -> None:
        now = asyncio.get_running_loop().time
        coming = asyncio.create_task(_take(self._updates), name="plans-update")
        try:
            while True:
                await asyncio.wait([coming], timeout=_LOOK_SECONDS)
                began = now()
                if not coming.done():
                    await self._look(service)
                elif (update := coming.result()) is None:
                    return
                else:
                    await self._tell_update(service, update)
                await self.rest(began)
                if coming.done():
                    coming = asyncio.create_task(
                        _take(self._updates), name="plans-update"
                    )
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    async def _tell_update(
        self, service: ExecutionService, update: ExecutionUpdate
    ) -> None:
        while (parts := await self._find_parts(service)) is None:
            # the id says that all was told, and there may be no next update
            await asyncio.sleep(_BREATH_SECONDS)
        events = [
            self.render_string("execution_event.html", event=event).decode()
            for event in update.events
        ]
        await self.send("parts", {"parts": parts, "events": events}, update.cursor)
        self._cursor = update.cursor
        self._shown = _stop_clocks(parts)

    async def _look(self, service: ExecutionService) -> None:
        """Send the parts that are not as they were sent last: a tag may be paused."""
        parts = await self._find_parts(service)
        if parts is None:
            return
        shown = _stop_clocks(parts)
        changed = {n: p for n, p in parts.items() if shown[n] != self._shown.get(n)}
        if changed:
            await self.send("parts", {"parts": changed})
        self._shown = shown

    async def _find_parts(self, service: ExecutionService) -> Mapping[str, str] | None:
        """Return the parts as they are now; None, and tell it, in an outage."""
        try:
            async with answering():
                update, execution = await service.look(self._execution_id, self._cursor)
                moving = await read_moving(service, execution, update.progress)
        except ServerError:
            await self.send("away")
            # then the page hears that it is over
            self._shown = {}
            return None
        return {
            name: self.render_string(f"execution_{name}.html", moving=moving).decode()
            for name in ("state", "acts", "why", "steps")
        }


async def _take(
    updates: AsyncGenerator[ExecutionUpdate, None],
) -> ExecutionUpdate | None:
    """Return the next one; None: there are no more."""
    return await anext(updates, None)


def _stop_clocks(parts: Mapping[str, str]) -> Mapping[str, str]:
    """Return the parts without the seconds that go on in a browser by themselves."""
    return {name: _CLOCK.sub("", part) for name, part in parts.items()}


def read_last_id(page: Page) -> str:
    """Return what was told last; a page that was just loaded has it in its address."""
    told: str = page.request.headers.get("Last-Event-ID", "")
    return told or str(page.get_query_argument("after", ""))
