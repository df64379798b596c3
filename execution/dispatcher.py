"""Turns windows of ready steps into Celery chains, and sends them.

One message carries a chain of `plans.step` tasks: an execution's id, the positions
from this link on, and the epoch. It is a hint; PostgreSQL has written down what is
sent before it is sent, and a message that is lost, repeated or old changes nothing
but latency. Joins and branches are resolved in PostgreSQL, so no chord, link or
countdown is ever used.

A broker that is away costs a sender a few seconds at most, and then nothing for a
while: after a failure nothing is tried. The reconcilers find what was not sent.

Nothing here knows what a step does, or reads the database.
"""

import importlib.util
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from amqp.exceptions import MessageNacked  # type: ignore[import-untyped]
from celery import Celery
from kombu.entity import Exchange, Queue
from kombu.exceptions import KombuError, OperationalError

from .assets import find_asset
from .settings import Settings
from .windows import Link, Window

STEP_TASK = "plans.step"

_QUIET_SECONDS = 1.0
"""How long nothing is tried, at least, after the broker has failed."""

_QUIET_FACTOR = 3.0
"""How much longer than the failure took: three quarters of the time are for work."""

_ANSWER_SECONDS = 2.0
"""How long a broker may take for one message, where its transport can be told so."""

_INSTANT_SECONDS = 1.0
"""What fails later than this has waited for the broker: a second try would, too."""

logger = logging.getLogger(__name__)


def create_app(settings: Settings) -> Celery:
    """Return a Celery app configured by `celeryconfig.py` for these settings."""
    spec = importlib.util.spec_from_file_location(
        f"{__package__}._celeryconfig", find_asset("celeryconfig.py")
    )
    assert spec is not None and spec.loader is not None  # noqa: S101, PT018  # a .py file has both
    config = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(config)
    app = Celery("celery_plans", set_as_current=False)
    app.config_from_object(config)
    app.conf.broker_url = settings.broker_url
    app.conf.broker_transport_options = config.choose_transport_options(
        settings.broker_url
    )
    app.conf.broker_use_ssl = config.choose_tls(settings.broker_url, settings.tls_ca)
    app.conf.task_default_queue = settings.queue
    return app


class ExecutionDispatcher:
    """Publishes through a Celery app; safe to use from any thread."""

    def __init__(self, app: Celery, now: Callable[[], float] = time.monotonic) -> None:
        """Send through the broker of `app`; `now()` is a clock that never jumps."""
        self._app = app
        self._now = now
        self._quiet_until = float("-inf")
        self._routes: dict[str, Mapping[str, Any]] = {}

    @property
    def is_quiet(self) -> bool:
        """Say whether the broker failed a moment ago, so that nothing is sent now."""
        return self._now() < self._quiet_until

    def publish(self, windows: Sequence[Window]) -> bool:
        """Send every window as one chain, all of them in one batch.

        Says whether the broker took them. If not, nothing is lost: the reconcilers of
        the workers find what was not sent.
        """
        return self._send_chains([_build_signatures(window) for window in windows])

    def forward(self, links: Sequence[Mapping[str, Any]]) -> bool:
        """Send the rest of a chain, as a message that was received brought it.

        `links` are in Celery's order, the next one last. Celery would do the same when
        the task returns, but it would wait for a broker that is away, and then call a
        step failed that is recorded as completed.
        """
        return self._send_chains([links[::-1]] if links else [])

    def _send_chains(self, chains: Sequence[Sequence[Mapping[str, Any]]]) -> bool:
        if not chains:
            return True
        begun = self._now()
        if begun < self._quiet_until:
            return False
        # a broker that was restarted breaks the pooled connection, and says so at once;
        # what the first try may have sent already is dropped by its claim
        cause = self._try_chains(chains)
        if cause is not None and self._now() - begun < _INSTANT_SECONDS:
            cause = self._try_chains(chains)
        if cause is None:
            return True
        logger.warning(
            "messages were not sent; a worker's reconciler sends them later",
            extra={"windows": len(chains), "cause": str(cause)},
        )
        ended = self._now()
        self._quiet_until = ended + max(_QUIET_SECONDS, _QUIET_FACTOR * (ended - begun))
        return False

    def _try_chains(
        self, chains: Sequence[Sequence[Mapping[str, Any]]]
    ) -> Exception | None:
        try:
            with self._app.producer_pool.acquire(
                block=True, timeout=_ANSWER_SECONDS
            ) as producer:
                self._send_batch(chains, producer)
        except (KombuError, OSError) as error:
            return error
        return None

    def _send_batch(
        self, chains: Sequence[Sequence[Mapping[str, Any]]], producer: Any
    ) -> None:
        connection = producer.connection
        try:
            # by itself kombu would try for as long as its connect timeout, and then
            # wait six seconds more; each host of a list is tried once
            connection.ensure_connection(max_retries=max(len(connection.alt) - 1, 0))
            with producer.batch():
                for chain in chains:
                    self._send(chain, producer)
        except Exception as error:
            # whatever it was, also a signal's: half a conversation may be left in it
            connection.collect()
            if isinstance(error, _list_failures(connection)):
                raise OperationalError(str(error)) from error
            raise

    def _send(self, chain: Sequence[Mapping[str, Any]], producer: Any) -> None:
        """Do what `Celery.send_task` does, but ask once for what is always the same."""
        head, *rest = chain
        options = head["options"]
        amqp = self._app.amqp
        # whatever task_protocol says: the first version of it has no chains
        message = amqp.as_task_v2(
            options["task_id"],
            STEP_TASK,
            head["args"],
            {},
            # Celery keeps the links of a chain in reverse, the next one last
            chain=rest[::-1] or None,
            shadow=options["shadow"],
            argsrepr=options["argsrepr"],
            kwargsrepr="{}",
            ignore_result=True,
            reply_to=self._app.thread_oid,
            create_sent_event=self._tells_of_sent,
            **self._read_ancestry(),
        )
        route = self._find_route(options["queue"])
        # kombu knows what is declared on this connection, too, but asks a copy of the
        # queue that is bound to it, which costs a quarter of all
        declared = hash(route["queue"]) in producer.connection.declared_entities
        amqp.send_task_message(
            producer, STEP_TASK, message, declare=[] if declared else None, **route
        )

    @cached_property
    def _tells_of_sent(self) -> bool:
        return bool(self._app.conf.task_send_sent_event)

    def _find_route(self, queue: str) -> Mapping[str, Any]:
        """Return how the app sends to a queue, which is the same each time.

        Its `task_routes` are not asked: they are for its own tasks, and could take a
        step elsewhere than PostgreSQL has written down.
        """
        route = self._routes.get(queue)
        if route is None:
            route = self._routes[queue] = {
                "queue": self._find_queue(queue),
                "serializer": "json",
                "retry": False,
                "timeout": _ANSWER_SECONDS,
                "confirm_timeout": _ANSWER_SECONDS,
            }
        return route

    def _find_queue(self, name: str) -> Any:
        queues = self._app.amqp.queues
        try:
            return queues[name]
        except KeyError:
            # task_create_missing_queues is off: whoever serves it has declared it
            exchange = Exchange(name, "direct")  # type: ignore[no-untyped-call]  # kombu ships no types
            return Queue(name, exchange, routing_key=name, no_declare=True)  # type: ignore[no-untyped-call]  # the same

    def _read_ancestry(self) -> Mapping[str, str]:
        """Return whose message this one follows, for Flower."""
        parent = self._app.current_worker_task
        if not parent:
            return {}
        request = parent.request
        return {"root_id": request.root_id or request.id, "parent_id": request.id}


def _list_failures(connection: Any) -> tuple[type[Exception], ...]:
    # what a transport does not wrap: a full Redis, say, or one that became a replica,
    # refuses a command, and RabbitMQ may take a message and then not want it
    return (*connection.connection_errors, *connection.channel_errors, MessageNacked)


def _build_signatures(window: Window) -> list[dict[str, Any]]:
    positions = [link.position for link in window.links]
    return [
        {
            "task": STEP_TASK,
            "args": [window.execution_id, positions[index:], window.epoch],
            "kwargs": {},
            "options": _build_options(window, link),
            "subtask_type": None,
            "immutable": True,
        }
        for index, link in enumerate(window.links)
    ]


def _build_options(window: Window, link: Link) -> dict[str, Any]:
    return {
        "task_id": f"{window.execution_id}:{link.step}:{window.epoch}:{link.publishes}",
        "queue": link.queue,
        # what Flower shows: the action as the name, the step in the arguments
        "shadow": link.action,
        "argsrepr": f"{link.step} of {window.execution_id}",
    }
