"""Hints that follow each other closely: few of them travel, the newest always does."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from execution.events import EventSubscription, ExecutionEventEmitter, Hint
from execution.local import LocalStack
from tests.integration.test_events_over_redis import INSTALLATION, SOON, listening

MANY = 1_000
PRODUCER = f"""
import sys
from execution.events import ExecutionEventEmitter
emitter = ExecutionEventEmitter(sys.argv[1], {INSTALLATION!r})
for seq in range({MANY}):
    emitter.emit("e1", seq)
"""


@pytest.fixture
def url(stack: LocalStack) -> str:
    """The Redis of this run."""
    assert stack.urls.redis_url is not None
    return stack.urls.redis_url


@pytest.fixture
def emitter(url: str) -> ExecutionEventEmitter:
    return ExecutionEventEmitter(url, INSTALLATION)


def hear_until(listener: EventSubscription, seq: int) -> list[int]:
    """Return the numbers of what is heard, up to `seq`."""
    heard: list[int] = []
    deadline = time.monotonic() + SOON
    while seq not in heard:
        assert time.monotonic() < deadline, heard
        hint = listener.wait(0.1)
        if hint is not None:
            heard.append(hint.seq)
    return heard


def list_hint_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "plans-hints"]


def test_of_a_burst_few_are_sent_and_the_newest_is_among_them(
    url: str, emitter: ExecutionEventEmitter
) -> None:
    with listening(url) as listener:
        begin = time.monotonic()
        for seq in range(MANY):
            emitter.emit("e1", seq)
        pauses = (time.monotonic() - begin) / 0.05

        heard = hear_until(listener, MANY - 1)

        assert heard[0] == 0
        assert heard == sorted(heard)
        assert len(heard) <= 3 + 2 * pauses
        assert listener.wait(0.2) is None


def test_the_first_hint_waits_for_no_thread(
    url: str, emitter: ExecutionEventEmitter
) -> None:
    with listening(url) as listener:
        emitter.emit("e1", 1)

        assert listener.wait(SOON) == Hint("e1", 1)
        assert emitter._thread is None


def test_the_last_hint_is_sent_at_once_and_nothing_follows_it(
    url: str, emitter: ExecutionEventEmitter
) -> None:
    with listening(url) as listener:
        for seq in range(MANY):
            emitter.emit("e1", seq)
        emitter.emit("e1", MANY, is_last=True)

        assert emitter._coalescer.is_empty
        assert hear_until(listener, MANY)[-1] == MANY
        assert listener.wait(0.2) is None


def test_executions_do_not_wait_for_each_other(
    url: str, emitter: ExecutionEventEmitter
) -> None:
    with listening(url) as listener:
        for number in range(50):
            emitter.emit(f"e{number}", number)

        assert emitter._coalescer.is_empty
        assert hear_until(listener, 49) == list(range(50))


def test_what_is_flushed_has_been_sent(
    url: str, emitter: ExecutionEventEmitter
) -> None:
    with listening(url) as listener:
        emitter.emit("e1", 1)
        emitter.emit("e1", 2)
        emitter.flush()

        assert emitter._coalescer.is_empty
        assert hear_until(listener, 2) == [1, 2]


def test_an_emitter_that_was_closed_goes_on_when_it_is_used(
    url: str, emitter: ExecutionEventEmitter
) -> None:
    with listening(url) as listener:
        emitter.emit("e1", 1)
        emitter.emit("e1", 2)
        emitter.close()
        emitter.emit("e2", 3)

        assert hear_until(listener, 3) == [1, 2, 3]


def test_a_program_that_ends_takes_no_hint_along(url: str) -> None:
    with listening(url) as listener:
        subprocess.run([sys.executable, "-c", PRODUCER, url], check=True, timeout=30)

        assert hear_until(listener, MANY - 1)[0] == 0


def test_a_forked_child_sends_its_own_and_only_its_own(
    url: str, emitter: ExecutionEventEmitter
) -> None:
    with listening(url) as listener:
        emitter.emit("parent", 1)
        # so that the child inherits it, taken
        with emitter._sending, emitter._lock:
            emitter._keep("parent", 2)
            pid = os.fork()
            if pid == 0:
                emit_in_child(emitter)
        assert os.waitpid(pid, 0)[1] == 0

        heard: dict[str, list[int]] = {"parent": [], "child": []}
        while heard["parent"][-1:] != [2] or heard["child"][-1:] != [3]:
            hint = listener.wait(SOON)
            assert hint is not None
            heard[hint.execution_id].append(hint.seq)
        assert listener.wait(0.2) is None

    assert heard["parent"] == [1, 2]
    # those that wait while another is sent become one
    assert heard["child"] in ([1, 3], [1, 2, 3])


def emit_in_child(emitter: ExecutionEventEmitter) -> None:
    try:
        for seq in range(1, 4):
            emitter.emit("child", seq)
        thread = emitter._thread
        assert thread is not None
        emitter.flush()
        os._exit(0 if thread.is_alive() else 1)
    except BaseException:  # noqa: BLE001  # the child must not run the other tests
        os._exit(2)


def test_an_idle_thread_ends(
    emitter: ExecutionEventEmitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("execution.events._LINGER_SECONDS", 0.01)
    before = len(list_hint_threads())
    emitter.emit("e1", 1)
    emitter.emit("e1", 2)
    thread = emitter._thread
    assert thread is not None

    thread.join(SOON)

    assert len(list_hint_threads()) == before
    assert emitter._thread is None


def test_many_threads_lose_nothing(url: str, emitter: ExecutionEventEmitter) -> None:
    def emit(name: str) -> None:
        for seq in range(MANY):
            emitter.emit(name, seq)

    threads = [threading.Thread(target=emit, args=(f"e{n}",)) for n in range(4)]
    with listening(url) as listener:
        for thread in threads:
            thread.start()
        newest: dict[str, int] = {}
        deadline = time.monotonic() + SOON
        while newest != {f"e{n}": MANY - 1 for n in range(4)}:
            assert time.monotonic() < deadline, newest
            hint = listener.wait(0.1)
            if hint is not None:
                newest[hint.execution_id] = hint.seq
    for thread in threads:
        thread.join()


def test_while_redis_is_away_a_burst_costs_nothing_and_nothing_is_kept(
    tmp_path: Path,
) -> None:
    emitter = ExecutionEventEmitter(f"unix://{tmp_path}/none.sock", INSTALLATION)
    begin = time.monotonic()

    for seq in range(MANY):
        emitter.emit("e1", seq)
        emitter.emit(f"e{seq}", seq, is_last=True)
    emitter.flush()

    assert time.monotonic() - begin < SOON
    assert emitter._coalescer.is_empty
