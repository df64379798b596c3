"""The page of one execution, and what is done on it by hand.

Promises: an act is done in the name of who is logged in, once however often its form is
sent, or its refusal is shown with its code; nothing is done where Flower only reads.
All of it works without a script in the browser.
"""

import uuid
from http import HTTPStatus
from typing import Any

from tornado.web import HTTPError, authenticated

from ..acts import Act
from ..errors import PlansError, ServerError, ServiceClosedError, SetupError
from ..service import ExecutionService
from .pages import Page, answering, explain, find_status, name_code
from .parts import Tab
from .reading import read_shown

_MOST_LETTERS_OF_REASONS = 1_000
_MOST_DIGITS = 15


class ExecutionPage(Page):
    """The page of one execution."""

    @authenticated
    async def get(self, execution_id: str) -> None:
        """Show it as it stands, with a part of its timeline."""
        await self.show(execution_id, self._read_before())

    async def show(
        self,
        execution_id: str,
        before: int | None = None,
        refusal: PlansError | None = None,
    ) -> None:
        """Show an execution, and why an act was refused, if one was."""
        async with answering():
            service = await self.tab.source.get()
            shown = await read_shown(service, execution_id, before)
        said: dict[str, Any] = {"refusal": None}
        if refusal is not None:
            self.set_status(find_status(refusal))
            said["refusal"] = f"{name_code(refusal)}: {explain(refusal)}"
        self.render(
            "execution.html",
            moving=shown.moving,
            timeline=shown.timeline,
            cursor=shown.cursor,
            act_id=str(uuid.uuid4()),
            most_letters=_MOST_LETTERS_OF_REASONS,
            **said,
        )

    def _read_before(self) -> int | None:
        text = self.get_query_argument("before", "")
        if not text:
            return None
        if not text.isdecimal() or len(text) > _MOST_DIGITS:
            raise HTTPError(HTTPStatus.BAD_REQUEST, "before is no number")
        return int(text)


class ActPage(ExecutionPage):
    """What a form of that page is sent to."""

    def initialize(self, tab: Tab, act: Act) -> None:  # type: ignore[override]  # Tornado calls it, as the route says
        """Do this act."""
        super().initialize(tab)
        self._act = act

    @authenticated
    async def get(self, execution_id: str) -> None:
        """Lead who comes by a link, or loads it anew, to the page; nothing is done."""
        self.redirect(self.reverse_url("execution", execution_id))

    @authenticated
    async def post(self, execution_id: str) -> None:
        """Do it and lead back to the page, or show there why not."""
        if not self.may_act:
            raise HTTPError(HTTPStatus.FORBIDDEN, self._say_why_not())
        try:
            async with answering():
                await self._do(await self.tab.source.get(), execution_id)
        except (ServerError, SetupError, ServiceClosedError):
            raise
        except PlansError as refusal:
            # of one that is not there, this raises and is a page of its own
            await self.show(execution_id, refusal=refusal)
        else:
            place = self.reverse_url("execution", execution_id)
            self.redirect(place, status=HTTPStatus.SEE_OTHER)

    async def _do(self, service: ExecutionService, execution_id: str) -> None:
        by, reason = self.person, self._read_reason()
        match self._act:
            case Act.PAUSE:
                await service.pause(execution_id, by=by, reason=reason)
            case Act.RESUME:
                await service.resume(execution_id, by=by, reason=reason)
            case Act.CANCEL:
                await service.cancel(execution_id, by=by, reason=reason)
            case Act.RETRY:
                act_id = self._read_act_id()
                await service.retry(execution_id, act_id=act_id, by=by, reason=reason)
            case Act.SKIP | Act.FORCE | Act.DELETE:
                raise HTTPError(HTTPStatus.NOT_FOUND)

    def _read_reason(self) -> str | None:
        reason = self.get_body_argument("reason", "")
        if len(reason) > _MOST_LETTERS_OF_REASONS:
            raise HTTPError(HTTPStatus.BAD_REQUEST, "the reason is too long")
        return reason or None

    def _read_act_id(self) -> str | None:
        text = self.get_body_argument("act_id", "")
        try:
            return str(uuid.UUID(text)) if text else None
        except ValueError as error:
            raise HTTPError(HTTPStatus.BAD_REQUEST, "act_id is no UUID") from error

    def _say_why_not(self) -> str:
        if self.application.options.read_only:
            return "This Flower only reads: it was started with --read-only"
        return "Who acts has to log in: start Flower with --basic-auth, or --auth"
