"""Acknowledges the messages of steps that have been running for long.

A step's message is acknowledged when the step is recorded, so that it comes back when
its worker dies. Brokers have no patience with that: RabbitMQ closes a channel whose
message waits for half an hour, and a Redis with visibility timeout delivers it again.
Once a step is claimed, PostgreSQL knows all that the message says, and finds the step
when its worker is lost; so after a while the message is given up.

It promises to speak to the broker in the thread of the worker's event loop alone. With
the pool `solo` that thread runs the steps, and so nothing is acknowledged early. It
must not know what a step does.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from celery.worker import state

from ..dispatcher import STEP_TASK
from .heart import copy_set

_LOOKS_PER_WAIT = 8


class Request(Protocol):
    """What is asked of Celery's requests."""

    acknowledged: bool

    @property
    def type(self) -> str:
        """The name of the task, whatever name is shown to people."""

    def acknowledge(self) -> None:
        """Tell the broker that the message is done with, unless it knows."""


class LongSteps:
    """The deliveries of steps that run, and for how long they have been seen."""

    def __init__(
        self, after_seconds: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Acknowledge what has been running for `after_seconds`."""
        self._after_seconds = after_seconds
        self._now = now
        self._seen_at: dict[Request, float] = {}

    def look(self, running: Iterable[Request]) -> None:
        """Look at what runs now, and acknowledge what has been seen for long enough."""
        now = self._now()
        self._seen_at = {
            request: self._seen_at.get(request, now)
            for request in running
            if request.type == STEP_TASK and not request.acknowledged
        }
        for request, seen_at in self._seen_at.items():
            if now - seen_at >= self._after_seconds:
                request.acknowledge()


def acknowledge_long_steps(worker: Any, after_seconds: float) -> None:
    """Do so in `worker`, for steps that run for `after_seconds` or longer.

    Without an event loop of Celery's own (gevent, eventlet) it is left: their timers
    run beside what speaks to the broker, not within it.
    """
    if worker.use_eventloop:
        steps = LongSteps(after_seconds)
        worker.timer.call_repeatedly(
            after_seconds / _LOOKS_PER_WAIT,
            lambda: steps.look(copy_set(state.active_requests)),
        )
