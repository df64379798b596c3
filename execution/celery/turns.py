"""Calls back whenever a worker's loop comes round, whichever loop it is.

Celery has one loop for transports that it can poll (Redis, RabbitMQ), another for green
pools and other transports, and a third while it waits for its broker. Each is followed
where it passes: by the timer of the first, what the second does at each turn, what the
third does between two tries. All of it is called in the thread of the loop.

It must not know what is done at a turn.
"""

import threading
from collections.abc import Callable
from typing import Any

from celery import Celery, bootsteps, signals

_BETWEEN_SECONDS = 1.0

Turned = Callable[[bool], None]
"""Is told at each turn whether there is a connection to the broker."""


def follow_turns(app: Celery, turned: Turned) -> None:
    """Let workers of `app` call `turned`, from before they look for their broker on."""

    class Turns(bootsteps.Step):  # type: ignore[misc]  # Celery ships no types
        """Is made with the consumer, before that connects."""

        name = "plans-turns"

        def __init__(self, consumer: Any, **options: Any) -> None:
            super().__init__(consumer, **options)
            _follow_events(consumer, turned)
            _follow_turns(consumer, turned)
            _follow_tries(consumer, turned)

    app.steps["consumer"].add(Turns)


def follow_tasks(
    app: Celery, begin: Callable[[], None], end: Callable[[], None]
) -> None:
    """Let workers whose loop runs tasks itself say when it begins and ends to."""

    class Tasks(bootsteps.Step):  # type: ignore[misc]  # as above
        """Is made with the pool."""

        name = "plans-tasks-in-loop"
        requires = ("celery.worker.components:Pool",)

        def __init__(self, worker: Any, **options: Any) -> None:
            super().__init__(worker, **options)
            if worker.pool_cls.__module__ == "celery.concurrency.solo":
                signals.task_prerun.connect(lambda **_: begin(), weak=False)
                signals.task_postrun.connect(lambda **_: end(), weak=False)

    app.steps["worker"].add(Tasks)


def _follow_events(consumer: Any, turned: Turned) -> None:
    register = consumer.register_with_event_loop

    def register_with_event_loop(hub: Any) -> None:
        register(hub)
        # Celery takes it off with all that it has begun for this connection
        hub.timer.call_repeatedly(_BETWEEN_SECONDS, turned, (True,))

    consumer.register_with_event_loop = register_with_event_loop


def _follow_turns(consumer: Any, turned: Turned) -> None:
    perform = consumer.perform_pending_operations

    def perform_pending_operations() -> None:
        perform()
        turned(consumer.connection is not None)

    consumer.perform_pending_operations = perform_pending_operations


def _follow_tries(consumer: Any, turned: Turned) -> None:
    ensure_connected = consumer.ensure_connected

    def ensure(connection: Any) -> Any:
        _follow_connection(connection, turned)
        turned(False)
        return ensure_connected(connection)

    consumer.ensure_connected = ensure


def _follow_connection(connection: Any, turned: Turned) -> None:
    # the one that all tries go by: also those of Celery's own heartbeat, which the loop
    # sends, and which is tried for as long as a broker takes connections and is silent
    ensure_connection = connection._ensure_connection  # noqa: SLF001  # as said
    loop_thread = threading.get_ident()

    def ensure_and_tell(*arguments: Any, **options: Any) -> Any:
        callback = options.pop("callback", None)

        def tell() -> None:
            if threading.get_ident() == loop_thread:
                turned(False)
            if callback is not None:
                callback()

        return ensure_connection(*arguments, callback=tell, **options)

    connection._ensure_connection = ensure_and_tell  # noqa: SLF001  # as above
