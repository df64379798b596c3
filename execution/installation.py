"""From settings to servers that answer: the user's own, or the local stack.

A URL in the settings is used as it is, and its database is never migrated silently.
Where the local stack is asked for by name, it stands in for every URL that is
missing, and brings its own database up to date.

An engine asks its installation for what it reaches the servers with.
"""

from dataclasses import dataclass, replace

from celery import Celery

from .database import Database
from .dispatcher import ExecutionDispatcher, create_app
from .errors import SettingsError
from .local import LocalStack
from .payloads import PayloadStore
from .pool import MOST_CONNECTIONS, DatabasePool
from .repository import ExecutionRepository
from .schema import upgrade_if_needed
from .settings import Settings


@dataclass(frozen=True)
class Installation:
    """Settings with every URL filled in, and the stack that this process holds.

    `most_connections` is how many threads may ask PostgreSQL at once; others wait.
    Messages are sent by `app`, where the project has one that is to do so.
    """

    settings: Settings
    stack: LocalStack | None
    most_connections: int = MOST_CONNECTIONS
    app: Celery | None = None

    def open_database(self) -> Database:
        """Return what functions are called through."""
        return DatabasePool(*self._place, most_connections=2)

    def open_repository(self, payloads: PayloadStore) -> ExecutionRepository:
        """Return what executions are submitted, moved and read through."""
        return ExecutionRepository(
            *self._place, payloads, most_connections=self.most_connections
        )

    def build_dispatcher(self) -> ExecutionDispatcher:
        """Return what sends messages."""
        return ExecutionDispatcher(self.app or create_app(self.settings))

    @property
    def _place(self) -> tuple[str, str]:
        settings = self.settings
        assert settings.database_url is not None  # noqa: S101  # an installation has every URL
        return settings.database_url, settings.schema

    def close(self) -> None:
        """Give up the hold on the local stack; it stops with its last holder."""
        if self.stack is not None:
            self.stack.close()


def name_broker(settings: Settings, app: Celery) -> Settings:
    """Return the settings with the broker of `app`, where they name none."""
    url = app.conf.broker_write_url or app.conf.broker_url
    first = url[0] if isinstance(url, list | tuple) and url else url
    return replace(settings, broker_url=settings.broker_url or first or None)


def open_installation(settings: Settings) -> Installation:
    """Return the settings with a URL for every server.

    Raises SettingsError saying what to set when a URL is missing and the local stack
    was not asked for, and LocalStackError when it cannot run.
    """
    if not settings.local:
        _require_urls(settings)
        return Installation(settings, None)
    wants_postgres = settings.database_url is None
    wants_valkey = settings.broker_url is None
    if not (wants_postgres or wants_valkey):
        return Installation(settings, None)
    stack = LocalStack.start(
        settings.home, postgres=wants_postgres, valkey=wants_valkey
    )
    filled = replace(
        settings,
        database_url=settings.database_url or stack.urls.database_url,
        broker_url=settings.broker_url or stack.urls.broker_url,
        redis_url=settings.redis_url or stack.urls.redis_url,
    )
    if wants_postgres and filled.database_url:
        upgrade_if_needed(filled.database_url, filled.schema)
    return Installation(filled, stack)


def _require_urls(settings: Settings) -> None:
    missing = [
        name
        for name, url in (
            ("PLANS_DATABASE_URL", settings.database_url),
            ("PLANS_BROKER_URL", settings.broker_url),
        )
        if url is None
    ]
    if missing:
        raise SettingsError(
            f"{' and '.join(missing)} not set; name your servers there, or set"
            " PLANS_LOCAL=1 to run PostgreSQL and Valkey of this project's own"
        )
