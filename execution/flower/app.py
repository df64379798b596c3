"""Flower's application, with a tab of executions in it, and a gate before all of it.

Promises: handlers of ours come before Flower's own, and under the same prefix; a
template of ours stands in for the one of Flower's that has its name; no handler, be it
ours, Flower's or Tornado's, is reached past the gate.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from celery import Celery
from flower.app import Flower, rewrite_handler
from flower.urls import settings as flower_settings
from flower.utils import prepend_url
from flower.utils.authentication import authenticate
from tornado import template
from tornado.escape import url_escape
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.ioloop import IOLoop, PeriodicCallback
from tornado.netutil import bind_sockets, bind_unix_socket
from tornado.web import (
    OutputTransform,
    RequestHandler,
    decode_signed_value,
    stream_request_body,
)

from ..errors import SetupError
from ..settings import Settings
from .choices import Choice
from .executions import ExecutionsTab
from .gate import Gate, Refusal
from .hearing import StepEvents
from .navigation import add_entry

_TEMPLATES = Path(__file__).parent / "templates"
_MOST_BODY_BYTES = 1_000_000
"""Of a request: nothing that is asked here is longer."""
_REQUEST_SECONDS = 60.0
"""For a request's head, then for its body: who sends neither holds no connection."""
_FORGET_EVERY_SECONDS = 60.0


class OwnTemplatesFirst(template.Loader):
    """Finds templates in our folder, and else in Flower's."""

    def resolve_path(self, name: str, parent_path: str | None = None) -> str:
        """Return the name as it is: there are no folders in either."""
        del parent_path
        return name

    def _create_template(self, name: str) -> template.Template:
        own = _TEMPLATES / name
        path = own if own.is_file() else Path(self.root) / name
        text = path.read_bytes()
        if name == "navbar.html":
            text = add_entry(text)
        return template.Template(text, name=name, loader=self)


class Unframed(OutputTransform):
    """Lets no page of another site show one of ours, and lay a button over it."""

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        """Add what browsers go by."""
        del finishing
        headers["X-Frame-Options"] = "DENY"
        headers.setdefault("Content-Security-Policy", "frame-ancestors 'none'")
        headers.setdefault("Referrer-Policy", "same-origin")
        return status_code, headers, chunk


@stream_request_body
class Refused(RequestHandler):
    """Answers what the gate does not let in, before its body has come."""

    def initialize(self, refusal: Refusal) -> None:
        """Say why."""
        self._refusal = refusal

    def check_xsrf_cookie(self) -> None:
        """Ask for none: nothing is done."""

    def data_received(self, chunk: bytes) -> None:
        """Keep nothing of the body."""

    async def prepare(self) -> None:
        """Answer before any method is looked for."""
        refusal, app = self._refusal, self.application
        if refusal.asks_login and app.options.auth:  # type: ignore[attr-defined]  # it is Flower's
            if self.request.method == "GET":
                self.redirect(
                    f"{app.settings['login_url']}?next={url_escape(self.request.path)}"
                )
                return
        elif refusal.asks_login:
            self.set_header("WWW-Authenticate", 'Basic realm="flower"')
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_status(refusal.status)
        self.finish(f"{refusal.reason}\n")


class ExecutionsFlower(Flower):  # type: ignore[misc]  # Flower ships no types
    """Flower with a tab of executions; make it in the event loop that serves it."""

    def __init__(self, choice: Choice, capp: Celery, settings: Settings) -> None:
        """Show what `capp` does, and the executions of `settings`."""
        options = choice.options
        super().__init__(
            options=options,
            capp=capp,
            events=StepEvents(capp, IOLoop.current(), options),
            template_loader=OwnTemplatesFirst(flower_settings["template_path"]),
            **_build_web_settings(options),
        )
        self._choice = choice
        self._gate = Gate(
            choice.logins,
            self._has_user if options.auth else None,
            is_read_only=options.read_only,
        )
        self.tab = ExecutionsTab(settings, capp)
        handlers = self.tab.list_handlers()
        if options.url_prefix:
            handlers = [rewrite_handler(each, options.url_prefix) for each in handlers]
        self.add_handlers(".*", handlers)
        self.add_transform(Unframed)
        self._forgetting = PeriodicCallback(
            self._forget_workers, _FORGET_EVERY_SECONDS * 1000
        )
        self._server: HTTPServer | None = None

    def get_handler_delegate(
        self,
        request: HTTPServerRequest,
        target_class: type[RequestHandler],
        target_kwargs: dict[str, Any] | None = None,
        path_args: list[bytes] | None = None,
        path_kwargs: dict[str, bytes] | None = None,
    ) -> Any:
        """Return what handles a request: all of them come by here."""
        refusal = self._gate.find_refusal(request, target_class)
        if refusal is not None:
            return super().get_handler_delegate(request, Refused, {"refusal": refusal})
        return super().get_handler_delegate(
            request, target_class, target_kwargs, path_args, path_kwargs
        )

    def _has_user(self, request: HTTPServerRequest) -> bool:
        cookie = request.cookies.get("user")
        user = cookie and decode_signed_value(
            self.settings["cookie_secret"], "user", cookie.value
        )
        return bool(user and authenticate(self.options.auth, user.decode()))

    def _forget_workers(self) -> None:
        silent_seconds = self.options.purge_offline_workers
        if silent_seconds is None:
            return
        self.events.forget_workers(silent_seconds)
        asked = self.inspector.workers
        oldest = time.time() - silent_seconds
        for name in set(asked) - set(self.events.state.workers):
            if asked[name].get("timestamp", 0) < oldest:
                del asked[name]

    def open(self) -> str:
        """Listen, begin to hear of tasks, and return where pages are to be found.

        Raises SetupError when the address cannot be listened on.
        """
        self._server = self._make_server()
        try:
            place = self._bind(self._server)
        except OSError as error:
            raise SetupError(
                f"Flower cannot listen on {self._choice.place}: {error.strerror};"
                " choose another address or port, or end who listens there"
            ) from error
        self.events.start()
        self.started = True
        self.update_workers()
        self._forgetting.start()
        return place

    def _make_server(self) -> HTTPServer:
        return HTTPServer(
            self,
            ssl_options=self.ssl_options,
            xheaders=self.options.xheaders,
            max_body_size=_MOST_BODY_BYTES,
            max_buffer_size=2 * _MOST_BODY_BYTES,
            idle_connection_timeout=_REQUEST_SECONDS,
            body_timeout=_REQUEST_SECONDS,
        )

    def _bind(self, server: HTTPServer) -> str:
        options = self.options
        if options.unix_socket:
            # not for every account of this machine
            server.add_socket(bind_unix_socket(options.unix_socket, mode=0o660))
            return f"the socket {options.unix_socket}"
        sockets = bind_sockets(options.port, address=options.address)
        server.add_sockets(sockets)
        host = options.address or "localhost"
        scheme = "https" if self.ssl_options else "http"
        port = sockets[0].getsockname()[1]
        prefix = f"/{options.url_prefix}/" if options.url_prefix else "/"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{prefix}"

    async def close(self) -> None:
        """Listen no more, and give up what was opened."""
        self._forgetting.stop()
        if self._server is not None:
            self._server.stop()
            await self._server.close_all_connections()
        await self.tab.close()
        if self.started:
            self.events.stop()
            self.executor.shutdown(wait=False, cancel_futures=True)
            self.started = False


def _build_web_settings(options: Any) -> Mapping[str, Any]:
    """Return Tornado's settings, as Flower's own command makes them of its options."""
    settings = {**flower_settings, "debug": options.debug}
    if options.cookie_secret:
        settings["cookie_secret"] = options.cookie_secret
    if options.url_prefix:
        for name in ("login_url", "static_url_prefix"):
            settings[name] = prepend_url(settings[name], options.url_prefix)
    if options.auth:
        settings["oauth"] = {
            "key": options.oauth2_key,
            "secret": options.oauth2_secret,
            "redirect_uri": options.oauth2_redirect_uri,
        }
    if options.certfile:
        settings["ssl_options"] = {
            "certfile": options.certfile,
            "keyfile": options.keyfile,
            **({"ca_certs": options.ca_certs} if options.ca_certs else {}),
        }
    return settings
