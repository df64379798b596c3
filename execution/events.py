"""Tells that something happened, over Redis, and listens.

The timeline is in PostgreSQL; what travels here are hints: an execution's id and the
number of its last event. A hint may be lost, repeated or forged: who gets one reads
the timeline, and who gets none polls it every few seconds. So a failing Redis slows
readers down and nobody else: the emitter drops hints while it is away.

Events, by the names that the timeline keeps:

    execution.state_changed   submitted: from nothing to pending
    execution.delayed         it begins later, at `until`
    execution.held            it waits for its key: as many as may run have it
    execution.admitted        it has its key
    execution.started         the first step was claimed
    execution.paused|resumed  by whom and why
    execution.ending          with its reason: result, abort, cancel, deadline
    execution.completed|failed|cancelled|timed_out   the terminal state, last of all
    execution.retried         it goes on after its end: by whom and why, from where, and
                              which steps begin anew
    execution.variables       what a step that succeeded has set
    step.added                it belongs to the end of the execution, which has come
    step.ready                everything that it needs is settled
    step.started              attempt, worker
    step.cached               attempt, from (execution_id, step), age_seconds: it uses a
                              result that is there already
    step.progress             percent, message, chunks, records
    step.retrying             an attempt ended in an error, and another follows
    step.waiting              the same, and the next one is to begin only later
    step.lost                 the attempt's process vanished; ready again
    step.yielded              its code has ended at a checkpoint, for its cause: pause,
                              drain; ready again
    step.drained              its worker stopped and cut it; ready again
    step.forced               by whom and why: it is completed with what they say
    step.completed|failed|timed_out|skipped|cancelled   the step's end
    signal.received           name, by, reason: it is kept until a step takes it
    signal.taken              the same, by this step, which has ended with it
    signal.missed             name: this step has waited for it as long as it was to
    recovery.initiated        it has failed, and the execution goes back: to where
    checkpoint.restored       before this step; these steps begin anew
"""

import atexit
import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from queue import Empty, SimpleQueue
from typing import Any
from weakref import WeakSet

import redis

from .coalescing import PAUSE_SECONDS, Coalescer
from .errors import SettingsError

logger = logging.getLogger(__name__)

_SILENCE_SECONDS = 5.0
"""How long the emitter stays quiet after Redis failed it."""
_LINGER_SECONDS = 5.0
"""How long the thread that sends what was kept waits for more, before it ends."""

EVENT_TYPES = frozenset(
    {
        "execution.state_changed",
        "execution.delayed",
        "execution.held",
        "execution.admitted",
        "execution.started",
        "execution.paused",
        "execution.resumed",
        "execution.ending",
        "execution.completed",
        "execution.failed",
        "execution.cancelled",
        "execution.timed_out",
        "execution.retried",
        "execution.variables",
        "step.added",
        "step.ready",
        "step.started",
        "step.cached",
        "step.progress",
        "step.retrying",
        "step.waiting",
        "step.lost",
        "step.yielded",
        "step.drained",
        "step.forced",
        "step.completed",
        "step.failed",
        "step.timed_out",
        "step.skipped",
        "step.cancelled",
        "signal.received",
        "signal.taken",
        "signal.missed",
        "recovery.initiated",
        "checkpoint.restored",
    }
)
"""Every type that the timeline can hold; the table above says what each means."""


@dataclass(frozen=True)
class Hint:
    """Something happened to an execution, up to event number `seq`.

    `is_last` says that nothing will happen to it any more.
    """

    execution_id: str
    seq: int
    is_last: bool = False


def name_channel(installation_id: str, execution_id: str | None = None) -> str:
    """Return where the hints of one execution travel, or those of all."""
    channel = f"plans:{installation_id}:events"
    return f"{channel}:{execution_id}" if execution_id else channel


class ExecutionEventEmitter:
    """Sends hints; never raises for Redis's sake.

    The first hint of an execution goes out at once, and so does its last one. Of those
    in between only the newest is kept, and a thread sends what is kept a moment later:
    steps that take less time than a round trip do not wait for one each.

    What code that is interrupted by a signal may hold here are locks and queues that
    are not written in Python: they are taken and given back in one piece.
    """

    def __init__(self, url: str | None, installation_id: str) -> None:
        """Send through the Redis at `url`; without one, every hint is dropped.

        Raises SettingsError when the URL is malformed.
        """
        self._redis: redis.Redis | None = None
        if url is not None:
            self._redis = _build_client(url, 0.5)
        self._installation_id = installation_id
        self._quiet_until = 0.0
        self._begin_anew()
        _emitters.add(self)

    def _begin_anew(self) -> None:
        # in a forked child, too: what was kept is the parent's to send, and whoever
        # held the locks does not exist here
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        # True to look for what is kept, False to end
        self._wakes: SimpleQueue[bool] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._coalescer = Coalescer()

    def emit(
        self, execution_id: str, seq: int | None, *, is_last: bool = False
    ) -> None:
        """Say that the timeline has grown to `seq`; call it after the commit.

        `is_last` says that it will not grow any more.
        """
        if self._redis is None or seq is None or time.monotonic() < self._quiet_until:
            return
        with self._lock:
            if is_last:
                self._coalescer.forget(execution_id)
            elif self._keep(execution_id, seq):
                return
        self._send({execution_id: seq}, is_last=is_last)

    def flush(self) -> None:
        """Send what is kept, and wait for what is being sent."""
        with self._sending:
            with self._lock:
                kept = self._coalescer.take(time.monotonic())
            self._send(kept)

    def close(self) -> None:
        """Send what is kept, and close the connections; a later hint opens another."""
        self._end_thread()
        self.flush()
        if self._redis is not None:
            self._redis.close()

    def _keep(self, execution_id: str, seq: int) -> bool:
        """Keep a hint for later; False when it is to be sent at once."""
        now = time.monotonic()
        if self._coalescer.is_due(execution_id, now) or (
            # before it is kept: an interruption between the two must not leave a hint
            # that no thread looks for
            self._coalescer.is_empty and not self._wake_thread()
        ):
            self._coalescer.note_sent(execution_id, now)
            return False
        self._coalescer.keep(execution_id, seq)
        return True

    def _wake_thread(self) -> bool:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._send_kept,
                args=(self._wakes,),
                name="plans-hints",
                daemon=True,
            )
            try:
                self._thread.start()
            except RuntimeError:
                # there are too many, or the interpreter is about to end
                return False
        if self._wakes.empty():
            # it looks a pause later, whoever else asks it to
            self._wakes.put(True)
        return True

    def _end_thread(self) -> None:
        with self._lock:
            thread, self._thread = self._thread, None
            # the next thread must not find what this one was told
            wakes, self._wakes = self._wakes, SimpleQueue()
        if thread is not None:
            wakes.put(False)
            thread.join()

    def _send_kept(self, wakes: "SimpleQueue[bool]") -> None:
        while True:
            try:
                is_woken = wakes.get(timeout=_LINGER_SECONDS)
            except Empty:
                with self._lock:
                    if self._wakes is not wakes:
                        return
                    if self._coalescer.is_empty:
                        self._thread = None
                        return
            else:
                if not is_woken:
                    return
                time.sleep(PAUSE_SECONDS)
            self.flush()

    def _send(self, hints: Mapping[str, int], *, is_last: bool = False) -> None:
        if self._redis is None or not hints or time.monotonic() < self._quiet_until:
            return
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                for execution_id, seq in hints.items():
                    body = json.dumps(vars(Hint(execution_id, seq, is_last)))
                    for channel in (None, execution_id):
                        pipeline.publish(
                            name_channel(self._installation_id, channel), body
                        )
                pipeline.execute()
        except redis.RedisError as error:
            self._quiet_until = time.monotonic() + _SILENCE_SECONDS
            logger.warning("event hints are dropped", extra={"cause": str(error)})


_emitters: "WeakSet[ExecutionEventEmitter]" = WeakSet()


def _forget_parents() -> None:
    for emitter in list(_emitters):
        emitter._begin_anew()  # noqa: SLF001  # its own module


def _flush_all() -> None:
    for emitter in list(_emitters):
        emitter.flush()


os.register_at_fork(after_in_child=_forget_parents)
# a program that submits and ends would take along what it has kept
atexit.register(_flush_all)


@lru_cache(maxsize=16)
def _find_client(url: str, pid: int) -> redis.Redis:
    # each process its own; making one costs more than subscribing does, and it holds
    # no connection by itself
    return _build_client(url, 1.0)


def _build_client(url: str, answer_seconds: float) -> redis.Redis:
    try:
        return redis.Redis.from_url(
            # a server that takes the connection and never answers is away, too
            url,
            socket_connect_timeout=answer_seconds,
            socket_timeout=answer_seconds,
        )
    except ValueError:
        # its words quote parts of the URL, which may be of the password
        raise SettingsError(
            "PLANS_REDIS_URL, or PLANS_BROKER_URL where that is not set, is malformed;"
            " it has the form redis://:password@host:6379/0, with %-escapes for what is"
            " special in URLs"
        ) from None


class EventSubscription:
    """Listens for the hints of one execution, or of all."""

    def __init__(
        self, url: str | None, installation_id: str, execution_id: str | None = None
    ) -> None:
        """Listen on the Redis at `url`; without one, `wait` only passes the time."""
        self._url = url
        self._channel = name_channel(installation_id, execution_id)
        self._pubsub: Any = None
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
            self._pubsub = _find_client(self._url, os.getpid()).pubsub(  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
                ignore_subscribe_messages=True
            )
            self._pubsub.subscribe(self._channel)
        except redis.RedisError:
            self._drop()

    def wait(self, timeout_seconds: float, *, for_last: bool = False) -> Hint | None:
        """Return the next hint, or None after `timeout_seconds` without one.

        With `for_last`, only the last hint of an execution counts.
        """
        self.open()
        deadline = time.monotonic() + timeout_seconds
        if self._pubsub is None:
            time.sleep(timeout_seconds)
            return None
        try:
            while (left := deadline - time.monotonic()) > 0:
                message = self._pubsub.get_message(timeout=left)
                if message is None:
                    continue
                hint = read_hint(message["data"])
                if not for_last or (hint is not None and hint.is_last):
                    return hint
        except redis.RedisError:
            self._drop()
        return None

    def close(self) -> None:
        """Stop listening."""
        if self._pubsub is not None:
            self._pubsub.close()
            self._pubsub = None

    def _drop(self) -> None:
        self._retry_at = time.monotonic() + 1.0
        try:
            self.close()
        except redis.RedisError:
            self._pubsub = None


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


def read_hint(data: bytes) -> Hint | None:
    """Return what a message says, or None when it is none of ours."""
    try:
        body = json.loads(data)
        return Hint(
            str(body["execution_id"]), int(body["seq"]), body.get("is_last") is True
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        # a stranger's message on our channel: the reader polls anyway
        return None
