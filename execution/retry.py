"""Whether an attempt is followed by another, and after how long.

Promises: pure functions of a policy, of the number of failures, which PostgreSQL
counts, and of the error: a policy does not forget when its process does. Nothing is
imported to find out what an error is, and no clock is read. Must not know who waits,
or where a policy is stored.
"""

import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from numbers import Real
from typing import Any, Self

from tenacity import RetryCallState, wait_exponential, wait_fixed, wait_random
from tenacity.wait import wait_base

from .errors import (
    ActionInputError,
    ErrorCode,
    ExecutionCancelledError,
    ExpressionError,
    FatalError,
    LoopExhaustedError,
    PayloadLostError,
    PlansError,
    ResultError,
    RetryableError,
    SecretError,
    StaleLeaseError,
    StepTimeoutError,
)
from .results import error_code

FATAL_ERRORS: tuple[type[Exception], ...] = (
    ActionInputError,
    ExecutionCancelledError,
    ExpressionError,
    FatalError,
    LoopExhaustedError,
    PayloadLostError,
    ResultError,
    SecretError,
    StaleLeaseError,
)
"""Errors that another attempt would only repeat, or that forbid one."""

MAX_RETRY_AFTER_SECONDS = 86_400.0
"""The longest wait that an error can ask for: one day."""

_MOST_DOUBLINGS = 1_000
_ERROR_CODES = frozenset(code.value for code in ErrorCode)
_PUBLIC_PACKAGES = frozenset(("execution", "celery_plans"))
_DELTA_SECONDS = re.compile(r"[0-9]+")


class RetryWait(StrEnum):
    """How the waits between attempts grow."""

    EXPONENTIAL = "exponential"
    FIXED = "fixed"
    RANDOM = "random"


@dataclass(frozen=True)
class RetryPolicy:
    """What follows the failures of a step, lost processes apart.

    `max_attempts` counts the first one too. `on` and `not_on` name errors: builtin
    ones, import paths or codes such as `E002`.
    """

    max_attempts: int = 1
    wait: RetryWait = RetryWait.EXPONENTIAL
    initial_seconds: float = 1.0
    max_seconds: float = 60.0
    jitter_seconds: float = 0.1
    on: tuple[str, ...] = ()
    not_on: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the policy as the JSON object that is stored with a plan."""
        return {
            "max_attempts": self.max_attempts,
            "wait": self.wait.value,
            "initial_seconds": self.initial_seconds,
            "max_seconds": self.max_seconds,
            "jitter_seconds": self.jitter_seconds,
            "on": list(self.on),
            "not_on": list(self.not_on),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the policy that is stored as `data`.

        What is missing has its default, and what is not known is passed over.
        Raises ValueError when `wait` is none of RetryWait.
        """
        read = {
            "wait": RetryWait,
            "initial_seconds": float,
            "max_seconds": float,
            "jitter_seconds": float,
            "on": tuple,
            "not_on": tuple,
        }
        given = {
            field.name: read.get(field.name, int)(data[field.name])
            for field in fields(cls)
            if field.name in data
        }
        return cls(**given)

    def allows(self, error: BaseException, *, failures: int) -> bool:
        """Say whether another attempt follows `error`, the `failures`-th from 1."""
        return (
            isinstance(error, Exception)
            and not isinstance(error, FATAL_ERRORS)
            and failures < self.max_attempts
            and self.covers(error)
        )

    @property
    def retries_timeouts(self) -> bool:
        """Whether an attempt that outlived its timeout may be followed by another.

        Says nothing of how many attempts are left.
        """
        return self.covers(StepTimeoutError())

    def compute_wait_seconds(
        self, failures: int, error: BaseException | None = None
    ) -> float:
        """Return how long to wait after the `failures`-th failure, counted from 1.

        It is no less than what `error` asks for by its Retry-After.
        """
        state = RetryCallState(None, None, (), {})  # type: ignore[arg-type]  # no retrying needed: a wait reads only the number
        # zero times more than a float can hold is, for tenacity, the maximum
        state.attempt_number = min(failures, _MOST_DOUBLINGS)
        wait = self._build_wait() + wait_random(0, self.jitter_seconds)
        asked = None if error is None else read_retry_after_seconds(error)
        return max(float(wait(state)), asked or 0.0)

    def _build_wait(self) -> wait_base:
        match self.wait:
            case RetryWait.EXPONENTIAL:
                return wait_exponential(
                    multiplier=self.initial_seconds, max=self.max_seconds
                )
            case RetryWait.FIXED:
                return wait_fixed(self.initial_seconds)
            case RetryWait.RANDOM:
                return wait_random(self.initial_seconds, self.max_seconds)

    def covers(self, error: Exception) -> bool:
        """Say whether `on` and `not_on` let an attempt follow `error`."""
        if any(_is_named(name, error) for name in self.not_on):
            return False
        return (
            not self.on
            or isinstance(error, RetryableError)
            or any(_is_named(name, error) for name in self.on)
        )


def _is_named(name: str, error: Exception) -> bool:
    """Say whether `name` is the code of `error`, its class or one that it extends.

    As in an `except` clause, classes that only pretend to be bases do not count.
    """
    if name in _ERROR_CODES:
        return error_code(error) == name
    return any(_is_at(path, error) for path in _list_paths(name))


def _is_at(path: str, error: Exception) -> bool:
    named = _find_loaded(path)
    return any(
        kind is named or f"{kind.__module__}.{kind.__qualname__}" == path
        for kind in type(error).__mro__
    )


def _list_paths(name: str) -> tuple[str, ...]:
    """Return where the error may be that a name means.

    Ours are found by either name of this package, whichever it was loaded under; one
    of them may be that of a package of the project's as well.
    """
    root, _, rest = name.partition(".")
    if not rest:
        return (f"builtins.{name}",)
    if root not in _PUBLIC_PACKAGES:
        return (name,)
    # the public names are in the package only after their first use
    ours = f"{__package__}.{rest}" if "." in rest else f"{PlansError.__module__}.{rest}"
    return (ours, name)


def _find_loaded(path: str) -> object:
    """Return what `path` leads to from the longest loaded module, or None."""
    parts = path.split(".")
    for length in range(len(parts) - 1, 0, -1):
        value: object = sys.modules.get(".".join(parts[:length]))
        if value is None:
            continue
        for part in parts[length:]:
            value = _read_namespace(value).get(part)
        return value
    return None


def _read_namespace(owner: object) -> Mapping[str, object]:
    try:
        # past the hooks of modules and classes that import when they are looked into
        namespace = object.__getattribute__(owner, "__dict__")
    except AttributeError:
        return {}
    return namespace if isinstance(namespace, Mapping) else {}


def read_retry_after_seconds(error: BaseException) -> float | None:
    """Return for how long `error` asks to be left alone, in seconds, one day at most.

    Looked at are `error.retry_after`, a number of seconds or a timedelta, and the
    header Retry-After in `error.response.headers` or `error.headers`. A date in it
    is measured against the header Date beside it. None where nothing usable is
    found; whatever these attributes raise is passed over.
    """
    for read in (_read_attribute, _read_response, _read_own_headers):
        # users' classes may raise anything from anywhere
        with suppress(Exception):
            seconds = read(error)
            if seconds is not None:
                return seconds
    return None


def _read_attribute(error: Any) -> float | None:
    match error.retry_after:
        case bool():
            return None
        case timedelta() as duration:
            return _bound(duration.total_seconds())
        case Real() as seconds:
            return _bound(seconds)
        case _:
            return None


def _read_response(error: Any) -> float | None:
    return _read_headers(error.response.headers)


def _read_own_headers(error: Any) -> float | None:
    return _read_headers(error.headers)


def _read_headers(headers: Any) -> float | None:
    text = _read_header(headers, "Retry-After")
    if text is None:
        return None
    if _DELTA_SECONDS.fullmatch(text):
        return _bound(float(text))
    sent_at = _read_header(headers, "Date")
    if sent_at is None:
        return None
    return _bound((_read_date(text) - _read_date(sent_at)).total_seconds())


def _read_header(headers: Any, name: str) -> str | None:
    # a plain dict minds the case, and HTTP/2 knows lower case alone
    for spelling in (name, name.lower()):
        value = headers.get(spelling)
        if isinstance(value, str):
            return value.strip()
    return None


def _read_date(text: str) -> datetime:
    date = parsedate_to_datetime(text)
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _bound(seconds: Any) -> float | None:
    # bounded first: an integer may be too large for a float
    bounded = float(min(seconds, MAX_RETRY_AFTER_SECONDS))
    return bounded if bounded >= 0 else None
