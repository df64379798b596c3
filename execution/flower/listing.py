"""The list of executions: filtered, a page at a time, and told anew as it changes.

Promises: what a page shows is what the filter of its address finds; a filter that is
none is answered as such. Must not know how the list is kept current in a browser.
"""

from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from tornado.web import RequestHandler, authenticated

from ..errors import CursorError, FilterError
from ..filters import ExecutionFilter
from ..results import ExecutionPage
from ..service import ExecutionService
from ..states import ExecutionStatus
from .pages import Page, answering, explain

_PAGE_SIZE = 50


@dataclass(frozen=True)
class Asked:
    """What of the list somebody wants to see, as it stands in an address."""

    status: str
    plan: str
    tag: str
    cursor: str

    @property
    def wanted(self) -> ExecutionFilter:
        """Return which executions are meant; raises FilterError."""
        return ExecutionFilter(
            status=(self.status,) if self.status else None,  # type: ignore[arg-type]  # a word that it judges
            plan=self.plan or None,
            tag=self.tag or None,
        )

    @property
    def is_filtered(self) -> bool:
        """Say whether anything was asked for."""
        return bool(self.status or self.plan or self.tag)

    def write_query(self, cursor: str | None = None) -> str:
        """Return the address's query, of this page or of the one at `cursor`."""
        asked = {
            "status": self.status,
            "plan": self.plan,
            "tag": self.tag,
            "cursor": self.cursor if cursor is None else cursor,
        }
        return urlencode({name: value for name, value in asked.items() if value})


def read_asked(handler: RequestHandler) -> Asked:
    """Return what an address asks for."""
    return Asked(
        *(
            handler.get_query_argument(name, "")
            for name in ("status", "plan", "tag", "cursor")
        )
    )


async def find_page(service: ExecutionService, asked: Asked) -> ExecutionPage:
    """Return the page that is asked for; raises FilterError and CursorError."""
    return await service.list_executions(
        asked.wanted, after=asked.cursor or None, page_size=_PAGE_SIZE
    )


def sign(page: ExecutionPage) -> str:
    """Return what changes when, and only when, a page shows something else."""
    shown = [(e.id, e.last_seq, e.status, e.holds) for e in page.items]
    return sha256(repr((shown, page.next_cursor)).encode()).hexdigest()[:16]


class ListPage(Page):
    """The page with the list."""

    @authenticated
    async def get(self) -> None:
        """Show a page of the list, or what is wrong with the filter."""
        asked = read_asked(self)
        try:
            async with answering():
                page = await find_page(await self.tab.source.get(), asked)
        except (FilterError, CursorError) as error:
            self.set_status(HTTPStatus.BAD_REQUEST)
            self._show(asked, ExecutionPage((), None), problem=explain(error))
        else:
            self._show(asked, page, problem=None)

    def _show(self, asked: Asked, page: ExecutionPage, **said: Any) -> None:
        self.render(
            "executions.html",
            asked=asked,
            page=page,
            signature=sign(page),
            statuses=tuple(ExecutionStatus),
            **said,
        )
