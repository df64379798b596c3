"""What lies in the broker, and what workers hold, without taking anything.

Redis keeps a queue as lists, one for each priority, which are read as they lie there;
where it also keeps what was delivered, that is read, too. RabbitMQ tells how many
messages there are, and no more. Workers are asked over Celery's remote control.

Promises: bounded; no message is taken, moved or written. Must not know what PostgreSQL
wants.
"""

import base64
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from celery import Celery
from kombu.exceptions import KombuError

from ..diagnosis.facts import (
    AnswerFacts,
    AwayFacts,
    BrokerFacts,
    HeldMessage,
    MessageFacts,
    QueueFacts,
)
from ..dispatcher import STEP_TASK
from ..identity import is_execution_id
from ..redis_facts import read_redis

_MALFORMED = (
    *(LookupError, TypeError, ValueError, AttributeError),
    *(OverflowError, RecursionError),
)
"""What reading a message may raise that some other program has sent."""

_PATIENCE = {"socket_timeout": 5, "socket_connect_timeout": 5}


def look_at_broker(
    app: Celery,
    queues: Iterable[str],
    *,
    most_messages: int,
    now: Callable[[], float] = time.time,
) -> BrokerFacts | AwayFacts:
    """Return what the broker of `app` says of itself, and what is in `queues`.

    Of each queue the oldest `most_messages` are read. `now` is the clock of this host.
    """
    try:
        unopened = _connect(app)
    except (ImportError, KeyError, ValueError) as error:
        # there is no such transport, or it is not installed, or that is no URL
        return AwayFacts(f"there is no way to it: {error}")
    with unopened as connection:
        try:
            connection.ensure_connection(max_retries=max(len(connection.alt) - 1, 0))
            return _look(connection, sorted(set(queues)), most_messages, now)
        except _list_failures(connection) as error:
            return AwayFacts(str(error))


def _connect(app: Celery) -> Any:
    # an app of a team's own may let a broker that hangs hang its callers for ever
    options = app.conf.broker_transport_options or {}
    url = str(app.conf.broker_read_url or app.conf.broker_url or "")
    patience = {} if "amqp" in url.partition(":")[0] else _PATIENCE
    return app.connection_for_read(transport_options={**patience, **options})


def _list_failures(connection: Any) -> tuple[type[Exception], ...]:
    errors = (*connection.connection_errors, *connection.channel_errors)
    return (*errors, KombuError, OSError)


def _look(
    connection: Any, queues: Sequence[str], most: int, now: Callable[[], float]
) -> BrokerFacts:
    match connection.transport.driver_type:
        case "redis":
            return _look_at_redis(connection, queues, most, now)
        case "amqp":
            return _look_at_rabbitmq(connection, queues)
        case kind:
            return BrokerFacts(
                kind, "", refusals=(f"messages of {kind} cannot be looked at",)
            )


def _look_at_rabbitmq(connection: Any, queues: Sequence[str]) -> BrokerFacts:
    said = getattr(connection.connection, "server_properties", {})
    return BrokerFacts(
        product=str(said.get("product", "AMQP")),
        version=str(said.get("version", "")),
        queues=tuple(_count_messages(connection, name) for name in queues),
    )


def _count_messages(connection: Any, name: str) -> QueueFacts:
    # a queue that is not there closes the channel
    channel = connection.channel()
    try:
        found = channel.queue_declare(queue=name, passive=True)
    except connection.channel_errors:
        return QueueFacts(name, 0, 0, 0)
    finally:
        channel.close()
    return QueueFacts(name, found.message_count, 0, found.consumer_count)


def _look_at_redis(
    connection: Any, queues: Sequence[str], most: int, now: Callable[[], float]
) -> BrokerFacts:
    channel = connection.default_channel
    redis = read_redis(channel.client, now)
    lists = _RedisLists(channel, connection.channel_errors, most)
    counted = tuple(filter(None, map(lists.read, queues)))
    kept_are_read = not channel.ack_emulation or lists.read_delivered()
    return BrokerFacts(
        product=redis.product or "Redis",
        version=redis.version or "",
        redis=redis,
        queues=counted,
        messages=tuple(lists.messages),
        refusals=tuple(lists.refusals),
        kept_are_read=kept_are_read,
    )


class _RedisLists:
    """Reads messages where they lie, as far as our user may."""

    def __init__(
        self, channel: Any, errors: tuple[type[Exception], ...], most: int
    ) -> None:
        self._channel = channel
        self._errors = errors
        self._most = most
        self.messages: list[MessageFacts] = []
        self.refusals: list[str] = []

    def read(self, name: str) -> QueueFacts | None:
        """Read a queue; None where it may not even be counted."""
        client, channel = self._channel.client, self._channel
        keys = [
            f"{name}{channel.sep}{priority}" if priority else name
            for priority in channel.priority_steps
        ]
        try:
            length = sum(client.llen(key) for key in keys)
        except self._errors as error:
            self.refusals.append(f"the queue {name}: {error}")
            return None
        texts: list[Any] = []
        try:
            for key in keys:
                if (left := self._most - len(texts)) > 0:
                    # they come in at the front, and are taken from the end
                    texts += client.lrange(key, -left, -1)
        except self._errors as error:
            self.refusals.append(f"messages of the queue {name}: {error}")
            return QueueFacts(name, length, 0)
        self.messages += _read_messages(name, texts)
        # some may have come, or gone, between the two questions
        is_wholly = len(texts) < self._most
        return QueueFacts(name, length, length if is_wholly else len(texts))

    def read_delivered(self) -> bool:
        """Read what was delivered and is kept until it is acknowledged.

        Says whether all of it was read.
        """
        key = self._channel.unacked_key
        try:
            found = self._channel.client.hscan_iter(key, count=100)
            texts = [text for _, (_, text) in zip(range(self._most), found)]  # noqa: B905  # one ends first
        except self._errors as error:
            self.refusals.append(f"what is in hand: {error}")
            return False
        self.messages += _read_deliveries(texts)
        return len(texts) < self._most


def _read_messages(queue: str, texts: Iterable[Any]) -> Iterator[MessageFacts]:
    for text in texts:
        try:
            message = _read_message(queue, json.loads(text))
        except _MALFORMED:
            continue
        if message is not None:
            yield message


def _read_message(queue: str, envelope: Any) -> MessageFacts | None:
    """Return what a message is for; None for one that is no step's."""
    if envelope["headers"].get("task") != STEP_TASK:
        return None
    body = envelope["body"]
    if envelope["properties"].get("body_encoding") == "base64":
        body = base64.b64decode(body)
    execution_id, positions, epoch = json.loads(body)[0]
    if not is_execution_id(execution_id):
        return None
    return MessageFacts(queue, execution_id, tuple(map(int, positions)), int(epoch))


def _read_deliveries(texts: Iterable[Any]) -> Iterator[MessageFacts]:
    for text in texts:
        try:
            envelope, _, queue = json.loads(text)
            message = _read_message(str(queue), envelope)
        except _MALFORMED:
            continue
        if message is not None:
            yield message


def ask_workers(
    app: Celery, hostnames: Sequence[str], *, timeout_seconds: float
) -> AnswerFacts:
    """Return what the workers of these names run and have reserved.

    Those that do not answer within `timeout_seconds` are not among those who did.
    """
    answers = {
        kind: _ask(app, kind, hostnames, timeout_seconds)
        # what begins between the two questions is in both answers, not in none
        for kind in ("reserved", "active")
    }
    heard = frozenset(answers["active"]) & frozenset(answers["reserved"])
    return AnswerFacts(
        heard,
        tuple(
            held
            for told in answers.values()
            for hostname, tasks in told.items()
            for task in tasks
            if (held := _read_held(hostname, str(task.get("id", "")))) is not None
        ),
    )


def _ask(
    app: Celery, kind: str, hostnames: Sequence[str], timeout_seconds: float
) -> dict[str, list[dict[str, Any]]]:
    if not hostnames:
        return {}
    with _connect(app) as unopened:
        failures = _list_failures(unopened)
    try:
        # comes back as soon as all have answered
        replies = app.control.broadcast(
            kind,
            destination=list(hostnames),
            reply=True,
            timeout=timeout_seconds,
            limit=len(set(hostnames)),
        )
    except failures:
        # the broker went away a moment ago, or our user may not ask
        return {}
    return {
        hostname: tasks
        for reply in replies or ()
        for hostname, tasks in reply.items()
        if isinstance(tasks, list)
    }


def _read_held(hostname: str, task_id: str) -> HeldMessage | None:
    """Return the step that a delivery is for, which its id names."""
    # of each message: EXECUTION:STEP:EPOCH:PUBLICATION
    rest, _, _ = task_id.rpartition(":")
    rest, _, epoch = rest.rpartition(":")
    execution_id, _, step = rest.partition(":")
    if not (is_execution_id(execution_id) and epoch.isdigit()):
        return None
    return HeldMessage(execution_id, step, int(epoch), hostname)
