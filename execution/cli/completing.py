"""What the shell is offered while a command is being typed.

Promises: it answers within a moment and writes nothing but its answer; where no
database is named, or it does not answer, there is nothing to offer. A local one is
asked if it runs, and never started.
"""

from contextlib import closing
from threading import Thread
from typing import Literal

_PATIENCE_SECONDS = 1.0


def complete_executions() -> list[tuple[str, str]]:
    """Return the ids of the newest executions."""
    return _ask("executions")


def complete_plans() -> list[tuple[str, str]]:
    """Return the names of published plans."""
    return _ask("plans")


def complete_actions() -> list[tuple[str, str]]:
    """Return the names of actions."""
    return _ask("actions")


def _ask(kind: Literal["executions", "plans", "actions"]) -> list[tuple[str, str]]:
    """Return what is offered within a moment, or nothing."""
    found: list[tuple[str, str]] = []

    def read() -> None:
        try:
            found.extend(_read(kind))
        except Exception:  # noqa: BLE001  # whatever it is, somebody is only typing
            return

    # a server that is out of reach takes ten seconds to say so
    thread = Thread(target=read, daemon=True)
    thread.start()
    thread.join(_PATIENCE_SECONDS)
    return list(found)


def _read(kind: str) -> list[tuple[str, str]]:
    # here, because every command has options that complete, and few are completed
    from .. import offers
    from ..database import Database
    from ..local import find_database_url
    from ..settings import Settings

    settings = Settings.from_environment()
    url = settings.database_url
    if url is None and settings.local:
        url = find_database_url(settings.home)
    if url is None:
        return []
    with closing(Database(url, settings.schema)) as database:
        return offers.list_words(database, kind)
