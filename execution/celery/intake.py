"""Keeps messages that are none from stopping a worker.

Celery refuses what it cannot decode. What decodes to something else than a task, it
trips over: the error ends the worker, the message goes back into the queue, and the
next worker ends as well. So does whatever else somebody has put into a Redis list that
has the name of a queue. Here such things are logged and thrown away.

It must not know what a task does, nor judge one that can be read.
"""

import logging
from collections.abc import Callable
from queue import Empty
from typing import Any, TypeGuard

from celery import Celery
from celery.exceptions import InvalidTaskError
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.strategy import default as celery_strategy
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis

from ..identity import is_execution_id
from ..ride import Delivery

logger = logging.getLogger(__name__)

STRATEGY = f"{__name__}:start_strategy"
"""How a task names `start_strategy` to Celery."""

_UNREADABLE = (AttributeError, LookupError, TypeError, ValueError)
"""What code raises that takes for granted what a message looks like."""

_TEXT = (str, type(None))
_SHAPES: dict[str, tuple[type, ...]] = {
    "id": (str,),
    "root_id": _TEXT,
    "parent_id": _TEXT,
    "group": _TEXT,
    "shadow": _TEXT,
    "stamps": (dict, type(None)),
    "stamped_headers": (list, type(None)),
    "retries": (int, type(None)),
}


def start_strategy(
    task: Any, app: Celery, consumer: Any, **options: Any
) -> Callable[..., None]:
    """Return what takes in the messages of `task`; one that is unreadable is refused.

    For an app of somebody else's, whose other tasks are not ours to guard.
    """
    take_in = celery_strategy(task, app, consumer, **options)

    def receive(message: Any, *arguments: Any, **more: Any) -> None:
        try:
            _check_shape(message)
            take_in(message, *arguments, **more)
        except _UNREADABLE as error:
            # what Celery's consumer rejects for good, and goes on
            raise InvalidTaskError(f"the message is unreadable: {error!r}") from error

    return receive


def _check_shape(message: Any) -> None:
    # Celery finds out about these only when a place in the pool is taken already, and
    # would never give it back
    for name, shapes in _SHAPES.items():
        if not isinstance(message.headers.get(name), shapes):
            raise TypeError(f"header {name!r} is something else")
    soft, hard = message.headers.get("timelimit") or (None, None)
    if not all(
        limit is None or isinstance(limit, int | float) for limit in (soft, hard)
    ):
        raise TypeError("a time limit is no number")
    if isinstance(message.payload, list):
        args, kwargs, embedded = message.payload
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            raise TypeError("the arguments are something else")
        if embedded is not None and not isinstance(embedded, dict):
            raise TypeError("what comes with the arguments is something else")


def read_delivery(request: Any, arguments: tuple[object, ...]) -> Delivery | None:
    """Return what a message of the step task asks for, None for a forged one."""
    match arguments:
        case [str(execution_id), [_, *_] as positions, epoch] if is_execution_id(
            execution_id
        ) and all(map(_is_count, [*positions, epoch])):
            return Delivery(str(request.id), execution_id, tuple(positions), epoch)  # type: ignore[arg-type]  # all are counts
    logger.warning("message is no step of ours", extra={"task_id": request.id})
    return None


def _is_count(value: object) -> TypeGuard[int]:
    # what PostgreSQL takes for an integer: a forged message must not fail there
    return type(value) is int and 0 <= value < 2**31


class Consumer(CeleryConsumer):  # type: ignore[misc]  # Celery ships no types
    """Celery's consumer, which throws away what no task of the app can read."""

    def create_task_handler(self, *arguments: Any, **more: Any) -> Any:
        """Return what takes in every message."""
        take_in = super().create_task_handler(*arguments, **more)

        def receive(message: Any) -> None:
            try:
                take_in(message)
            except _UNREADABLE:
                logger.exception("what was in the queue is no message")
                message.reject_log_error(logger, self.connection_errors)

        return receive


class Channel(kombu_redis.Channel):
    """A channel of Redis that passes over what is no message."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]  # kombu ships no types
        except _UNREADABLE as error:
            logger.exception("what was in the queue is no message")
            # what the loop expects when there was nothing
            raise Empty from error


class Transport(kombu_redis.Transport):
    """Kombu's transport for Redis, with that channel."""

    Channel = Channel


def harden(app: Celery) -> None:
    """Let the workers of `app` pass over what is no message, whatever it is.

    For an app that has its process to itself: others in it get the transport, too.
    """
    TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = f"{__name__}:Transport"
    app.conf.worker_consumer = f"{__name__}:Consumer"
