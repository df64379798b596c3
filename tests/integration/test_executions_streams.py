"""How open pages of the tab are kept current, whatever becomes of their servers."""

import json
import re
import socket
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from execution import Plan, Step
from execution.engine import ExecutionEngine
from execution.flower import following, listing, pages
from execution.flower.reading import Moving, read_moving
from execution.identity import draw_execution_id
from execution.local import LocalStack
from execution.settings import Settings
from tests.flower_server import LOGIN, FlowerServer, serving
from tests.polling import wait_until
from tests.proxy import Proxy

PLAN = Plan("streamed", steps=[Step("only", action="test.nothing")])
TOMORROW = datetime.now(UTC) + timedelta(days=1)


@dataclass(frozen=True)
class Message:
    """What a browser gets of a stream."""

    event: str
    event_id: str
    data: Any

    @property
    def parts(self) -> Mapping[str, str]:
        """Return the markup of each part of the page that is in it."""
        parts: Mapping[str, str] = self.data.get("parts", {})
        return parts

    @property
    def numbers(self) -> list[int]:
        """Return the numbers of the events in it."""
        told = "".join(self.data.get("events", []))
        return [int(number) for number in re.findall(r'id="event-(\d+)"', told)]


@pytest.fixture(autouse=True)
def _in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let streams tell without the pauses that spare servers, and of moves alone."""
    monkeypatch.setattr(following, "_BREATH_SECONDS", 0.05)
    monkeypatch.setattr(following, "_LOOK_SECONDS", 600.0)


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let streams look often whether anything has changed without a move."""
    monkeypatch.setattr(following, "_LOOK_SECONDS", 0.3)


@pytest.fixture(scope="module")
def server(settings: Settings) -> Iterator[FlowerServer]:
    with serving(settings) as started:
        yield started


@pytest.fixture
def client(server: FlowerServer) -> Iterator[httpx.Client]:
    with server.open_client() as opened:
        yield opened
    wait_until(lambda: server.count_streams() == 0, what="all streams to end")
    left = wait_until(
        lambda: server.list_tasks().isdisjoint({"plans-beat", "plans-pulse"}),
        what="the tasks of streams to end",
    )
    assert left


@pytest.fixture
def execution_id(engine: ExecutionEngine) -> str:
    """An execution that only moves when somebody acts on it."""
    return engine.submit(PLAN, at=TOMORROW)


@contextmanager
def listening(
    client: httpx.Client, place: str, last_id: str | None = None
) -> Iterator[Iterator[Message]]:
    """Read a stream as a browser does."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    with client.stream("GET", place, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "text/event-stream"
        yield read_messages(answer.iter_lines())


def read_messages(lines: Iterator[str]) -> Iterator[Message]:
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if name:
            fields[name] = value
        elif "event" in fields:
            data = json.loads(fields["data"])
            yield Message(fields["event"], fields.get("id", ""), data)
            fields = {}


def test_a_page_hears_of_every_event_once_however_often_it_comes_again(
    client: httpx.Client, engine: ExecutionEngine, execution_id: str
) -> None:
    place = f"/executions/{execution_id}/events"
    seen: list[int] = []
    last_id = "0"
    for act in (engine.pause, engine.resume, engine.pause, engine.cancel):
        with listening(client, place, last_id) as messages:
            act(execution_id)
            last = find_last(engine, execution_id)
            while not last_id.startswith(f"{last}."):
                message = next(messages)
                seen += message.numbers
                last_id = message.event_id

    assert seen == list(range(1, last + 1))
    with listening(client, place, last_id) as messages:
        assert [message.event for message in messages] == ["end"]


def find_last(engine: ExecutionEngine, execution_id: str) -> int:
    return engine.get_status(execution_id).last_seq


def test_a_plain_number_is_a_place_to_continue_from(
    client: httpx.Client, engine: ExecutionEngine, execution_id: str
) -> None:
    engine.cancel(execution_id)
    last = find_last(engine, execution_id)

    with listening(client, f"/executions/{execution_id}/events", "1") as messages:
        told = [number for message in messages for number in message.numbers]

    assert told == list(range(2, last + 1))


def test_a_message_has_what_a_page_shows_then(
    client: httpx.Client, engine: ExecutionEngine, execution_id: str
) -> None:
    engine.pause(execution_id, by="ann", reason="<b>for lunch</b>")

    with listening(client, f"/executions/{execution_id}/events") as messages:
        message = next(messages)

    parts = message.data["parts"]
    assert set(parts) == {"state", "acts", "why", "steps"}
    assert 'id="status">paused<' in parts["state"]
    assert "Resume" in parts["acts"]
    assert "Pause" not in parts["acts"]
    told = "".join(message.data["events"])
    assert "<bdi>ann</bdi>" in told
    assert "<bdi>&lt;b&gt;for lunch&lt;/b&gt;</bdi>" in told


def test_a_stream_that_cannot_begin_says_why(
    client: httpx.Client, execution_id: str
) -> None:
    missing = client.get(f"/executions/{draw_execution_id()}/events")
    place = f"/executions/{execution_id}/events"
    nowhere = client.get(place, headers={"Last-Event-ID": "nowhere"})
    unknown = client.get("/executions/events?status=runing")

    codes = [answer.status_code for answer in (missing, nowhere, unknown)]
    assert codes == [404, 400, 400]


def test_the_last_update_is_told_whole_after_an_outage(
    settings: Settings,
    stack: LocalStack,
    engine: ExecutionEngine,
    execution_id: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert stack.postgres is not None
    engine.cancel(execution_id)
    last = find_last(engine, execution_id)
    with Proxy(str(stack.postgres.socket)) as proxy:
        falls = [proxy.refuse]

        async def read_in_an_outage(*given: Any) -> Moving:
            while falls:
                falls.pop()()
            return await read_moving(*given)

        # PostgreSQL goes when the events are at hand, and the rest is not
        monkeypatch.setattr(following, "read_moving", read_in_an_outage)
        url = f"postgresql://plans@127.0.0.1:{proxy.port}/plans"
        with (
            serving(replace(settings, database_url=url)) as server,
            server.open_client() as client,
            listening(client, f"/executions/{execution_id}/events") as messages,
        ):
            assert "away" in (one.event for one in messages)
            proxy.admit()
            told = [one for one in messages if one.event not in ("away", "here")]

    assert [one.event for one in told] == ["parts", "end"]
    assert told[0].event_id.startswith(f"{last}.")
    assert told[0].numbers == list(range(1, last + 1))
    assert 'id="status">cancelled<' in told[0].data["parts"]["state"]


@pytest.mark.usefixtures("looking")
def test_a_page_of_one_execution_hears_of_what_is_no_event_of_it(
    client: httpx.Client, engine: ExecutionEngine
) -> None:
    why = "too many of them"
    execution_id = engine.submit(PLAN, tags=["followed"], at=TOMORROW)
    with listening(client, f"/executions/{execution_id}/events") as messages:
        assert next(one.event_id for one in messages if one.event_id)
        engine.pause_tag("followed", reason=why)
        try:
            told = next(one for one in messages if why in one.parts.get("state", ""))
        finally:
            engine.resume_tag("followed")
        back = next(one for one in messages if "state" in one.parts)

    assert why not in back.parts["state"]
    # who comes again continues after the last event
    assert (told.event_id, back.event_id) == ("", "")


@pytest.mark.usefixtures("looking")
def test_the_list_is_told_anew_when_something_in_it_moves(
    client: httpx.Client, engine: ExecutionEngine
) -> None:
    first = engine.submit(PLAN, tags=["listed"], at=TOMORROW)
    with listening(client, "/executions/events?tag=listed") as messages:
        rows = next(messages).data["parts"]["rows"]
        assert re.findall(r'data-execution="([^"]+)"', rows) == [first]

        second = engine.submit(PLAN, tags=["listed"], at=TOMORROW)
        rows = next(messages).data["parts"]["rows"]
        assert re.findall(r'data-execution="([^"]+)"', rows) == [second, first]

        engine.pause(first)
        message = next(messages)
        assert ">paused<" in message.data["parts"]["rows"]

        # a pause of all that have a tag is none of these executions' own events
        engine.pause_tag("listed", reason="too many of them")
        message = next(messages)
        assert "too many of them" in message.data["parts"]["rows"]
    engine.resume_tag("listed")


@pytest.mark.usefixtures("looking")
def test_the_link_to_older_executions_is_told_with_the_list(
    client: httpx.Client, engine: ExecutionEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_PAGE_SIZE", 2)
    begun = [engine.submit(PLAN, tags=["linked"], at=TOMORROW) for _ in range(2)]
    with listening(client, "/executions/events?tag=linked") as messages:
        assert "Older" not in next(messages).data["parts"]["pages"]

        begun += [engine.submit(PLAN, tags=["linked"], at=TOMORROW) for _ in range(2)]
        parts = next(
            one.data["parts"]
            for one in messages
            if begun[3] in one.data["parts"]["rows"]
        )
    link = re.search(r'rel="next" href="([^"]+)"', parts["pages"])
    assert link is not None
    older = client.get(link[1].replace("&amp;", "&")).text

    shown = re.findall(r'data-execution="([^"]+)"', parts["rows"] + older)
    assert shown == begun[::-1]


@pytest.mark.usefixtures("looking")
def test_a_list_that_was_told_already_is_not_told_again(
    client: httpx.Client, engine: ExecutionEngine
) -> None:
    execution_id = engine.submit(PLAN, tags=["told"], at=TOMORROW)
    place = "/executions?tag=told"
    found = re.search(r'data-after="(\w+)"', client.get(place).text)
    assert found is not None

    with listening(client, "/executions/events?tag=told", found[1]) as messages:
        engine.pause(execution_id)
        message = next(messages)

    assert ">paused<" in message.data["parts"]["rows"]


def test_a_stream_with_nothing_to_tell_shows_that_it_lives(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_BEAT_SECONDS", 0.1)
    with client.stream("GET", "/executions/events") as answer:
        beats = (line for line in answer.iter_lines() if line.startswith(":"))
        assert next(beats)
        assert next(beats)


def test_an_outage_is_told_to_who_follows_an_execution_that_does_not_move(
    settings: Settings,
    stack: LocalStack,
    execution_id: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert stack.postgres is not None
    monkeypatch.setattr(following, "_BEAT_SECONDS", 0.1)
    with Proxy(str(stack.postgres.socket)) as proxy:
        url = f"postgresql://plans@127.0.0.1:{proxy.port}/plans"
        with (
            serving(replace(settings, database_url=url)) as server,
            server.open_client() as client,
            listening(client, f"/executions/{execution_id}/events") as messages,
        ):
            told = (message.event for message in messages)
            assert "here" in told
            proxy.refuse()
            assert "away" in told
            proxy.admit()
            assert "here" in told


def test_there_are_no_more_streams_than_may_be(
    client: httpx.Client,
    server: FlowerServer,
    execution_id: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server.tab.parts.streams, "_most", 1)
    place = f"/executions/{execution_id}/events"
    with listening(client, place) as messages:
        next(messages)
        refused = client.get("/executions/events")
        page = client.get("/executions")
    wait_until(lambda: server.count_streams() == 0, what="the stream to end")

    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "5"
    assert page.status_code == 200
    with listening(client, place) as messages:
        assert next(messages).event == "parts"


def test_who_reads_too_slowly_is_cut_off(
    settings: Settings, engine: ExecutionEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_SEND_SECONDS", 0.2)
    tags = [f"{n}-{'x' * 90}" for n in range(20)]
    engine.submit_many(PLAN, [{}] * 50, tags=tags, at=TOMORROW)
    login = b64encode(":".join(LOGIN).encode())
    head = b"GET /executions/events HTTP/1.1\r\nHost: here\r\nAuthorization: Basic "
    with serving(settings) as server, socket.socket() as reader:
        # or the kernel would take all of it
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.settimeout(10)
        host, port = server.url.removeprefix("http://").split(":")
        reader.connect((host, int(port)))
        reader.sendall(head + login + b"\r\n\r\n")
        assert reader.recv(100).startswith(b"HTTP/1.1 200 ")
        wait_until(lambda: server.count_streams() == 0, what="the stream to end")

        came = b""
        with suppress(ConnectionResetError):
            while chunk := reader.recv(65_536):
                came += chunk

    assert came
    assert not came.endswith(b"0\r\n\r\n"), "it ends as an answer that is whole"


def test_flower_ends_though_pages_are_open(
    settings: Settings, engine: ExecutionEngine, execution_id: str
) -> None:
    server = FlowerServer(settings)
    server.start()
    with (
        server.open_client() as client,
        listening(client, f"/executions/{execution_id}/events") as one,
        listening(client, "/executions/events") as other,
    ):
        next(one)
        next(other)
        server.stop()

        with pytest.raises(httpx.TransportError):
            list(one)
    assert engine.get_status(execution_id).open_steps == 1


def test_without_redis_pages_are_told_all_the_same(
    settings: Settings, engine: ExecutionEngine, execution_id: str, tmp_path: Path
) -> None:
    nowhere = replace(settings, redis_url=f"unix://{tmp_path}/none.sock")
    place = f"/executions/{execution_id}/events"
    with (
        serving(nowhere) as server,
        server.open_client() as client,
        listening(client, place) as messages,
    ):
        next(messages)
        engine.pause(execution_id)
        assert ">paused<" in next(messages).data["parts"]["state"]


@pytest.mark.usefixtures("looking")
def test_a_postgresql_that_is_silent_is_away_and_holds_up_nobody_else(
    settings: Settings,
    stack: LocalStack,
    execution_id: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert stack.postgres is not None
    monkeypatch.setattr(following, "_BEAT_SECONDS", 0.1)
    with Proxy(str(stack.postgres.socket)) as proxy:
        url = f"postgresql://plans@127.0.0.1:{proxy.port}/plans"
        proxied = replace(settings, database_url=url)
        with (
            serving(proxied) as server,
            server.open_client() as client,
            listening(client, f"/executions/{execution_id}/events") as one,
            listening(client, "/executions/events") as other,
        ):
            assert "parts" in (message.event for message in one)
            assert "parts" in (message.event for message in other)
            proxy.swallow()
            monkeypatch.setattr(pages, "_ANSWER_SECONDS", 0.3)

            page = client.get("/executions", timeout=30)
            answer = client.get("/workers", timeout=30)

            assert (page.status_code, answer.status_code) == (503, 200)
            assert "PostgreSQL" in page.text
            assert "away" in (message.event for message in one)
            assert "away" in (message.event for message in other)
            proxy.recover()


@pytest.mark.usefixtures("looking")
def test_postgresql_away_is_a_page_that_says_so_and_no_more(
    settings: Settings, stack: LocalStack, engine: ExecutionEngine
) -> None:
    assert stack.postgres is not None
    with Proxy(str(stack.postgres.socket)) as proxy:
        url = f"postgresql://plans@127.0.0.1:{proxy.port}/plans"
        proxied = replace(settings, database_url=url)
        proxy.refuse()
        with serving(proxied) as server, server.open_client() as client:
            away = client.get("/executions")
            others = [client.get(place) for place in ("/workers", "/tasks")]
            proxy.admit()
            back = client.get("/executions")
            with listening(client, "/executions/events") as messages:
                assert next(messages).event == "parts"
                proxy.refuse()
                assert next(messages).event == "away"
                proxy.admit()
                assert "parts" in (message.event for message in messages)

    assert away.status_code == 503
    assert away.headers["Retry-After"] == "5"
    assert "PostgreSQL" in away.text
    assert [answer.status_code for answer in others] == [200, 200]
    assert back.status_code == 200
