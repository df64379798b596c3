"""The database that a command is about, when it needs no engine.

Promises: a local one is running while it is used. Must not know what for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..errors import SettingsError
from ..local import LocalStack
from ..masking import mask
from ..settings import Settings


@dataclass(frozen=True)
class Target:
    """The database that is meant, and the schema in it."""

    url: str
    schema: str

    def __str__(self) -> str:
        return f"schema {self.schema} of {mask(self.url)}"


@contextmanager
def open_target(settings: Settings) -> Iterator[Target]:
    """Give the database that the settings name, or the local one.

    Raises SettingsError when there is neither.
    """
    if settings.database_url is not None:
        yield Target(settings.database_url, settings.schema)
        return
    if not settings.local:
        raise SettingsError(
            "PLANS_DATABASE_URL is not set; name your database there, or use --local"
        )
    with LocalStack.start(settings.home, valkey=False) as stack:
        assert stack.urls.database_url is not None  # noqa: S101  # PostgreSQL was asked for
        yield Target(stack.urls.database_url, settings.schema)
