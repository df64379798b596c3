"""Flower with our tab, on a thread of the test's process, and clients of it."""

import asyncio
import re
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import httpx
from celery import Celery
from flower.options import default_options
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from execution.flower.app import ExecutionsFlower
from execution.flower.choices import Choice
from execution.flower.executions import ExecutionsTab
from execution.flower.logins import Logins
from execution.settings import Settings

LOGIN = ("ann", "her password")


class FlowerServer:
    """A running application; its loop belongs to a thread of its own."""

    def __init__(self, settings: Settings, **chosen: Any) -> None:
        """Take Flower's options as they are, but for those that are chosen."""
        login = {"basic_auth": [":".join(LOGIN)]}
        options = SimpleNamespace(**{**default_options.as_dict(), **login, **chosen})
        pairs = tuple(options.basic_auth or ())
        self._choice = Choice(options, Logins(pairs) if pairs else None)
        self._settings = settings
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="flower")

    def start(self) -> None:
        """Start it, and return when it listens."""
        self._thread.start()
        self._started.result(30)

    def stop(self) -> None:
        """End it as Flower's end does; fails if anything of the tab is left."""
        self.loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(30)
        assert not self._thread.is_alive()
        assert self.left == set()

    @property
    def tab(self) -> ExecutionsTab:
        """The tab."""
        tab: ExecutionsTab = self.app.tab
        return tab

    def count_streams(self) -> int:
        """Return how many streams there are."""
        return len(self.tab.parts.streams)

    def list_tasks(self) -> set[str]:
        """Return the names of the tasks that are of the tab's."""
        asked = asyncio.run_coroutine_threadsafe(_name_tasks(), self.loop)
        return asked.result(10)

    def open_client(self, **options: Any) -> httpx.Client:
        """Return a client that is logged in, unless it is told otherwise."""
        options = {"auth": LOGIN, **options}
        return httpx.Client(base_url=self.url, timeout=20, **options)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
            raise

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        capp = Celery(broker=self._settings.broker_url, set_as_current=False)
        self.app = ExecutionsFlower(self._choice, capp, self._settings)
        sockets = bind_sockets(0, address="127.0.0.1")
        self.socket = sockets[0]
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        server = HTTPServer(self.app)
        server.add_sockets(sockets)
        self._started.set_result(None)
        await self._stopping.wait()
        server.stop()
        await server.close_all_connections()
        await self.app.close()
        self.left = await _name_tasks()
        self.app.executor.shutdown()


async def _name_tasks() -> set[str]:
    names = {task.get_name() for task in asyncio.all_tasks()}
    return {name for name in names if name.startswith("plans-")}


@contextmanager
def serving(settings: Settings, **chosen: Any) -> Iterator[FlowerServer]:
    """Run an application within the block."""
    server = FlowerServer(settings, **chosen)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def find_token(page: str) -> str:
    """Return the token in the form of a page."""
    found = re.search(r'name="_xsrf" value="([^"]+)"', page)
    assert found is not None, page
    return found[1]
