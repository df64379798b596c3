"""The tab of executions: what of it is answered where.

Promises: nothing is asked of a server before a page is, so Flower starts without
PostgreSQL; after `close` nothing of the tab is left.
"""

from functools import partial
from http import HTTPStatus
from typing import Any

from celery import Celery
from tornado.routing import URLSpec
from tornado.web import HTTPError, authenticated

from ..service import ExecutionService
from ..settings import Settings
from .assets import read_assets
from .following import ExecutionStream, ListStream
from .listing import ListPage
from .pages import Page
from .parts import Tab
from .pulse import Pulse
from .reading import ACTS
from .showing import ActPage, ExecutionPage
from .source import ServiceSource
from .streams import Streams

MOST_STREAMS = 100
"""Pages that are open at a time; further ones try again every few seconds."""
_ID = "([0-9a-f-]{36})"
_DAY_SECONDS = 86_400


class ExecutionsTab:
    """What the tab of one Flower has in common."""

    def __init__(
        self, settings: Settings, capp: Celery, *, most_streams: int = MOST_STREAMS
    ) -> None:
        """Show the executions of `settings`; what is sent goes through `capp`."""
        connect = partial(ExecutionService.connect, settings, app=capp)
        source = ServiceSource(connect)
        self.parts = Tab(source, Pulse(source), Streams(most_streams), read_assets())

    def list_handlers(self) -> list[URLSpec]:
        """Return what answers where; the application adds its prefix to each place."""
        return [
            self._answer("/executions", ListPage, "executions"),
            self._answer("/executions/events", ListStream, "executions_events"),
            self._answer("/executions/static/([a-z.]+)", AssetPage, "executions_asset"),
            self._answer(f"/executions/{_ID}", ExecutionPage, "execution"),
            self._answer(
                f"/executions/{_ID}/events", ExecutionStream, "execution_events"
            ),
            *(
                self._answer(
                    f"/executions/{_ID}/{act}", ActPage, f"execution_{act}", act=act
                )
                for act in ACTS
            ),
        ]

    async def close(self) -> None:
        """Give up what was opened; called once, before the event loop ends."""
        await self.parts.streams.close()
        await self.parts.source.close()

    def _answer(
        self, place: str, handler: type[Page], name: str, **known: Any
    ) -> URLSpec:
        return URLSpec(place, handler, {"tab": self.parts, **known}, name=name)


class AssetPage(Page):
    """A script or a style sheet of the tab."""

    @authenticated
    async def get(self, name: str) -> None:
        """Send it, for a browser to keep as long as its address stays the same."""
        asset = self.tab.assets.get(name)
        if asset is None:
            raise HTTPError(HTTPStatus.NOT_FOUND)
        self.set_header("Content-Type", asset.content_type)
        self.set_header("Cache-Control", f"private, max-age={_DAY_SECONDS}, immutable")
        self.finish(asset.content)
