"""A broker that loses, repeats, delays and reorders, behind a real Celery app.

The dispatcher publishes through Celery and kombu as it does anywhere; the transport
registered here hands the raw messages over to the broker of the present world, and
workers read what came out of there. Late acks (RabbitMQ) or none (Redis without
emulation) is the world's choice.

Knows nothing of executions or of who consumes.
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from celery import Celery
from kombu.exceptions import OperationalError
from kombu.transport import TRANSPORT_ALIASES, virtual

from execution.dispatcher import create_app
from execution.settings import Settings
from tests.simulation.misfortune import MessageFault, Misfortune
from tests.simulation.scheduler import Actor, Scheduler

_ALIAS = "simulation"
_MOST_DELAY_SECONDS = 40.0


@dataclass(frozen=True)
class Message:
    """One message as Celery wrote it, and when it can be taken."""

    queue: str
    raw: Mapping[str, Any]
    available_at: float

    @property
    def id(self) -> str:
        """The task's id: what a repeated message shares with the first."""
        return str(self.raw["headers"]["id"])

    def read(self) -> tuple[list[Any], list[Any] | None]:
        """Return the arguments of the task, and the links that follow it in reverse."""
        arguments, _, embedded = json.loads(base64.b64decode(self.raw["body"]))
        return arguments, embedded["chain"]


@dataclass
class SimulatedBroker:
    """Messages that nobody has taken yet, and who waits for one."""

    scheduler: Scheduler
    misfortune: Misfortune
    waiting: list[Actor] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    away_until: float = 0.0

    def put(self, queue: str, raw: Mapping[str, Any]) -> None:
        """Take a message; raises OperationalError while the broker is away."""
        if self.scheduler.now < self.away_until:
            self.misfortune.count("publishes refused by an absent broker")
            raise OperationalError("the broker is away")
        fault = self.misfortune.draw_for_message()
        delay_seconds = 0.0
        copies = 1
        match fault:
            case MessageFault.DROPPED:
                copies = 0
            case MessageFault.REPEATED:
                copies = 2
            case MessageFault.DELAYED:
                delay_seconds = self.misfortune.dice.random() * _MOST_DELAY_SECONDS
            case MessageFault.OVERTAKEN | None:
                pass
        message = Message(queue, raw, self.scheduler.now + delay_seconds)
        self.scheduler.note(f"message {message.id} {fault or ''}")
        for _ in range(copies):
            self._keep(message, is_first=fault is MessageFault.OVERTAKEN)

    def restore(self, message: Message) -> None:
        """Take back a message that was not acknowledged."""
        self.misfortune.count("messages redelivered")
        self._keep(
            Message(message.queue, message.raw, self.scheduler.now), is_first=True
        )

    def take(self) -> Message | None:
        """Return the next message, if one can be taken now."""
        for index, message in enumerate(self.messages):
            if message.available_at <= self.scheduler.now:
                return self.messages.pop(index)
        return None

    def wait(self, actor: Actor) -> None:
        """Let `actor` wait until there may be a message."""
        self.waiting.append(actor)
        try:
            moment = min((m.available_at for m in self.messages), default=None)
            self.scheduler.wait_until(moment)
        finally:
            self.waiting.remove(actor)

    def flush(self) -> None:
        """Forget every message."""
        self.scheduler.note(f"FLUSH of {len(self.messages)} messages")
        self.misfortune.count("messages flushed", len(self.messages))
        self.messages.clear()

    def _keep(self, message: Message, *, is_first: bool) -> None:
        self.messages.insert(0 if is_first else len(self.messages), message)
        for actor in self.waiting:
            self.scheduler.wake(actor, message.available_at)


class Channel(virtual.Channel):
    """Hands every message to whoever `deliver_to` names at this moment."""

    deliver: ClassVar[Callable[[str, Mapping[str, Any]], None] | None] = None
    do_restore = False

    def _put(self, queue: str, message: Mapping[str, Any], **_: object) -> None:
        assert Channel.deliver is not None
        Channel.deliver(queue, message)

    def _size(self, queue: str) -> int:
        return 0

    def _purge(self, queue: str) -> int:
        return 0


class Transport(virtual.Transport):
    """A transport without a server."""

    Channel = Channel
    driver_type = driver_name = _ALIAS


def create_simulated_app(settings: Settings) -> Celery:
    """Return our Celery app with the simulated transport beneath it."""
    TRANSPORT_ALIASES[_ALIAS] = f"{__name__}:Transport"
    app = create_app(settings)
    app.conf.broker_url = f"{_ALIAS}://"
    app.conf.broker_transport_options = {}
    # actors may be held in the middle of a publish, each with a producer
    app.conf.broker_pool_limit = 1000
    return app


def deliver_to(broker: SimulatedBroker) -> None:
    """Let everything that is published from now on arrive at `broker`."""
    Channel.deliver = broker.put
