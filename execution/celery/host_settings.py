"""The settings of a team's own Celery app, as far as plans are concerned by them.

Promises: what is read is read once, and nothing is changed or connected to. It must
not know which settings are good ones; `host_report` does.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

from celery import Celery
from celery.app.utils import find_app

from ..actions import import_actions
from ..errors import SettingsError
from ..settings import Settings

_SETTINGS = (
    "accept_content",
    "broker_connection_max_retries",
    "broker_connection_retry",
    "broker_connection_retry_on_startup",
    "broker_pool_limit",
    "broker_read_url",
    "broker_transport_options",
    "broker_url",
    "task_always_eager",
    "task_compression",
    "task_create_missing_queues",
    "task_default_queue",
    "task_queues",
    "task_send_sent_event",
    "task_soft_time_limit",
    "task_time_limit",
    "worker_cancel_long_running_tasks_on_connection_loss",
    "worker_max_memory_per_child",
    "worker_max_tasks_per_child",
    "worker_pool",
    "worker_prefetch_multiplier",
)
"""What is looked at."""


@dataclass(frozen=True)
class HostSettings:
    """The settings of an app, and those of plans beside them.

    `served` are the queues that a worker consumes, None where none was started.
    """

    values: Mapping[str, Any]
    plans: Settings
    served: Collection[str] | None = None

    @classmethod
    def of_app(cls, app: Celery, plans: Settings) -> Self:
        """Read those of an app."""
        return cls({name: app.conf.get(name) for name in _SETTINGS}, plans)

    @classmethod
    def of_worker(cls, worker: Any, plans: Settings) -> Self:
        """Read those of a worker that starts, with what its command line has said."""
        values = {
            **cls.of_app(worker.app, plans).values,
            "task_time_limit": worker.time_limit,
            "task_soft_time_limit": worker.soft_time_limit,
            "worker_pool": worker.pool_cls.__module__.rpartition(".")[2],
        }
        return cls(values, plans, frozenset(worker.app.amqp.queues.consume_from))

    def __getitem__(self, name: str) -> Any:
        """Return a setting of the app, None where it has none."""
        return self.values.get(name)

    def find_option(self, name: str) -> Any:
        """Return an option of the broker's transport, None where it is not set."""
        return (self["broker_transport_options"] or {}).get(name)

    @property
    def broker_url(self) -> str:
        """Return where the workers take messages from; nothing where it is not said."""
        url = self["broker_read_url"] or self["broker_url"] or ""
        return str(url[0] if isinstance(url, list | tuple) and url else url)

    @property
    def transport(self) -> str:
        """Return the kind of the broker, as its URL names it."""
        return self.broker_url.partition("://")[0].partition("+")[0]

    @property
    def pool(self) -> str | None:
        """Return the kind of the pool, by whichever of its names it is set."""
        name = self["worker_pool"]
        return name and str(name).partition(":")[0].rpartition(".")[2]

    @property
    def names_another_broker(self) -> bool:
        """Whether engines send to another broker than the one workers listen to."""
        named = self.plans.broker_url
        if named is None or not self.broker_url:
            return False
        return _plain(named) != _plain(self.broker_url)

    @property
    def declared_queues(self) -> tuple[str, ...]:
        """Return the queues that a worker serves that was told of none."""
        declared = self["task_queues"] or (self["task_default_queue"],)
        return tuple(str(getattr(queue, "name", queue)) for queue in declared)

    @property
    def visible_seconds(self) -> float:
        """Return for how long a broker has to leave a message to who took it."""
        # it is acknowledged when its step has run for two leases
        return 3 * self.plans.lease_seconds

    def show(self, setting: str) -> str:
        """Return a setting as people may see it, without passwords."""
        match setting.split("."):
            case ["broker_url"]:
                return ";".join(map(_hide_password, self.broker_url.split(";")))
            case ["task_queues"]:
                queues = self.declared_queues if self.served is None else self.served
                return ", ".join(sorted(queues))
            case ["broker_transport_options", option]:
                return str(self.find_option(option))
            case _:
                return str(self[setting])


def load_app(name: str) -> Celery:
    """Return the Celery app that `celery -A name` would use.

    The working directory is searched, too. Raises SettingsError when there is none.
    """
    import_actions(())
    try:
        found = find_app(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(f"there is no Celery app {name!r}: {error}") from error
    if not isinstance(found, Celery):
        raise SettingsError(f"{name!r} is no Celery app, but a {type(found).__name__}")
    return found


def _hide_password(url: str) -> str:
    """Return the URL of one broker without what stands in it for nobody to see.

    It is not read as a URL: that of a failover, or a password that was not quoted,
    would be an error, and part of the password in it.
    """
    scheme, separator, rest = url.partition("://")
    login, at, address = rest.partition("?")[0].rpartition("@")
    user = login.partition(":")[0]
    return f"{scheme}{separator}{user}{':**' if ':' in login else ''}{at}{address}"


def _plain(url: str) -> str:
    # how a server proves who it is does not make it another one
    url = re.sub(r"[?&]ssl_\w+=[^&]*", "", url)
    return url.rstrip("/").removesuffix("/0").replace("pyamqp://", "amqp://")
