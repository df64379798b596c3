"""Every route of the whole application, tried by those who are not to pass.

The routes are asked of the application itself, so that one that is added is tried, too.
"""

import asyncio
import re
import stat
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.routing import PathMatches, Rule, RuleRouter
from tornado.web import create_signed_value

from execution.dispatcher import create_app
from execution.flower import app as flower_app
from execution.flower.app import ExecutionsFlower
from execution.flower.choices import FlowerChoices, choose
from execution.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("own_flower_options")]

AWAY = Settings(
    database_url="postgresql://ann:hunter2@127.0.0.1:1/none",
    broker_url="redis://:hunter2@127.0.0.1:1/0",
)
"""The gate asks no server."""
LOGIN = "ann:s3cret with spaces"
OPEN = {"/healthcheck"}
"""All that answers without a login, and only what is to be read."""
READING = {"/tasks/datatable"}
"""All that takes a POST and changes nothing."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
CHANGING = ("POST", "PUT", "PATCH", "DELETE")
OF_BODY = b"\r\nHost: here\r\nContent-Length: 99\r\n"
FILLINGS = ("x", "1", "019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1")


@dataclass
class Site:
    """A Flower that answers, and how it is asked."""

    flower: ExecutionsFlower
    url: str

    async def ask(
        self, path: str, method: str = "GET", login: str | None = None, **headers: str
    ) -> HTTPResponse:
        """Ask, with headers whose names are written with underscores."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        if login is not None:
            named["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
        return await AsyncHTTPClient().fetch(
            self.url + path,
            method=method,
            headers=named,
            follow_redirects=False,
            allow_nonstandard_methods=True,
            raise_error=False,
        )

    async def ask_all(
        self, *methods: str, login: str | None = None, **headers: str
    ) -> Mapping[str, int]:
        """Return what every route answers to these methods."""
        return {
            f"{method} {path}": (await self.ask(path, method, login, **headers)).code
            for path in list_paths(self.flower)
            for method in methods
        }


@asynccontextmanager
async def open_site(folder: Path, **choices: Any) -> AsyncIterator[Site]:
    """Let a whole application answer on the loopback."""
    if not choices.get("is_unauthenticated"):
        (folder / "logins").write_text(f"# who may look\n\n{LOGIN}\nbob:other\n")
        choices.setdefault("logins", folder / "logins")
    flower = ExecutionsFlower(choose(FlowerChoices(**choices)), create_app(AWAY), AWAY)
    (socket,) = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(flower)
    server.add_socket(socket)
    try:
        yield Site(flower, f"http://127.0.0.1:{socket.getsockname()[1]}")
    finally:
        server.stop()
        await server.close_all_connections()
        await flower.close()


def list_paths(flower: ExecutionsFlower) -> list[str]:
    """Return a path for each route of the application, and one that leads nowhere."""
    matchers = [rule.matcher for rule in walk(flower.default_router)]
    paths = {fill(m.regex) for m in matchers if isinstance(m, PathMatches)}
    return sorted({*paths, "/nowhere"})


def walk(router: RuleRouter) -> Iterator[Rule]:
    for rule in router.rules:
        if isinstance(rule.target, RuleRouter):
            yield from walk(rule.target)
        else:
            yield rule


def fill(pattern: re.Pattern[str]) -> str:
    """Return a path that the pattern matches."""
    text = pattern.pattern.rstrip("$")
    # or what stands in the brackets, if it is a name
    for filling in (*FILLINGS, r"\1"):
        path = re.sub(r"\((?:\?P<\w+>)?((?:[^()]|\([^()]*\))*)\)", filling, text)
        path = path.replace("/?", "").replace(".*", "/elsewhere")
        path = path.replace("\\", "")
        if pattern.match(path) and path.startswith("/"):
            return path
    raise AssertionError(f"no path is known for {pattern.pattern}")


def test_a_path_is_found_for_every_kind_of_pattern() -> None:
    patterns = (
        *(r"/a/(.+)$", r"/a/(?P<id>[0-9a-f-]{36})/b$"),
        *(r"/l/?$", r".*$", r"/(robots\.txt)$"),
    )

    assert [fill(re.compile(p)) for p in patterns] == [
        "/a/x",
        f"/a/{FILLINGS[2]}/b",
        "/l",
        "/elsewhere",
        "/robots.txt",
    ]


async def test_every_route_refuses_who_has_no_login(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        answers = await site.ask_all(*METHODS)

    assert len(answers) > 35 * len(METHODS)
    assert any(asked.startswith("POST /executions/") for asked in answers)
    let_in = {asked for asked, code in answers.items() if code != 401}
    assert let_in == {f"{method} {path}" for method in ("GET", "HEAD") for path in OPEN}


@pytest.mark.parametrize(
    "login",
    [
        "ann:wrong",
        "ann:",
        "ann:s3cret",
        "bob:s3cret with spaces",
        "",
        "añn:s3cret",
        ":",
    ],
)
async def test_every_route_refuses_a_wrong_login(tmp_path: Path, login: str) -> None:
    async with open_site(tmp_path) as site:
        answers = await site.ask_all("GET", login=login)

    assert {path for path, code in answers.items() if code != 401} == {
        f"GET {path}" for path in OPEN
    }


@pytest.mark.parametrize(
    "header", ["Basic", "Basic ????", "Bearer s3cret", "Basic YW5u YW5u", "ann:s3cret"]
)
async def test_what_is_no_login_is_refused_and_asked_for(
    tmp_path: Path, header: str
) -> None:
    async with open_site(tmp_path) as site:
        answer = await site.ask("/workers", Authorization=header)

    assert answer.code == 401
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="flower"'


async def test_every_login_of_the_file_is_let_in(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        for login in (LOGIN, "bob:other"):
            for path in (
                "/",
                "/tasks",
                "/api/tasks",
                "/metrics",
                "/static/favicon.ico",
            ):
                assert (await site.ask(path, login=login)).code == 200, path


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://[", "Sec_Fetch_Site": "same-origin"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
    ],
    ids=str,
)
async def test_no_route_changes_anything_for_another_sites_page(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    async with open_site(tmp_path) as site:
        answers = await site.ask_all("POST", login=LOGIN, **headers)

    assert {asked for asked, code in answers.items() if code != 403} == set()


async def test_no_other_method_is_a_way_around_that(tmp_path: Path) -> None:
    headers = {"Origin": "https://evil.example", "Sec_Fetch_Site": "cross-site"}
    async with open_site(tmp_path) as site:
        answers = await site.ask_all("PUT", "PATCH", "DELETE", login=LOGIN, **headers)

    assert {asked for asked, code in answers.items() if code != 403} == set()


async def test_no_page_can_be_shown_within_another_sites_page(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        answers = [
            await site.ask(path, login=login)
            for path in list_paths(site.flower)
            for login in (None, LOGIN)
            if not path.endswith("events")
        ]

    assert {a.headers.get("X-Frame-Options") for a in answers} == {"DENY"}
    policies = {a.headers.get("Content-Security-Policy", "") for a in answers}
    assert all("frame-ancestors 'none'" in policy for policy in policies)


async def test_its_own_page_may_ask_for_a_change(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        answer = await site.ask(
            "/api/worker/shutdown/nobody",
            "POST",
            LOGIN,
            Origin=site.url,
            Sec_Fetch_Site="same-origin",
        )

    # it got as far as to look for the worker
    assert answer.code == 404


async def test_no_route_changes_anything_while_all_is_read_only(tmp_path: Path) -> None:
    async with open_site(tmp_path, read_only=True) as site:
        answers = await site.ask_all(*CHANGING, login=LOGIN)
        page = await site.ask("/tasks", login=LOGIN)

    assert page.code == 200
    changed = {asked for asked, code in answers.items() if code != 403}
    assert changed <= {f"{method} {path}" for method in CHANGING for path in READING}


async def test_without_logins_only_this_machine_is_answered(tmp_path: Path) -> None:
    async with open_site(tmp_path, is_unauthenticated=True) as site:
        # a name of somebody else's that leads to the loopback
        rebound = await site.ask_all("GET", "POST", Host="evil.example")
        page = await site.ask("/tasks")

    assert page.code == 200
    assert {asked for asked, code in rebound.items() if code != 403} == {
        f"GET {path}" for path in OPEN
    }


async def test_without_logins_another_sites_page_neither_reads_nor_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWER_UNAUTHENTICATED_API", "1")
    origin = "https://evil.example"
    async with open_site(tmp_path, is_unauthenticated=True) as site:
        answers = await site.ask_all("GET", *CHANGING, Origin=origin)
        api = await site.ask("/api/tasks")

    assert api.code == 200
    assert {asked for asked, code in answers.items() if code != 403} == {
        f"GET {path}" for path in OPEN
    }


@pytest.fixture
def oauth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let people log in elsewhere, as Flower's variables say."""
    monkeypatch.setenv("FLOWER_AUTH", "ann@example.com")
    monkeypatch.setenv("FLOWER_AUTH_PROVIDER", "flower.views.auth.GithubLoginHandler")
    monkeypatch.setenv("FLOWER_OAUTH2_KEY", "key")
    monkeypatch.setenv("FLOWER_OAUTH2_SECRET", "secret")
    monkeypatch.setenv("FLOWER_OAUTH2_REDIRECT_URI", "http://localhost:5555/login")
    monkeypatch.setenv("FLOWER_COOKIE_SECRET", "a secret of the cookies")


def sign(user: str, secret: str = "a secret of the cookies") -> str:  # noqa: S107  # of this test
    return f"user={create_signed_value(secret, 'user', user).decode()}"


@pytest.mark.usefixtures("oauth")
async def test_who_logs_in_elsewhere_is_sent_there(tmp_path: Path) -> None:
    async with open_site(tmp_path, logins=None) as site:
        answers = await site.ask_all("GET", "POST")
        page = await site.ask("/tasks")
        login = await site.ask("/login")

    way_in = {"GET /login", "GET /logout", "POST /login", "POST /logout"}
    refused = {a: c for a, c in answers.items() if a not in way_in}
    assert refused.pop("GET /healthcheck") == 200
    assert {asked[:4] for asked, code in refused.items() if code == 302} == {"GET "}
    assert {code for asked, code in refused.items() if asked[:4] == "POST"} == {401}
    assert page.headers["Location"] == "/login?next=%2Ftasks"
    assert login.headers["Location"].startswith("https://github.com/login/oauth/")


@pytest.mark.usefixtures("oauth")
async def test_only_a_signed_cookie_of_who_is_welcome_is_taken(tmp_path: Path) -> None:
    async with open_site(tmp_path, logins=None) as site:
        welcome = await site.ask("/tasks", Cookie=sign("ann@example.com"))
        stranger = await site.ask("/tasks", Cookie=sign("eve@example.com"))
        forged = await site.ask("/tasks", Cookie=sign("ann@example.com", "guessed"))
        bare = await site.ask("/tasks", Cookie="user=ann@example.com")

    assert welcome.code == 200
    assert [a.code for a in (stranger, forged, bare)] == [302, 302, 302]


@pytest.mark.parametrize("prefix", ["flower", "/flower/"])
async def test_under_a_prefix_every_route_is_guarded_as_well(
    tmp_path: Path, prefix: str
) -> None:
    async with open_site(tmp_path, url_prefix=prefix) as site:
        answers = await site.ask_all("GET", "POST")
        page = await site.ask("/flower/tasks", login=LOGIN)
        style = await site.ask("/flower/static/css/flower.css", login=LOGIN)

    let_in = {asked for asked, code in answers.items() if code != 401}
    assert let_in == {f"GET /flower{path}" for path in OPEN}
    assert (page.code, style.code) == (200, 200)
    assert b'href="/flower/tasks"' in page.body


async def test_a_refusal_waits_for_no_body(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        answer = await tell(site.url, b"POST / HTTP/1.1" + OF_BODY + b"\r\n")

    assert b" 401 " in answer


@pytest.mark.parametrize("head", [b"", b"GET / HTTP", b"POST", b"PATCH"])
async def test_who_sends_no_whole_request_holds_no_connection(
    tmp_path: Path, head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flower_app, "_REQUEST_SECONDS", 0.1)
    if head.isalpha():
        login = b64encode(LOGIN.encode())
        head += b" /tasks/datatable HTTP/1.1" + OF_BODY
        head += b"Authorization: Basic " + login + b"\r\n\r\n"
    async with open_site(tmp_path) as site:
        server = site.flower._make_server()
        (socket,) = bind_sockets(0, "127.0.0.1")
        server.add_socket(socket)
        answer = await tell(f"http://127.0.0.1:{socket.getsockname()[1]}", head)
        server.stop()

    assert answer == b""


async def tell(url: str, head: bytes) -> bytes:
    """Send the beginning of a request, and return the first line that comes back."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head)
    try:
        return await asyncio.wait_for(reader.readline(), 10)
    finally:
        writer.close()


async def test_a_socket_of_files_is_not_for_every_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "socket"
    monkeypatch.setenv("FLOWER_UNIX_SOCKET", str(path))
    async with open_site(tmp_path) as site:
        server = HTTPServer(site.flower)
        place = site.flower._bind(server)
        mode = stat.S_IMODE(path.stat().st_mode)
        server.stop()

    assert place == f"the socket {path}"
    assert mode == 0o660


@pytest.mark.parametrize(
    ("address", "prefix", "place"),
    [
        ("127.0.0.1", None, r"http://127\.0\.0\.1:\d+/"),
        ("::1", "/flower/", r"http://\[::1\]:\d+/flower/"),
    ],
)
async def test_the_place_that_is_said_is_where_it_answers(
    tmp_path: Path, address: str, prefix: str | None, place: str
) -> None:
    async with open_site(tmp_path, port=0, address=address, url_prefix=prefix) as site:
        server = HTTPServer(site.flower)
        said = site.flower._bind(server)
        health = await AsyncHTTPClient().fetch(f"{said}healthcheck")
        server.stop()
        await server.close_all_connections()

    assert re.fullmatch(place, said)
    assert health.body == b"OK"
