"""What all pages of the tab have in common: who may read, who may act, how errors look.

Promises: nothing is answered to who is not logged in as Flower asks; an act needs a
login by name and a token of the own page; a browser runs none but our
scripts and Flower's; PostgreSQL away, or silent, is a page with status 503.
"""

import asyncio
import logging
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from flower.views import BaseHandler
from tornado.web import HTTPError, RequestHandler

from ..errors import (
    ConcurrencyConflictError,
    CursorError,
    DatabaseError,
    ExecutionNotFoundError,
    FilterError,
    InvalidExecutionStateError,
    PlansError,
    SchemaMismatchError,
    ServerError,
    ServiceClosedError,
    SetupError,
)
from .parts import Tab
from .words import WORDS

logger = logging.getLogger(__name__)

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_STATUSES = (
    (ExecutionNotFoundError, HTTPStatus.NOT_FOUND),
    (InvalidExecutionStateError, HTTPStatus.CONFLICT),
    (ConcurrencyConflictError, HTTPStatus.CONFLICT),
    (FilterError, HTTPStatus.BAD_REQUEST),
    (CursorError, HTTPStatus.BAD_REQUEST),
    (ServerError, HTTPStatus.SERVICE_UNAVAILABLE),
    (SetupError, HTTPStatus.SERVICE_UNAVAILABLE),
    (ServiceClosedError, HTTPStatus.SERVICE_UNAVAILABLE),
)
_RETRY_SECONDS = 5
_ANSWER_SECONDS = 30.0
"""A PostgreSQL that takes longer for a page is away, as far as its reader can tell."""
_MOST_LETTERS_OF_NAMES = 200


class Page(BaseHandler):  # type: ignore[misc]  # Flower ships no types
    """A page of the tab, in Flower's layout and behind Flower's login."""

    tab: Tab

    def initialize(self, tab: Tab) -> None:
        """Answer for `tab`."""
        self.tab = tab

    def set_default_headers(self) -> None:
        """Let browsers run, load and keep nothing that is not meant."""
        super().set_default_headers()
        # what Flower opens to other origins, without a login, is not for these pages
        for name in ("Origin", "Headers", "Methods"):
            self.clear_header(f"Access-Control-Allow-{name}")
        self.set_header("Content-Security-Policy", _POLICY)
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")

    def get_template_namespace(self) -> dict[str, Any]:
        """Return what templates may call."""
        namespace: dict[str, Any] = super().get_template_namespace()
        return {**namespace, **WORDS, "tab": self.tab, "may_act": self.may_act}

    @property
    def has_login(self) -> bool:
        """Say whether Flower asks who comes for a login."""
        options = self.application.options
        return bool(options.basic_auth or options.auth)

    @property
    def may_act(self) -> bool:
        """Say whether who looks may also act: somebody must be responsible for it."""
        return self.has_login and not self.application.options.read_only

    @property
    def person(self) -> str:
        """Return who is logged in."""
        user = self.current_user
        if isinstance(user, str):
            return user[:_MOST_LETTERS_OF_NAMES]
        # Flower has compared it with what it knows
        _, _, credentials = self.request.headers["Authorization"].partition(" ")
        name, _, _ = b64decode(credentials).decode().partition(":")
        return name[:_MOST_LETTERS_OF_NAMES]

    def check_xsrf_cookie(self) -> None:
        """Refuse what comes without the token of a page of ours.

        Also where Flower would not ask: a browser sends a password along by itself.
        """
        if not self.current_user:
            raise HTTPError(HTTPStatus.FORBIDDEN)
        RequestHandler.check_xsrf_cookie(self)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log what is a fault of ours; what a server or a reader did is no such."""
        if isinstance(value, ServerError | SetupError):
            logger.warning(
                "executions cannot be asked for", extra={"kind": type(value).__name__}
            )
        elif not isinstance(value, PlansError):
            super().log_exception(typ, value, tb)

    def write_error(self, status_code: int, **told: Any) -> None:
        """Show an error of ours as a page, any other as Flower does."""
        if "exc_info" not in told:
            # cut off by Flower's end: Flower would look for an error here
            self.finish()
            return
        error = told["exc_info"][1]
        if status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            self.set_header("Retry-After", str(_RETRY_SECONDS))
        if not isinstance(error, PlansError):
            super().write_error(status_code, **told)
            return
        status = find_status(error)
        self.set_status(status)
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            self.set_header("Retry-After", str(_RETRY_SECONDS))
        self.render("executions_problem.html", status=status, message=explain(error))


@asynccontextmanager
async def answering() -> AsyncIterator[None]:
    """Let servers answer within the block; raises DatabaseError if they are silent."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            yield
    except TimeoutError as error:
        raise DatabaseError(
            f"no answer for {_ANSWER_SECONDS:g} seconds; look whether PostgreSQL hangs"
        ) from error


def find_status(error: PlansError) -> HTTPStatus:
    """Return the status of HTTP for an error."""
    return next(
        (status for kind, status in _STATUSES if isinstance(error, kind)),
        HTTPStatus.UNPROCESSABLE_ENTITY,
    )


def explain(error: PlansError) -> str:
    """Return what a reader is told of an error; none of it names a server."""
    match error:
        case SchemaMismatchError():
            return str(error)
        case ServerError() | SetupError() | ServiceClosedError():
            return (
                "The executions cannot be read now: PostgreSQL, or another server that"
                " plans use, does not answer. Flower's own pages work without them."
            )
        case _:
            return str(error)


def name_code(error: PlansError) -> str:
    """Return the code of an error; the name of its kind where it has none."""
    return error.code.value if error.code else type(error).__name__
