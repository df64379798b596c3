"""What `plans up` says: where everything is, and what happens.

Promises: a password that somebody else has chosen is never said; the lines to export
are fit for a shell. It must not know how anything is started.
"""

import shlex
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from rich.console import Console

from ..masking import mask
from ..settings import Settings
from .flower import FlowerLogin


def print_places(
    console: Console,
    given: Settings,
    filled: Settings,
    logs: Path,
    login: FlowerLogin | None,
) -> None:
    """Say where everything is; `given` are the settings before servers were found."""
    rows = [
        ("PostgreSQL", mask((filled.database_url or "").replace("+psycopg2", ""))),
        ("broker", mask(filled.broker_url or "")),
        ("events", mask(filled.events_url or "none: readers only poll")),
        ("actions", ", ".join(filled.imports) or "none: set PLANS_IMPORTS"),
        ("logs", str(logs)),
    ]
    if login is not None:
        rows.append(
            ("Flower", f"{login.url}  user {login.user}, password {login.password}")
        )
    for name, place in rows:
        console.print(f"{name:<12}{place}", soft_wrap=True)
    exports = _list_exports(given, filled)
    if exports:
        console.print("\nIn other terminals:")
        for name, value in exports:
            console.print(f"  export {name}={shlex.quote(value)}", soft_wrap=True)
        console.print("or, in this directory: plans --local …")
    console.print("\nCtrl-C ends it all.\n")


def build_speaker(console: Console) -> Callable[[str], None]:
    """Return a function that says a sentence with the time of day."""

    def say(text: str) -> None:
        now = datetime.now().astimezone().strftime("%H:%M:%S")
        console.print(f"{now}  {text}", soft_wrap=True)

    return say


def _list_exports(given: Settings, filled: Settings) -> list[tuple[str, str]]:
    # what the environment names already holds in other terminals as it does here
    pairs = [
        ("PLANS_DATABASE_URL", given.database_url, filled.database_url),
        ("PLANS_BROKER_URL", given.broker_url, filled.broker_url),
        ("PLANS_REDIS_URL", given.redis_url, filled.redis_url),
    ]
    return [(name, after) for name, before, after in pairs if after and not before]
