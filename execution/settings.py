"""Settings, read once from the environment, typed and checked.

Promises: a misspelt `PLANS_…` variable is refused with the name it resembles; a
value that cannot work is refused before anything starts; URLs, which may hold
passwords, stay out of `repr`, and may stand in files (see `variables`). Knows nothing
of the servers that the URLs name.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from .errors import SettingsError
from .observations import USUAL_CAPTURE, CaptureChoice
from .transit import Transit
from .variables import FILE_SUFFIX, PREFIX, read_given, refuse_near_misses

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

    Every field is the variable `PLANS_<FIELD IN CAPITALS>`. Times are seconds. What
    stays out of `repr` may hold a password, and may be given as `PLANS_<FIELD>_FILE`,
    too: the path of a file with the value.
    """

    database_url: str | None = field(default=None, repr=False)
    """PostgreSQL, as `postgresql+psycopg2://user@host/name`."""
    broker_url: str | None = field(default=None, repr=False)
    """Where Celery's messages go: Redis, Valkey or RabbitMQ."""
    redis_url: str | None = field(default=None, repr=False)
    """Redis for the fan-out of events; the broker, where that is a Redis."""
    tls_ca: Path | None = None
    """A file with the authorities whose certificates prove who the servers are."""
    plaintext_hosts: tuple[str, ...] = ()
    """Hosts, beside this machine, that may be spoken to without TLS."""
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
    drain_seconds: float = 20.0
    """How long a worker that is told to stop lets its steps run on."""
    cancel_grace_seconds: float = 30.0
    """How long steps that run may take to end after a cancel, before they are cut."""
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

    health_file: Path | None = None
    """Where a worker says how it does, for `plans health`; `%n` is its name."""

    capture: CaptureChoice = USUAL_CAPTURE
    """What workers store of what actions log and print; see `CaptureChoice`."""

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
        # of several brokers the first: hints may be lost
        broker = (self.broker_url or "").partition(";")[0]
        return broker if broker.startswith(_REDIS_SCHEMES) else None

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] | None = None
    ) -> "Settings":
        """Read the settings from `environment`, by default the process's own.

        Raises SettingsError for a misspelt name or a value that cannot work.
        """
        source = os.environ if environment is None else environment
        refuse_near_misses(source, {*_FIELDS, *_POINTERS})
        given = read_given(source, _FIELDS, FILED_VARIABLES)
        values = {
            (name := _FIELDS[variable]): _READERS.get(name, str)(text)
            for variable, text in given
        }
        settings = cls(**values)  # type: ignore[arg-type]  # each reader returns its field's type
        _check(settings)
        return _secure(settings)


_FIELDS = {f"{PREFIX}{f.name.upper()}": f.name for f in fields(Settings)}
FILED_VARIABLES = tuple(
    f"{PREFIX}{f.name.upper()}" for f in fields(Settings) if not f.repr
)
"""Those whose value may hold a password, and stand in a file."""
_POINTERS = tuple(f"{name}{FILE_SUFFIX}" for name in FILED_VARIABLES)


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


def _read_absolute_path(text: str) -> Path:
    # a worker may be told to work in another folder (`celery --workdir`)
    return Path(text).absolute()


def _read_seconds(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SettingsError(f"{name}={text!r} is not a number of seconds") from None


def _read_check(text: str) -> CatalogueCheck:
    try:
        return CatalogueCheck(text.lower())
    except ValueError:
        words = ", ".join(CatalogueCheck)
        raise SettingsError(f"PLANS_CHECK={text!r} is none of {words}") from None


def _read_capture(text: str) -> CaptureChoice:
    try:
        return CaptureChoice.read(text)
    except ValueError as error:
        raise SettingsError(f"PLANS_CAPTURE={text!r}: {error}") from None


_READERS: dict[str, Callable[[str], object]] = {
    "imports": _read_words,
    "home": Path,
    "secrets_dir": Path,
    "tls_ca": lambda text: Path(text).absolute(),
    "plaintext_hosts": _read_words,
    "health_file": _read_absolute_path,
    "payloads": _read_folder_or_url,
    "local": partial(_read_flag, "PLANS_LOCAL"),
    "ride": partial(_read_flag, "PLANS_RIDE"),
    "lease_seconds": partial(_read_seconds, "PLANS_LEASE_SECONDS"),
    "drain_seconds": partial(_read_seconds, "PLANS_DRAIN_SECONDS"),
    "cancel_grace_seconds": partial(_read_seconds, "PLANS_CANCEL_GRACE_SECONDS"),
    "check": _read_check,
    "capture": _read_capture,
}


def _secure(settings: Settings) -> Settings:
    """Return the settings with URLs that let servers prove who they are.

    Raises SettingsError for one that leads to another machine in the clear.
    """
    authorities = settings.tls_ca
    if authorities is not None and not authorities.is_file():
        raise SettingsError(
            f"PLANS_TLS_CA={str(authorities)!r} is not a file; it holds certificates of"
            " authorities, as PEM"
        )
    # libpq looks into that of the process, whoever reads the settings
    transit = Transit(settings.plaintext_hosts, authorities, os.environ)
    if settings.payloads:
        transit.check_store("PLANS_PAYLOADS", settings.payloads)
    secure: dict[str, Callable[[str, str], str]] = {
        "database_url": transit.secure_database,
        "broker_url": transit.secure_brokers,
        "redis_url": transit.secure_redis,
    }
    proven: dict[str, Any] = {
        name: prove(f"{PREFIX}{name.upper()}", url)
        for name, prove in secure.items()
        if (url := getattr(settings, name))
    }
    return replace(settings, **proven)


def _check(settings: Settings) -> None:
    if not _SCHEMA_NAME.fullmatch(settings.schema):
        raise SettingsError(
            f"PLANS_SCHEMA={settings.schema!r} must be a plain lower-case name"
        )
    if not 1 <= settings.lease_seconds <= 3600:
        raise SettingsError(
            f"PLANS_LEASE_SECONDS={settings.lease_seconds:g} must be from 1 to 3600"
        )
    for name in ("drain_seconds", "cancel_grace_seconds"):
        if not 0 <= (seconds := getattr(settings, name)) <= 86_400:
            raise SettingsError(
                f"PLANS_{name.upper()}={seconds:g} must be from 0 to 86400"
            )
    resolver = settings.secret_resolver
    if resolver is not None and not _RESOLVER.fullmatch(resolver):
        raise SettingsError(
            f"PLANS_SECRET_RESOLVER={resolver!r} must be written module:function"
        )
    _check_urls(settings)


def _check_urls(settings: Settings) -> None:
    url = settings.database_url
    if url and not url.startswith(("postgresql+psycopg2://", "postgresql://")):
        raise SettingsError(
            "PLANS_DATABASE_URL must start with postgresql+psycopg2:// or postgresql://"
        )
    if settings.redis_url and not settings.redis_url.startswith(_REDIS_SCHEMES):
        raise SettingsError(
            "PLANS_REDIS_URL must start with redis://, rediss:// or unix://"
        )
