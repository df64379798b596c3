"""The web service of the example, as real processes: uvicorn, a worker, readers."""

import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from execution import PlansError, Settings
from execution.errors import (
    ConcurrencyConflictError,
    CursorError,
    DatabaseError,
    ExecutionNotFinishedError,
    InvalidExecutionStateError,
)
from tests.worker_process import ROOT, WorkerProcess, build_environment

sys.path.insert(0, str(ROOT / "examples"))

from fastapi_project.problems import answer_errors

ON_PATH = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'examples'}"}
REGIONS = ["north", "east", "south", "west", "coast", "hills"]


class WebServer:
    """uvicorn with the example; who asks it while there is none waits for the next."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        """Start a server that takes its connections from `listener`."""
        self._environment = {**build_environment(settings), **ON_PATH}
        self._listener = listener
        port = listener.getsockname()[1]
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        self._process = self._start()

    def restart(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it by a signal, start another, and return the exit code."""
        code = self.stop(number)
        self._process = self._start()
        return code

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it by a signal, and return the exit code."""
        self._process.send_signal(number)
        return self._process.wait(60)

    def _start(self) -> "subprocess.Popen[bytes]":
        descriptor = self._listener.fileno()
        command = [sys.executable, "-m", "uvicorn", "fastapi_project.web:app"]
        command += ["--fd", str(descriptor), "--timeout-graceful-shutdown", "1"]
        return subprocess.Popen(
            command, cwd=ROOT, env=self._environment, pass_fds=[descriptor]
        )


@pytest.fixture(scope="module")
def worker(settings: Settings) -> Iterator[WorkerProcess]:
    """A worker of the project's own Celery app."""
    app = "fastapi_project.worker"
    with WorkerProcess.start(settings, app=app, environment=ON_PATH) as started:
        yield started


@pytest.fixture(scope="module")
def server(settings: Settings) -> Iterator[WebServer]:
    """The web server; it runs before and after each test."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = WebServer(settings, listener)
        with made.client:
            yield made
        made.stop()


@pytest.fixture
def client(server: WebServer) -> httpx.Client:
    return server.client


def ask(
    client: httpx.Client,
    seconds: float = 0.0,
    headers: Mapping[str, str] | None = None,
) -> str:
    """Ask for a report and return the id of its execution."""
    body = {"title": "November", "regions": REGIONS, "seconds": seconds}
    answer = client.post("/reports", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    execution_id: str = answer.json()["execution_id"]
    assert answer.headers["Location"] == f"/executions/{execution_id}"
    return execution_id


@contextmanager
def following(
    client: httpx.Client, execution_id: str, last_id: str | None
) -> Iterator[Iterator[tuple[str, dict[str, Any]]]]:
    """Follow an execution; yield the messages with their ids."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    path = f"/executions/{execution_id}/events"
    with client.stream("GET", path, headers=headers) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        yield read_messages(answer.iter_lines())


def read_messages(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if name:
            fields[name] = value
        elif fields.get("event") == "update":
            yield fields["id"], json.loads(fields["data"])
            fields = {}
        elif fields.get("event") == "end":
            return


def follow_on(
    client: httpx.Client, execution_id: str, last_id: str | None = None
) -> list[dict[str, Any]]:
    """Follow to the end, and return the events."""
    with following(client, execution_id, last_id) as messages:
        return [event for _, update in messages for event in update["events"]]


@pytest.mark.usefixtures("worker")
def test_a_report_is_made_and_shown(client: httpx.Client) -> None:
    execution_id = ask(client)

    events = follow_on(client, execution_id)

    assert events[-1]["type"] == "execution.completed"
    shown = client.get(f"/executions/{execution_id}").json()
    assert (shown["status"], shown["open_steps"]) == ("completed", 0)
    outcome = client.get(f"/executions/{execution_id}/result").json()
    assert {line["region"] for line in outcome["report"]["lines"]} == set(REGIONS)
    assert outcome["error"] is None


@pytest.mark.usefixtures("worker")
def test_a_reader_that_breaks_off_after_each_message_gets_every_event_once(
    client: httpx.Client,
) -> None:
    execution_id = ask(client, seconds=1.0)
    updates: list[dict[str, Any]] = []
    last_id = None

    while last_id is None or updates[-1]["events"]:
        with following(client, execution_id, last_id) as messages:
            last_id, update = next(messages, (last_id, {"events": []}))
        updates.append(update)

    assert len(updates) > 2
    events = [event for update in updates for event in update["events"]]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "execution.completed"


@pytest.mark.usefixtures("worker")
def test_a_reader_gets_every_event_once_though_the_server_is_killed(
    server: WebServer,
) -> None:
    execution_id = ask(server.client, seconds=1.0)
    with following(server.client, execution_id, None) as messages:
        last_id, update = next(messages)
        server.restart(signal.SIGKILL)

    rest = follow_on(server.client, execution_id, last_id)

    events = [*update["events"], *rest]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "execution.completed"


def test_a_server_that_is_asked_to_stop_ends_its_streams(server: WebServer) -> None:
    # no worker has to be there: nothing happens after the first update
    execution_id = ask(server.client, seconds=60)
    with following(server.client, execution_id, None) as messages:
        next(messages)
        code = server.restart()
    server.client.post(f"/executions/{execution_id}/cancel")

    # uvicorn ends by the signal that it was asked by, once it has closed everything
    assert code in (0, -signal.SIGTERM)


def test_the_same_key_begins_one_execution(client: httpx.Client) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}

    ids = {ask(client, headers=key) for _ in range(3)}

    assert len(ids) == 1
    other = {"title": "December", "regions": REGIONS}
    refused = client.post("/reports", json=other, headers=key)
    assert refused.status_code == 409
    assert refused.json()["error"] == "SubmissionConflictError"


def test_parameters_that_do_not_fit_are_refused_with_their_places(
    client: httpx.Client,
) -> None:
    answer = client.post("/reports", json={"title": 5, "regions": []})

    assert answer.status_code == 422
    assert {fault["place"] for fault in answer.json()["faults"]} == {
        "parameters.title",
        "parameters.regions",
    }


@pytest.mark.parametrize(
    "path", ["", "/events", "/result", "/cancel"], ids=lambda path: path or "itself"
)
@pytest.mark.parametrize("execution_id", [str(UUID(int=7)), "none"])
def test_an_execution_that_is_not_there_is_404(
    client: httpx.Client, path: str, execution_id: str
) -> None:
    method = "POST" if path == "/cancel" else "GET"

    answer = client.request(method, f"/executions/{execution_id}{path}")

    assert answer.status_code == 404
    assert answer.json()["error"] == "ExecutionNotFoundError"


def test_a_cursor_that_is_none_is_refused(client: httpx.Client) -> None:
    execution_id = ask(client)

    answer = client.get(
        f"/executions/{execution_id}/events", headers={"Last-Event-ID": "yesterday"}
    )

    assert answer.status_code == 422


@pytest.mark.usefixtures("worker")
def test_what_is_cancelled_ends_and_is_not_cancelled_again(
    client: httpx.Client,
) -> None:
    execution_id = ask(client, seconds=5)
    path = f"/executions/{execution_id}"
    early = client.get(f"{path}/result")

    cancelled = client.post(f"{path}/cancel", json={"by": "ann", "reason": "typo"})

    assert early.status_code == 409
    assert cancelled.status_code == 202
    assert follow_on(client, execution_id)[-1]["type"] == "execution.cancelled"
    assert "ann" in client.get(f"{path}/result").json()["error"]
    again = client.post(f"{path}/cancel")
    assert (again.status_code, again.json()["error"]) == (
        409,
        "InvalidExecutionStateError",
    )


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "code", "retry_after"),
    [
        (ExecutionNotFinishedError("it runs"), 409, None),
        (InvalidExecutionStateError("it has ended"), 409, None),
        (ConcurrencyConflictError("others have the key"), 409, None),
        (CursorError("none"), 422, None),
        (DatabaseError("PostgreSQL is not available"), 503, "5"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_an_error_has_its_status(
    error: PlansError, code: int, retry_after: str | None
) -> None:
    app = FastAPI()
    answer_errors(app)

    @app.get("/")
    async def fail() -> None:
        raise error

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        answer = await client.get("/")

    assert answer.status_code == code
    assert answer.json() == {"error": type(error).__name__, "detail": str(error)}
    assert answer.headers.get("Retry-After") == retry_after
