"""Blocking calls for an event loop: whole once begun, and no thread left behind."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from execution.errors import ServiceClosedError
from execution.threads import CallThreads
from tests.polling import look_until

pytestmark = pytest.mark.anyio


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a call waits for; it is opened in the end, whatever the test does."""
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture
def _quick_switches() -> Iterator[None]:
    """Let another thread come at almost every step of this one."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


async def end(*tasks: "asyncio.Task[object]") -> None:
    await asyncio.wait(tasks, timeout=10)
    assert all(task.done() for task in tasks)


async def test_a_whole_call_outlasts_however_many_cancellations(
    gate: threading.Event,
) -> None:
    threads = CallThreads(1)
    begun, over = threading.Event(), threading.Event()

    def call() -> None:
        begun.set()
        gate.wait(10)
        over.set()

    task = asyncio.create_task(threads.run_whole(call))
    await look_until(begun.is_set, what="the call to begin")
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not task.done()

    gate.set()
    await end(task)
    assert task.cancelled()
    assert over.is_set()
    await threads.close(lambda: None)


async def test_a_close_that_is_cancelled_comes_about_all_the_same(
    gate: threading.Event,
) -> None:
    threads = CallThreads(1)
    begun = threading.Event()
    closed: list[str] = []

    def call() -> None:
        begun.set()
        gate.wait(10)

    running = asyncio.create_task(threads.run(call))
    await look_until(begun.is_set, what="the call to begin")
    closing = asyncio.create_task(threads.close(lambda: closed.append("first")))
    await asyncio.sleep(0)
    closing.cancel()
    await end(closing)
    gate.set()

    await look_until(lambda: closed, what="the last call")
    await threads.close(lambda: closed.append("next"))

    await end(running)
    assert closed == ["first"]
    assert "plans-service" not in " ".join(t.name for t in threading.enumerate())
    with pytest.raises(ServiceClosedError):
        await threads.run(lambda: None)


@pytest.mark.usefixtures("_quick_switches")
async def test_calls_that_end_do_not_disturb_a_close() -> None:
    for _ in range(100):
        threads = CallThreads(8)
        calls = [asyncio.create_task(threads.run(lambda: None)) for _ in range(64)]
        await asyncio.sleep(0)

        await threads.close(lambda: None)

        with suppress(ServiceClosedError):
            await asyncio.gather(*calls)
