"""Settings, read once from the environment, typed and checked.

Promises: a misspelt `PLANS_…` variable is refused with the name it resembles; a
value that cannot work is refused before anything starts; URLs, which may hold
passwords, stay out of `repr`. Knows nothing of the servers that the URLs name.
"""

import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import partial
from pathlib import Path

from execution.errors import SettingsError

_PREFIX = "PLANS_"
_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_RESOLVER = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


class CatalogueCheck(StrEnum):
    """What of a plan is compared with the catalogue of actions before it is stored."""

    STRICT = "strict"
    """Every action must have been published by some worker, and its inputs fit it."""
    KNOWN = "known"
    """The same, but while the catalogue is empty all is let through."""
    OFF = "off"
    """Nothing."""


@dataclass(frozen=True)
class Settings:
    """Everything that an installation can choose.

    Every field is the variable `PLANS_<FIELD IN CAPITALS>`. Times are seconds.
    """

    database_url: str | None = field(default=None, repr=False)
    """PostgreSQL, as `postgresql+psycopg2://user@host/name`."""
    broker_url: str | None = field(default=None, repr=False)
    """Where Celery's messages go: Redis, Valkey or RabbitMQ."""
    redis_url: str | None = field(default=None, repr=False)
    """Redis for the fan-out of events; the broker, where that is a Redis."""
    schema: str = "celery_plans"
    """The PostgreSQL schema that holds every object of this package."""
    imports: tuple[str, ...] = ()
    """Modules that register actions when they are imported."""
    home: Path = Path(".plans")
    """Where the local stack keeps its data, logs and sockets."""
    local: bool = False
    """Run or adopt the local stack for every server without a URL."""
    queue: str = "plans"
    """The queue of steps that name none."""
    lease_seconds: float = 30.0
    """How long a silent worker keeps its steps."""
    ride: bool = True
    """Let a worker go on with the steps of an execution without a message for each."""
    secrets_dir: Path | None = None
    """A folder with a file for each secret, named like it, for workers."""
    secret_resolver: str | None = None
    """A function `module:name` that workers ask for secrets."""

    payloads: str | None = field(default=None, repr=False)
    """Where large values lie: a folder or a URL of fsspec; `payloads` in the home."""

    check: CatalogueCheck = CatalogueCheck.KNOWN
    """Whether a submit compares its plan with the catalogue of actions."""

    @property
    def beat_seconds(self) -> float:
        """Time between two heartbeats of a worker."""
        return self.lease_seconds / 6

    @property
    def tick_seconds(self) -> float:
        """Time between two rounds of a reconciler, and its share of the pulse."""
        return self.lease_seconds / 12

    @property
    def payloads_url(self) -> str:
        """Return where large values lie."""
        return self.payloads or str(self.home.absolute() / "payloads")

    @property
    def events_url(self) -> str | None:
        """Return the Redis that carries events, or None: readers then only poll."""
        if self.redis_url:
            return self.redis_url
        broker = self.broker_url or ""
        return broker if broker.startswith(_REDIS_SCHEMES) else None

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] | None = None
    ) -> "Settings":
        """Read the settings from `environment`, by default the process's own.

        Raises SettingsError for a misspelt name or a value that cannot work.
        """
        source = os.environ if environment is None else environment
        _refuse_near_misses(source)
        values = {
            name: _READERS.get(name, str)(source[variable])
            for name, variable in _VARIABLES.items()
            if source.get(variable)
        }
        settings = cls(**values)  # type: ignore[arg-type]  # each reader returns its field's type
        _check(settings)
        return settings


_VARIABLES = {f.name: _PREFIX + f.name.upper() for f in fields(Settings)}
SECRET_PREFIX = "PLANS_SECRET_"  # noqa: S105  # of variables, which hold them
"""Begins the names of variables that hold secrets, which authors of plans choose."""
_FOREIGN_VARIABLES = frozenset({"PLANS_WORKER_BOARD"})
"""Set by our own processes for their children; not settings."""


def _read_words(text: str) -> tuple[str, ...]:
    return tuple(word for word in re.split(r"[,\s]+", text) if word)


def _read_flag(name: str, text: str) -> bool:
    lowered = text.lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"0", "false", "no", "off"}:
        return False
    raise SettingsError(f"{name}={text!r} is neither 1 nor 0")


def _read_folder_or_url(text: str) -> str:
    # a folder is one of this process, whose children may begin elsewhere
    is_url = "://" in text or "::" in text
    return text if is_url else str(Path(text).absolute())


def _read_seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SettingsError(
            f"PLANS_LEASE_SECONDS={text!r} is not a number of seconds"
        ) from None


def _read_check(text: str) -> CatalogueCheck:
    try:
        return CatalogueCheck(text.lower())
    except ValueError:
        words = ", ".join(CatalogueCheck)
        raise SettingsError(f"PLANS_CHECK={text!r} is none of {words}") from None


_READERS: dict[str, Callable[[str], object]] = {
    "imports": _read_words,
    "home": Path,
    "secrets_dir": Path,
    "payloads": _read_folder_or_url,
    "local": partial(_read_flag, "PLANS_LOCAL"),
    "ride": partial(_read_flag, "PLANS_RIDE"),
    "lease_seconds": _read_seconds,
    "check": _read_check,
}


def _refuse_near_misses(source: Mapping[str, str]) -> None:
    known = set(_VARIABLES.values())
    for name in source:
        if name in known or name in _FOREIGN_VARIABLES or not name.startswith(_PREFIX):
            continue
        if name.startswith(SECRET_PREFIX):
            continue
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        if nearest:
            raise SettingsError(f"{name} is not a setting; did you mean {nearest[0]}?")


def _check(settings: Settings) -> None:
    if not _SCHEMA_NAME.fullmatch(settings.schema):
        raise SettingsError(
            f"PLANS_SCHEMA={settings.schema!r} must be a plain lower-case name"
        )
    if not 1 <= settings.lease_seconds <= 3600:
        raise SettingsError(
            f"PLANS_LEASE_SECONDS={settings.lease_seconds:g} must be from 1 to 3600"
        )
    url = settings.database_url
    if url and not url.startswith(("postgresql+psycopg2://", "postgresql://")):
        raise SettingsError(
            "PLANS_DATABASE_URL must start with postgresql+psycopg2:// or postgresql://"
        )
    resolver = settings.secret_resolver
    if resolver is not None and not _RESOLVER.fullmatch(resolver):
        raise SettingsError(
            f"PLANS_SECRET_RESOLVER={resolver!r} must be written module:function"
        )
    if settings.redis_url and not settings.redis_url.startswith(_REDIS_SCHEMES):
        raise SettingsError(
            "PLANS_REDIS_URL must start with redis://, rediss:// or unix://"
        )
