"""The tab of executions over HTTP: what it shows, and whom it lets act."""

import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from secrets import token_hex

import httpx
import pytest
from tornado.web import create_signed_value

from execution import ExecutionStatus, Plan, Step
from execution.engine import ExecutionEngine
from execution.identity import draw_execution_id
from execution.settings import Settings
from tests.flower_server import FlowerServer, find_token, serving
from tests.worker_process import WorkerProcess

NASTY = "<script>alert('note')</script>"
QUICK = Plan.from_mapping(
    {
        "format": 1,
        "name": "quick",
        "tags": ["nightly"],
        "parameters": {"note": {"type": "string", "default": "none"}},
        "steps": [{"id": "only", "action": "test.nothing"}],
    }
)
TOMORROW = datetime.now(UTC) + timedelta(days=1)
OTHER = Plan("other", steps=[Step("only", action="test.nothing")])
REFUSED = Plan("refused", steps=[Step("only", action="test.refuse")])
PAGES = (
    "/executions",
    "/executions?status=running",
    f"/executions/{uuid.UUID(int=1)}",
    "/executions/events",
    f"/executions/{uuid.UUID(int=1)}/events",
    f"/executions/{uuid.UUID(int=1)}/cancel",
    "/executions/static/executions.js",
)


@pytest.fixture(scope="module")
def server(settings: Settings) -> Iterator[FlowerServer]:
    with serving(settings) as started:
        yield started


@pytest.fixture
def client(server: FlowerServer) -> Iterator[httpx.Client]:
    with server.open_client() as opened:
        yield opened


@pytest.fixture
def execution_id(engine: ExecutionEngine) -> str:
    """An execution that begins when the test is long over."""
    return engine.submit(QUICK, at=TOMORROW)


def act(
    client: httpx.Client, execution_id: str, name: str, reason: str = ""
) -> httpx.Response:
    """Do what the form of the page does."""
    place = f"/executions/{execution_id}"
    token = find_token(client.get(place).text)
    data = {"_xsrf": token, "reason": reason, "act_id": str(uuid.uuid4())}
    return client.post(f"{place}/{name}", data=data)


def list_shown(answer: httpx.Response) -> list[str]:
    """Return the ids of a list's rows."""
    assert answer.status_code == 200, answer.text
    return re.findall(r'data-execution="([^"]+)"', answer.text)


@pytest.mark.parametrize("place", PAGES)
def test_who_is_not_logged_in_sees_nothing(server: FlowerServer, place: str) -> None:
    with server.open_client(auth=None) as stranger:
        assert stranger.get(place).status_code == 401


def test_who_is_not_logged_in_does_nothing(
    server: FlowerServer, engine: ExecutionEngine, execution_id: str
) -> None:
    with server.open_client(auth=("ann", "guessed")) as stranger:
        answer = stranger.post(f"/executions/{execution_id}/cancel")

    assert answer.status_code == 401
    assert engine.get_status(execution_id).status is ExecutionStatus.PENDING


def test_the_list_leads_to_an_execution_and_back(
    client: httpx.Client, execution_id: str
) -> None:
    page = client.get("/executions").text
    place = f"/executions/{execution_id}"
    shown = client.get(place).text

    assert f'href="{place}"' in page
    assert "0 %, 0 of 1" in page
    assert 'href="/executions"' in shown
    assert 'data-step="only"' in shown
    assert "execution.state_changed" in shown


def test_flowers_own_navigation_names_the_tab(client: httpx.Client) -> None:
    page = client.get("/workers")

    assert page.status_code == 200
    assert 'href="/executions">Executions</a>' in page.text


def test_the_list_is_filtered_by_state_plan_and_tag(
    client: httpx.Client, engine: ExecutionEngine
) -> None:
    paused = engine.submit(QUICK, tags=["of-three"], at=TOMORROW)
    engine.submit(OTHER, tags=["of-three"], at=TOMORROW)
    pending = engine.submit(QUICK, tags=["of-three"], at=TOMORROW)
    engine.pause(paused)

    def find(**asked: str) -> list[str]:
        return list_shown(client.get("/executions", params=asked))

    assert find(tag="of-three", plan="quick") == [pending, paused]
    assert find(tag="of-three", status="paused") == [paused]
    assert find(tag="of-nobody") == []


def test_a_filter_that_is_none_is_answered_as_such(client: httpx.Client) -> None:
    answer = client.get("/executions", params={"status": "runing"})
    elsewhere = client.get("/executions", params={"cursor": "nowhere"})

    assert (answer.status_code, elsewhere.status_code) == (400, 400)
    assert "running" in answer.text
    assert "is no cursor" in elsewhere.text


def test_pages_follow_each_other_without_gap_or_repetition(
    client: httpx.Client, engine: ExecutionEngine
) -> None:
    begun = engine.submit_many(QUICK, [{}] * 51, tags=["many"], at=TOMORROW)

    first = client.get("/executions", params={"tag": "many"})
    link = re.search(r'rel="next" href="([^"]+)"', first.text)
    assert link is not None
    second = client.get(link[1].replace("&amp;", "&"))

    assert sorted(list_shown(first) + list_shown(second)) == sorted(begun)
    assert 'rel="next"' not in second.text


def test_text_of_users_is_never_markup(
    client: httpx.Client, engine: ExecutionEngine
) -> None:
    execution_id = engine.submit(QUICK, {"note": NASTY}, tags=[NASTY], at=TOMORROW)
    engine.pause(execution_id, by=NASTY, reason=NASTY)
    engine.pause_tag(NASTY, by=NASTY, reason=NASTY)

    try:
        pages = [
            client.get("/executions", params={"plan": NASTY}),
            client.get("/executions", params={"tag": NASTY}),
            client.get("/executions", params={"cursor": NASTY}),
            client.get(f"/executions/{execution_id}"),
        ]
    finally:
        engine.resume_tag(NASTY)

    for page in pages:
        assert "&lt;script&gt;alert" in page.text
        assert "<script>" not in page.text


def test_pages_forbid_what_they_do_not_need(client: httpx.Client) -> None:
    answer = client.get("/executions")

    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert re.findall(r"<script(?! src=\")|\son\w+=|\sstyle=", answer.text) == []
    loaded = re.findall(r'(?:src|<link[^>]* href)="([^"]+)"', answer.text)
    assert [place for place in loaded if not place.startswith("/")] == []


def test_what_a_page_loads_is_there(client: httpx.Client) -> None:
    page = client.get("/executions").text

    loaded = set(re.findall(r'(?:src|<link[^>]* href)="([^"]+)"', page))

    assert len(loaded) > 2
    for place in loaded:
        assert client.get(place).status_code == 200, place


def test_acts_are_done_in_the_name_of_who_is_logged_in(
    client: httpx.Client, engine: ExecutionEngine, execution_id: str
) -> None:
    answers = [
        act(client, execution_id, "pause", "the bank is down"),
        act(client, execution_id, "resume"),
        act(client, execution_id, "cancel", "sent twice"),
    ]

    assert {answer.status_code for answer in answers} == {303}
    assert {a.headers["Location"] for a in answers} == {f"/executions/{execution_id}"}
    history = engine.get_state_history(execution_id)
    assert engine.get_status(execution_id).status is ExecutionStatus.CANCELLED
    told = [(change.to_status, change.by, change.reason) for change in history]
    assert (ExecutionStatus.PAUSED, "ann", "the bank is down") in told
    assert (ExecutionStatus.ENDING, "ann", "sent twice") in told
    page = client.get(f"/executions/{execution_id}").text
    assert re.search(r"<bdi>ann</bdi></td>\s*<td><bdi>cancel; sent twice</bdi>", page)


@pytest.mark.parametrize("name", ["resume", "retry"])
def test_a_refusal_is_shown_with_its_code(
    client: httpx.Client, execution_id: str, name: str
) -> None:
    answer = act(client, execution_id, name)

    assert answer.status_code == 409
    assert "<strong>Not done.</strong> E011: " in answer.text
    assert 'id="status">pending<' in answer.text


@pytest.mark.parametrize("name", ["pause", "cancel"])
def test_what_has_ended_refuses_to_be_stopped(
    client: httpx.Client, engine: ExecutionEngine, execution_id: str, name: str
) -> None:
    engine.cancel(execution_id)

    answer = act(client, execution_id, name)

    assert answer.status_code == 409
    assert "E011" in answer.text


def test_a_failed_execution_is_retried_once_however_often_the_form_is_sent(
    client: httpx.Client, engine: ExecutionEngine, shared_worker: WorkerProcess
) -> None:
    assert shared_worker.process.poll() is None
    execution_id = engine.submit(REFUSED)
    engine.wait(execution_id, timeout_seconds=60)
    place = f"/executions/{execution_id}"
    page = client.get(place).text
    assert "no such customer" in page
    data = {
        "_xsrf": find_token(page),
        "act_id": re.findall(r'name="act_id" value="([^"]+)"', page)[0],
        "reason": "the customer is known now",
    }

    answers = []
    for _ in range(2):
        answers.append(client.post(f"{place}/retry", data=data).status_code)
        engine.wait(execution_id, timeout_seconds=60)

    assert answers == [303, 303]
    types = [event.type for event in engine.list_events(execution_id)]
    assert types.count("execution.retried") == 1
    assert "<bdi>the customer is known now</bdi>" in client.get(place).text


def test_an_execution_that_is_not_there_is_not_found(client: httpx.Client) -> None:
    place = f"/executions/{draw_execution_id()}"

    answers = [
        client.get(place),
        client.get(f"{place}/events"),
        client.get("/executions/x"),
    ]

    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert "there is no execution" in answers[0].text


@pytest.mark.parametrize(
    ("data", "headers"),
    [
        ({}, {}),
        ({"_xsrf": "2|0|0|0"}, {}),
        ({"_xsrf": "TOKEN"}, {"Origin": "http://elsewhere.example"}),
        ({"_xsrf": "TOKEN"}, {"Origin": "null"}),
        ({"_xsrf": "TOKEN"}, {"Sec-Fetch-Site": "cross-site"}),
        ({"_xsrf": "TOKEN"}, {"Sec-Fetch-Site": "same-site"}),
    ],
)
def test_what_another_site_sends_is_refused(
    client: httpx.Client,
    engine: ExecutionEngine,
    execution_id: str,
    data: dict[str, str],
    headers: dict[str, str],
) -> None:
    place = f"/executions/{execution_id}"
    token = find_token(client.get(place).text)
    sent = {name: value.replace("TOKEN", token) for name, value in data.items()}

    answer = client.post(f"{place}/cancel", data=sent, headers=headers)

    assert answer.status_code == 403
    assert engine.get_status(execution_id).status is ExecutionStatus.PENDING


def test_a_link_does_nothing(
    client: httpx.Client, engine: ExecutionEngine, execution_id: str
) -> None:
    answer = client.get(f"/executions/{execution_id}/cancel")

    assert answer.headers["Location"] == f"/executions/{execution_id}"
    assert engine.get_status(execution_id).status is ExecutionStatus.PENDING


@pytest.mark.parametrize("field", ["reason", "act_id"])
def test_what_no_form_of_ours_sends_is_refused(
    client: httpx.Client, execution_id: str, field: str
) -> None:
    place = f"/executions/{execution_id}"
    data = {"_xsrf": find_token(client.get(place).text), field: "x" * 1001}

    assert client.post(f"{place}/retry", data=data).status_code == 400


def test_a_flower_that_only_reads_neither_offers_acts_nor_does_them(
    settings: Settings, engine: ExecutionEngine, execution_id: str
) -> None:
    with serving(settings, read_only=True) as server, server.open_client() as client:
        page = client.get(f"/executions/{execution_id}")
        client.cookies.set("_xsrf", "0123456789abcdef")
        answer = client.post(
            f"/executions/{execution_id}/cancel", data={"_xsrf": "0123456789abcdef"}
        )

    assert page.status_code == 200
    assert "formaction" not in page.text
    assert answer.status_code == 403
    assert engine.get_status(execution_id).status is ExecutionStatus.PENDING


def test_without_a_login_nobody_acts_as_nobody_would_be_responsible(
    settings: Settings, engine: ExecutionEngine, execution_id: str
) -> None:
    with (
        serving(settings, basic_auth=None) as server,
        server.open_client(auth=None) as client,
    ):
        page = client.get(f"/executions/{execution_id}")
        client.cookies.set("_xsrf", "0123456789abcdef")
        answer = client.post(
            f"/executions/{execution_id}/cancel", data={"_xsrf": "0123456789abcdef"}
        )

    assert "formaction" not in page.text
    assert answer.status_code == 403
    assert "has to log in" in answer.text
    assert engine.get_status(execution_id).status is ExecutionStatus.PENDING


def test_who_has_logged_in_elsewhere_acts_under_that_name(
    settings: Settings, engine: ExecutionEngine, execution_id: str
) -> None:
    key = token_hex(32)
    user = create_signed_value(key, "user", "ann@example.com").decode()
    elsewhere = {"basic_auth": None, "auth": "ann@example.com", "cookie_secret": key}
    with (
        serving(settings, **elsewhere) as server,
        server.open_client(auth=None, cookies={"user": user}) as client,
    ):
        answer = act(client, execution_id, "pause", "for lunch")

    assert answer.status_code == 303
    paused = engine.get_state_history(execution_id)[-1]
    assert (paused.by, paused.reason) == ("ann@example.com", "for lunch")


def test_all_addresses_have_the_prefix(settings: Settings, execution_id: str) -> None:
    with (
        serving(settings, url_prefix="monitor") as server,
        server.open_client() as client,
    ):
        page = client.get(f"/monitor/executions/{execution_id}")
        answer = act_below(client, f"/monitor/executions/{execution_id}/pause", page)
        bare = client.get("/executions")

    assert answer.headers["Location"] == f"/monitor/executions/{execution_id}"
    assert bare.status_code == 404
    ours = re.findall(
        r'(?:href|formaction|data-stream)="(/[^"]*execution[^"]*)"', page.text
    )
    assert ours
    assert [place for place in ours if not place.startswith("/monitor/")] == []


def act_below(client: httpx.Client, place: str, page: httpx.Response) -> httpx.Response:
    return client.post(place, data={"_xsrf": find_token(page.text)})


def test_a_long_timeline_is_shown_in_parts(
    client: httpx.Client, engine: ExecutionEngine
) -> None:
    many = [Step(f"s{n:03}", action="test.nothing") for n in range(250)]
    execution_id = engine.submit(Plan("long", steps=many), at=TOMORROW)
    engine.cancel(execution_id)
    last = engine.get_status(execution_id).last_seq
    place = f"/executions/{execution_id}"

    def list_numbers(page: str) -> list[int]:
        return [int(number) for number in re.findall(r'id="event-(\d+)"', page)]

    page, numbers = client.get(place).text, []
    while True:
        numbers += list_numbers(page)
        older = re.search(r'href="[^"]+(\?before=\d+)">Older', page)
        if older is None:
            break
        page = client.get(place + older[1]).text

    assert numbers == list(range(last, 0, -1))
    assert page.count("data-step=") == 100
    assert client.get(place, params={"before": "-1"}).status_code == 400
    assert client.get(place, params={"before": "1"}).status_code == 200
