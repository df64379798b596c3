"""Lets requests in: who asks, from which page, and to do what.

It stands before every handler, Flower's own and ours, so that none has to remember to
ask. Promises: what is not let in reaches no handler, and reads no body; who passes has
a login, unless nobody needs one; nothing is changed at the request of another site's
page, nor while all is read only. It must not know what the handlers do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from flower.views.auth import LoginHandler, LogoutHandler
from flower.views.monitor import Healthcheck
from flower.views.tasks import TasksDataTable
from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from .logins import Logins

OPEN: tuple[type, ...] = (Healthcheck,)
"""Answers everybody: that Flower's process lives, and nothing else."""
ON_THE_WAY_IN: tuple[type, ...] = (LoginHandler, LogoutHandler)
"""Answer everybody where one logs in elsewhere: how else would one."""
_READERS: tuple[type, ...] = (TasksDataTable,)
"""Change nothing, whatever they are asked by."""
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Refusal:
    """Why a request is not let in; `asks_login` is whether a login would help."""

    status: int
    reason: str
    asks_login: bool = False


@dataclass(frozen=True)
class Gate:
    """What is asked of a request before any handler is.

    Without `logins` and without `has_user`, which says whether a request is of
    somebody who has logged in elsewhere, all who ask this machine itself are let in.
    """

    logins: Logins | None = None
    has_user: Callable[[HTTPServerRequest], bool] | None = None
    is_read_only: bool = False

    def find_refusal(
        self, request: HTTPServerRequest, handler: type[RequestHandler]
    ) -> Refusal | None:
        """Return why the request may not reach the handler, or None: it may."""
        if handler in OPEN and request.method in ("GET", "HEAD"):
            return None
        if self._is_open_to_all and not is_loopback(_read_host(request)):
            # a site whose name leads here would be one's own
            return Refusal(403, "without logins, only this machine is answered")
        if not _is_of_own_page(request):
            return Refusal(403, "requests of another site's pages are refused")
        if self.has_user is not None and handler in ON_THE_WAY_IN:
            return None
        if not self._has_logged_in(request):
            return Refusal(401, "log in", asks_login=True)
        if self.is_read_only and _may_change(request, handler):
            return Refusal(403, "Flower is read only")
        return None

    @property
    def _is_open_to_all(self) -> bool:
        return self.logins is None and self.has_user is None

    def _has_logged_in(self, request: HTTPServerRequest) -> bool:
        # one of the two, or neither: browsers keep one answer to a demand of theirs
        if self.logins is not None:
            return self.logins.admit(request.headers.get("Authorization", ""))
        return self.has_user is None or self.has_user(request)


def is_loopback(address: str) -> bool:
    """Say whether an address, or the name of a host, is of this machine alone."""
    if address == "localhost":
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def _read_host(request: HTTPServerRequest) -> str:
    try:
        return urlsplit(f"//{request.host}").hostname or ""
    except ValueError:
        return ""


def _may_change(request: HTTPServerRequest, handler: type[RequestHandler]) -> bool:
    return request.method not in _SAFE_METHODS and handler not in _READERS


def _is_of_own_page(request: HTTPServerRequest) -> bool:
    """Say whether no page but our own has made the request, as browsers tell.

    Every browser names the origin of what could change something, or could be read by
    a page of another site. Programs that are no browsers name none.
    """
    origin = request.headers.get("Origin")
    if origin is not None and not _is_same(origin, request):
        return False
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    return request.method in _SAFE_METHODS or site == "same-origin"


def _is_same(origin: str, request: HTTPServerRequest) -> bool:
    try:
        place = urlsplit(origin)
    except ValueError:
        return False
    return place.scheme in ("http", "https") and place.netloc == request.host
