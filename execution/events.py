"""Tells that something happened, over Redis, and listens.

The timeline is in PostgreSQL; what travels here are hints: an execution's id and the
number of its last event. A hint may be lost, repeated or forged: who gets one reads
the timeline, and who gets none polls it every few seconds. So a failing Redis slows
readers down and nobody else: the emitter drops hints while it is away.

Events, by the names that the timeline keeps:

    execution.state_changed   submitted: from nothing to pending
    execution.started         the first step was claimed
    execution.paused|resumed  by whom and why
    execution.ending          with its reason: result, abort, cancel, deadline
    execution.completed|failed|cancelled|timed_out   the terminal state, last of all
    execution.variables       what a step that succeeded has set
    step.ready                everything that it needs is settled
    step.started              attempt, worker
    step.progress             percent, message, chunks, records
    step.retrying             an attempt ended in an error, and another follows
    step.waiting              the same, and the next one is to begin only later
    step.lost                 the attempt's process vanished; ready again
    step.completed|failed|timed_out|skipped|cancelled   the step's end
"""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis

logger = logging.getLogger(__name__)

_SILENCE_SECONDS = 5.0
"""How long the emitter stays quiet after Redis failed it."""

EVENT_TYPES = frozenset(
    {
        "execution.state_changed",
        "execution.started",
        "execution.paused",
        "execution.resumed",
        "execution.ending",
        "execution.completed",
        "execution.failed",
        "execution.cancelled",
        "execution.timed_out",
        "execution.variables",
        "step.ready",
        "step.started",
        "step.progress",
        "step.retrying",
        "step.waiting",
        "step.lost",
        "step.completed",
        "step.failed",
        "step.timed_out",
        "step.skipped",
        "step.cancelled",
    }
)
"""Every type that the timeline can hold; the table above says what each means."""


@dataclass(frozen=True)
class Hint:
    """Something happened to an execution, up to event number `seq`."""

    execution_id: str
    seq: int


def _channel(installation_id: str, execution_id: str | None = None) -> str:
    channel = f"plans:{installation_id}:events"
    return f"{channel}:{execution_id}" if execution_id else channel


class ExecutionEventEmitter:
    """Sends hints; never raises for Redis's sake."""

    def __init__(self, url: str | None, installation_id: str) -> None:
        """Send through the Redis at `url`; without one, every hint is dropped."""
        self._redis: redis.Redis | None = None
        if url is not None:
            self._redis = redis.Redis.from_url(
                url, socket_timeout=0.5, socket_connect_timeout=0.5
            )
        self._installation_id = installation_id
        self._quiet_until = 0.0

    def emit(self, execution_id: str, seq: int | None) -> None:
        """Say that the timeline has grown to `seq`; call it after the commit."""
        if self._redis is None or seq is None or time.monotonic() < self._quiet_until:
            return
        body = json.dumps({"execution_id": execution_id, "seq": seq})
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.publish(_channel(self._installation_id), body)
                pipeline.publish(_channel(self._installation_id, execution_id), body)
                pipeline.execute()
        except redis.RedisError as error:
            self._quiet_until = time.monotonic() + _SILENCE_SECONDS
            logger.warning("event hints are dropped", extra={"cause": str(error)})


class EventSubscription:
    """Listens for the hints of one execution, or of all."""

    def __init__(
        self, url: str | None, installation_id: str, execution_id: str | None = None
    ) -> None:
        """Listen on the Redis at `url`; without one, `wait` only passes the time."""
        self._url = url
        self._channel = _channel(installation_id, execution_id)
        self._pubsub: Any = None
        self._client: redis.Redis | None = None
        self._retry_at = 0.0

    def open(self) -> None:
        """Begin to listen: while Redis lives, no hint from now on is missed."""
        if (
            self._url is None
            or self._pubsub is not None
            or time.monotonic() < self._retry_at
        ):
            return
        try:
            self._client = redis.Redis.from_url(
                # a server that takes the connection and never answers is away, too
                self._url,
                socket_connect_timeout=1.0,
                socket_timeout=1.0,
            )
            self._pubsub = self._client.pubsub(  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
                ignore_subscribe_messages=True
            )
            self._pubsub.subscribe(self._channel)
        except redis.RedisError:
            self._drop()

    def wait(self, timeout_seconds: float) -> Hint | None:
        """Return the next hint, or None after `timeout_seconds` without one."""
        self.open()
        deadline = time.monotonic() + timeout_seconds
        if self._pubsub is None:
            time.sleep(timeout_seconds)
            return None
        try:
            while (left := deadline - time.monotonic()) > 0:
                message = self._pubsub.get_message(timeout=left)
                if message is not None:
                    return _read_hint(message["data"])
        except redis.RedisError:
            self._drop()
        return None

    def close(self) -> None:
        """Stop listening."""
        if self._pubsub is not None:
            self._pubsub.close()
            self._pubsub = None
        if self._client is not None:
            self._client.close()
            self._client = None

    def _drop(self) -> None:
        self._retry_at = time.monotonic() + 1.0
        try:
            self.close()
        except redis.RedisError:
            self._pubsub = self._client = None


@contextmanager
def subscription(
    url: str | None, installation_id: str, execution_id: str | None = None
) -> Iterator[EventSubscription]:
    """Listen for as long as the block runs."""
    listener = EventSubscription(url, installation_id, execution_id)
    listener.open()
    try:
        yield listener
    finally:
        listener.close()


def _read_hint(data: bytes) -> Hint | None:
    try:
        body = json.loads(data)
        return Hint(str(body["execution_id"]), int(body["seq"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        # a stranger's message on our channel: the reader polls anyway
        return None
