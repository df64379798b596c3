"""From settings to servers that answer: the user's own, or the local stack.

A URL in the settings is used as it is, and its database is never migrated silently.
Where the local stack is asked for by name, it stands in for every URL that is
missing, and brings its own database up to date.
"""

from dataclasses import dataclass, replace

from execution.errors import SettingsError
from execution.local import LocalStack
from execution.schema import upgrade_if_needed
from execution.settings import Settings


@dataclass(frozen=True)
class Installation:
    """Settings with every URL filled in, and the stack that this process holds."""

    settings: Settings
    stack: LocalStack | None

    def close(self) -> None:
        """Give up the hold on the local stack; it stops with its last holder."""
        if self.stack is not None:
            self.stack.close()


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
