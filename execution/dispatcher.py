"""Turns windows of ready steps into Celery chains, and sends them.

One message carries a chain of `plans.step` tasks: an execution's id, the positions
from this link on, and the epoch. It is a hint; PostgreSQL has written down what is
sent before it is sent, and a message that is lost, repeated or old changes nothing
but latency. Joins and branches are resolved in PostgreSQL, so no chord, link or
countdown is ever used.

Nothing here knows what a step does, or reads the database.
"""

import importlib.util
import logging
from collections.abc import Sequence
from typing import Any

from celery import Celery
from kombu.exceptions import KombuError, OperationalError

from execution.assets import find_asset
from execution.settings import Settings
from execution.windows import Link, Window

STEP_TASK = "plans.step"

logger = logging.getLogger(__name__)


def create_app(settings: Settings) -> Celery:
    """Return a Celery app configured by `celeryconfig.py` for these settings."""
    spec = importlib.util.spec_from_file_location(
        "execution._celeryconfig", find_asset("celeryconfig.py")
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
    app.conf.task_default_queue = settings.queue
    return app


class ExecutionDispatcher:
    """Publishes windows through a Celery app."""

    def __init__(self, app: Celery) -> None:
        """Send through the broker of `app`."""
        self._app = app

    def publish(self, windows: Sequence[Window]) -> bool:
        """Send every window as one chain, all of them in one batch.

        Says whether the broker took them. If not, nothing is lost: the reconcilers of
        the workers find what was not sent.
        """
        if not windows:
            return True
        for attempt in ("first", "second"):
            # a broker that was restarted breaks the pooled connection once; what the
            # first try may have sent already is dropped by its claim
            try:
                self._publish_batch(windows)
            except (OperationalError, KombuError, OSError) as error:
                logger.warning(
                    "messages were not sent",
                    extra={
                        "windows": len(windows),
                        "try": attempt,
                        "cause": str(error),
                    },
                )
            else:
                return True
        return False

    def _publish_batch(self, windows: Sequence[Window]) -> None:
        with self._app.producer_pool.acquire(block=True) as producer, producer.batch():
            for window in windows:
                self._send(window, producer)

    def _send(self, window: Window, producer: Any) -> None:
        head, *rest = _build_signatures(window)
        # Celery keeps the links of a chain in reverse, the next one last
        self._app.send_task(
            STEP_TASK,
            args=head["args"],
            chain=rest[::-1] or None,
            producer=producer,
            retry=False,
            ignore_result=True,
            **head["options"],
        )


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
