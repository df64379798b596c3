"""What a Redis or Valkey says of itself, for `plans doctor`.

Promises: nothing is changed; what it refuses to say is said, and no error. Must not
know what is good, nor whose it is.
"""

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import redis
from redis.exceptions import RedisError, ResponseError

from .diagnosis.facts import AwayFacts, ClockFacts, RedisFacts

_TIMEOUT_SECONDS = 3.0


def look_at_redis(
    url: str, now: Callable[[], float] = time.time
) -> RedisFacts | AwayFacts:
    """Return what the Redis at `url` says of itself, or that it does not answer.

    `now` is the clock of this host, with which its own is compared.
    """
    try:
        client = redis.Redis.from_url(
            url,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
        )
        with closing(client):
            return read_redis(client, now)
    except (RedisError, OSError, ValueError) as error:
        return AwayFacts(str(error))


def read_redis(client: Any, now: Callable[[], float] = time.time) -> RedisFacts:
    """Return what the server of a client says; raises RedisError when it is away."""
    refusals: list[str] = []
    try:
        clock = _read_clock(client, now)
    except ResponseError as error:
        clock = None
        refusals.append(f"TIME: {error}")
    try:
        info = client.info()
    except ResponseError as error:
        info = {}
        refusals.append(f"INFO: {error}")
    is_valkey = "valkey_version" in info
    return RedisFacts(
        run_id=info.get("run_id"),
        product="Valkey" if is_valkey else "Redis",
        # of Valkey the Redis that it is compatible with, by which its abilities count
        version=info.get("redis_version"),
        role=info.get("role"),
        policy=info.get("maxmemory_policy"),
        used_bytes=info.get("used_memory"),
        most_bytes=info.get("maxmemory"),
        is_kept=bool(info.get("aof_enabled")) or _makes_snapshots(client),
        clock=clock,
        refusals=tuple(refusals),
    )


def _makes_snapshots(client: Any) -> bool | None:
    try:
        return bool(client.config_get("save").get("save"))
    except ResponseError:
        # few who run it for others let CONFIG be asked; it is no more than a note
        return None


def _read_clock(client: Any, now: Callable[[], float]) -> ClockFacts:
    begun = now()
    seconds, microseconds = client.time()
    ended = now()
    there = seconds + microseconds / 1e6
    return ClockFacts(there - (begun + ended) / 2, ended - begun)
