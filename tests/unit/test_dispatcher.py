"""What the dispatcher sends, and what it does when nobody takes it."""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from execution.dispatcher import ExecutionDispatcher, create_app
from execution.settings import Settings
from execution.windows import Link, Window

EXECUTION_ID = "01a1fc5f-ecfd-7f66-aad4-cad5b7662969"


def build_window(count: int = 3) -> Window:
    links = (Link(n, f"s{n}", "any", "test.nothing", 0, 1) for n in range(count))
    return Window(EXECUTION_ID, 4, tuple(links))


def build_dispatcher(url: str, clock: "Clock | None" = None) -> ExecutionDispatcher:
    settings = Settings(
        database_url="postgresql://nobody@/none", broker_url=url, queue="any"
    )
    return ExecutionDispatcher(create_app(settings), clock or time.monotonic)


@dataclass
class Clock:
    """A clock that stands until it is moved."""

    seconds: float = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds


class Door:
    """A port at which a broker might answer, and the number of those who knocked."""

    def __init__(self, *, slams: bool) -> None:
        self.knocks = 0
        self._slams = slams
        self._held: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                visitor, _ = self._listener.accept()
            except OSError:
                return
            self.knocks += 1
            if self._slams:
                visitor.close()
            else:
                self._held.append(visitor)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for visitor in self._held:
            visitor.close()


@pytest.fixture(params=["redis://127.0.0.1:{}/0", "amqp://127.0.0.1:{}//"])
def url(request: pytest.FixtureRequest) -> str:
    """A broker's URL without its port."""
    return str(request.param)


@pytest.fixture
def slammed_door() -> Iterator[Door]:
    """A broker that ends every conversation at once."""
    door = Door(slams=True)
    yield door
    door.close()


@pytest.fixture
def silent_door() -> Iterator[Door]:
    """A broker that lets everybody in and says nothing."""
    door = Door(slams=False)
    yield door
    door.close()


def receive(dispatcher: ExecutionDispatcher) -> Any:
    """Return the next message in the queue."""
    with dispatcher._app.connection_for_read() as connection:
        message = connection.default_channel.basic_get("any", no_ack=True)
        assert message is not None
        return message


def test_a_window_is_sent_as_one_chain() -> None:
    dispatcher = build_dispatcher("memory://window")

    assert dispatcher.publish([build_window(3)])

    message = receive(dispatcher)
    args, _, embedded = message.payload
    assert args == [EXECUTION_ID, [0, 1, 2], 4]
    assert [link["args"][1] for link in embedded["chain"]] == [[2], [1, 2]]
    assert message.headers["id"] == f"{EXECUTION_ID}:s0:4:1"
    assert message.headers["shadow"] == "test.nothing"


def test_the_rest_of_a_chain_is_sent_on_as_it_came() -> None:
    dispatcher = build_dispatcher("memory://rest")
    dispatcher.publish([build_window(3)])
    links = receive(dispatcher).payload[2]["chain"]

    assert dispatcher.forward(links)

    message = receive(dispatcher)
    args, _, embedded = message.payload
    assert args == [EXECUTION_ID, [1, 2], 4]
    assert [link["args"][1] for link in embedded["chain"]] == [[2]]
    assert message.headers["id"] == f"{EXECUTION_ID}:s1:4:1"


def test_nothing_to_send_is_sent() -> None:
    dispatcher = build_dispatcher("redis://127.0.0.1:1/0")

    assert dispatcher.publish([])
    assert dispatcher.forward([])


def test_a_broker_that_failed_is_left_alone_for_a_while(
    url: str, slammed_door: Door
) -> None:
    clock = Clock()
    dispatcher = build_dispatcher(url.format(slammed_door.port), clock)

    assert not dispatcher.publish([build_window()])
    knocks = slammed_door.knocks
    assert knocks > 0
    assert dispatcher.is_quiet
    assert not dispatcher.publish([build_window()])
    assert slammed_door.knocks == knocks

    clock.seconds += 60
    assert not dispatcher.is_quiet
    assert not dispatcher.publish([build_window()])
    assert slammed_door.knocks > knocks


def test_a_failure_is_told_once_though_it_was_tried_twice(
    url: str, slammed_door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    dispatcher = build_dispatcher(url.format(slammed_door.port), Clock())

    dispatcher.publish([build_window()])

    told = [record.message for record in caplog.records if "not sent" in record.message]
    assert told == ["messages were not sent; a worker's reconciler sends them later"]


def test_a_broker_that_says_nothing_is_given_up_soon(
    url: str, silent_door: Door
) -> None:
    dispatcher = build_dispatcher(url.format(silent_door.port))
    begun = time.monotonic()

    sent = [dispatcher.publish([build_window()]) for _ in range(20)]

    assert not any(sent)
    assert time.monotonic() - begun < 4
    assert silent_door.knocks == 1


def test_many_threads_without_a_broker_all_hear_so(slammed_door: Door) -> None:
    dispatcher = build_dispatcher(f"redis://127.0.0.1:{slammed_door.port}/0")
    sent: list[bool] = []
    threads = [
        threading.Thread(
            target=lambda: sent.append(dispatcher.publish([build_window()]))
        )
        for _ in range(20)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert sent == [False] * 20
