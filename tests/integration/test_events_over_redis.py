"""Hints over a real Redis: who gets them, and what a Redis in trouble does to whom."""

import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import redis

from execution.events import (
    EventSubscription,
    ExecutionEventEmitter,
    Hint,
    subscription,
)
from execution.local import LocalStack
from tests.polling import wait_until

INSTALLATION = "i1"
SOON = 60.0
"""How long a hint may take on a busy machine; none takes that long on an idle one."""


@pytest.fixture
def url(stack: LocalStack) -> str:
    """The Redis of this run."""
    assert stack.urls.redis_url is not None
    return stack.urls.redis_url


@pytest.fixture
def emitter(url: str) -> ExecutionEventEmitter:
    return ExecutionEventEmitter(url, INSTALLATION)


@pytest.fixture
def mute_url() -> Iterator[str]:
    """A server that takes connections and never says a word."""
    # a socket's path must be short, which pytest's own directories need not be
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/mute.sock"
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen()
            yield f"unix://{path}"


@contextmanager
def listening(
    url: str, installation: str = INSTALLATION, execution_id: str | None = None
) -> Iterator[EventSubscription]:
    """Listen, and wait until Redis knows that somebody does."""
    channel = ":".join(filter(None, ["plans", installation, "events", execution_id]))
    with closing(redis.Redis.from_url(url)) as client:

        def count() -> int:
            return int(client.pubsub_numsub(channel)[0][1])

        before = count()
        with subscription(url, installation, execution_id) as listener:
            wait_until(lambda: count() > before, what="the subscription to stand")
            yield listener


def end_subscribers(url: str) -> None:
    """Drop the connection of everybody who listens."""
    with closing(redis.Redis.from_url(url)) as client:
        client.client_kill_filter(_type="pubsub")


def test_a_hint_reaches_who_listens_to_the_execution(
    url: str, emitter: ExecutionEventEmitter
) -> None:
    with listening(url, execution_id="e1") as listener:
        emitter.emit("e1", 7)

        assert listener.wait(SOON) == Hint("e1", 7)


def test_a_hint_reaches_who_listens_to_all(
    url: str, emitter: ExecutionEventEmitter
) -> None:
    with listening(url) as listener:
        emitter.emit("e1", 7)
        emitter.emit("e2", 1)

        assert [listener.wait(SOON) for _ in range(2)] == [Hint("e1", 7), Hint("e2", 1)]


def test_other_executions_are_not_heard(
    url: str, emitter: ExecutionEventEmitter
) -> None:
    with listening(url, execution_id="e1") as listener:
        emitter.emit("e2", 1)
        emitter.emit("e1", 7)

        assert listener.wait(SOON) == Hint("e1", 7)


def test_other_installations_are_not_heard(
    url: str, emitter: ExecutionEventEmitter
) -> None:
    with listening(url) as listener:
        ExecutionEventEmitter(url, "i2").emit("e1", 1)
        ExecutionEventEmitter(url, "i").emit("e1", 2)
        emitter.emit("e1", 7)

        assert listener.wait(SOON) == Hint("e1", 7)


def test_every_listener_is_told(url: str, emitter: ExecutionEventEmitter) -> None:
    with listening(url) as one, listening(url) as other:
        emitter.emit("e1", 7)

        assert one.wait(SOON) == other.wait(SOON) == Hint("e1", 7)


def test_nothing_is_sent_without_a_number(
    url: str, emitter: ExecutionEventEmitter
) -> None:
    with listening(url) as listener:
        emitter.emit("e1", None)
        emitter.emit("e1", 7)

        assert listener.wait(SOON) == Hint("e1", 7)


def test_silence_ends_after_its_time(url: str) -> None:
    with listening(url) as listener:
        begin = time.monotonic()

        hint = listener.wait(0.1)

        assert hint is None
        assert 0.1 <= time.monotonic() - begin < SOON


def test_a_wait_may_outlast_the_patience_with_a_silent_server(url: str) -> None:
    with listening(url) as listener:
        begin = time.monotonic()

        listener.wait(1.3)

        assert time.monotonic() - begin >= 1.3


@pytest.mark.parametrize("junk", ["", "hello", "{}", '{"seq": 1e999}', "[" * 99_999])
def test_a_strangers_message_does_no_harm(
    url: str, emitter: ExecutionEventEmitter, junk: str
) -> None:
    with listening(url) as listener, closing(redis.Redis.from_url(url)) as stranger:
        stranger.publish(f"plans:{INSTALLATION}:events", junk)
        emitter.emit("e1", 7)

        assert [listener.wait(SOON) for _ in range(2)] == [None, Hint("e1", 7)]


def test_a_listener_that_was_cut_off_listens_again(
    url: str, emitter: ExecutionEventEmitter
) -> None:
    with listening(url) as listener:
        end_subscribers(url)

        def hear() -> Hint | None:
            emitter.emit("e1", 7)
            return listener.wait(0.2)

        assert wait_until(hear, what="the listener to be back") == Hint("e1", 7)


def test_both_ends_survive_a_restart_of_redis(tmp_path: Path) -> None:
    # a socket's path must be short
    home = Path(tempfile.mkdtemp(prefix="plans-redis-", dir="/tmp"))
    first = LocalStack.start(home, postgres=False)
    assert first.urls.redis_url is not None
    emitter = ExecutionEventEmitter(first.urls.redis_url, INSTALLATION)
    with listening(first.urls.redis_url) as listener:
        emitter.emit("e1", 1)
        assert listener.wait(SOON) == Hint("e1", 1)
        first.close()
        wait_until(lambda: not answers(first.urls.redis_url), what="Redis to be gone")
        emitter.emit("e1", 2)
        with LocalStack.start(home, postgres=False) as second:
            assert second.urls.redis_url == first.urls.redis_url

            def hear() -> Hint | None:
                emitter.emit("e1", 3)
                return listener.wait(0.2)

            assert wait_until(hear, what="both to be back") == Hint("e1", 3)


def answers(url: str | None) -> bool:
    with closing(redis.Redis.from_url(url or "")) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


def test_an_absent_redis_costs_an_emitter_nothing(tmp_path: Path) -> None:
    emitter = ExecutionEventEmitter(f"unix://{tmp_path}/none.sock", INSTALLATION)
    begin = time.monotonic()

    for seq in range(1_000):
        emitter.emit("e1", seq)

    assert time.monotonic() - begin < SOON


def test_a_mute_redis_costs_an_emitter_a_moment(mute_url: str) -> None:
    emitter = ExecutionEventEmitter(mute_url, INSTALLATION)
    begin = time.monotonic()

    for seq in range(1_000):
        emitter.emit("e1", seq)

    assert time.monotonic() - begin < SOON


def test_an_absent_redis_leaves_a_listener_to_poll(tmp_path: Path) -> None:
    with subscription(f"unix://{tmp_path}/none.sock", INSTALLATION) as listener:
        begin = time.monotonic()

        hints = [listener.wait(0.05) for _ in range(3)]

        assert hints == [None] * 3
        assert 0.15 <= time.monotonic() - begin < SOON


def test_a_mute_redis_holds_a_listener_for_a_moment(mute_url: str) -> None:
    begin = time.monotonic()

    with subscription(mute_url, INSTALLATION) as listener:
        hint = listener.wait(0.05)

    assert hint is None
    assert time.monotonic() - begin < SOON
