"""Hints in an event loop, over a real Redis that breaks the connection."""

import asyncio
from contextlib import closing

import pytest
import redis

from execution import async_events
from execution.async_events import HintListener
from execution.local import LocalStack
from tests.polling import look_until

pytestmark = pytest.mark.anyio


async def test_a_listener_outlives_however_many_breaks(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_events, "_RETRY_SECONDS", 0.001)
    # by its name, for others listen there as well
    url = f"{stack.urls.redis_url}?client_name=to_be_broken"
    heard: list[tuple[object, ...]] = []
    listener = HintListener(url, "broken", lambda *news: heard.append(news))
    with closing(redis.Redis.from_url(str(stack.urls.redis_url))) as breaker:
        for number in range(200):
            # so that the connection is written to when it breaks
            listener.follow(f"{number}")
            for _ in range(number % 20):
                await asyncio.sleep(0)
            break_all(breaker, "to_be_broken")
            listener.follow(f"{number} again")
            await asyncio.sleep(0)

    listener.follow("last")

    await look_until(lambda: ("last", None) in heard, what="the last to be followed")
    await listener.close()


def break_all(breaker: redis.Redis, name: str) -> None:
    """Break the connections with this name that listen."""
    for client in breaker.client_list(_type="pubsub"):
        if client["name"] == name:
            breaker.client_kill_filter(_id=client["id"])
