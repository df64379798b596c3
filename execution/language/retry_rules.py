"""Checks what a `retry` means, beyond the form of its fields.

Promises: each name in `on` and `not_on` can be the name of an error, and no policy
waits longer at first than it ever may. Works on what it understands of a faulty
document. Must not know which classes are installed where the steps will run, nor how
a policy is followed.
"""

import builtins
from collections.abc import Iterator, Mapping
from types import ModuleType

from .. import errors
from ..durations import DurationError, parse_duration_seconds
from ..errors import ErrorCode, PlansError
from ..places import Path, shown
from ..retry import RetryPolicy, RetryWait
from .findings import Findings
from .rules import Rule

_MAX_NAME = 255
_ERROR_CODES = frozenset(code.value for code in ErrorCode)


def _names_of(root: type[Exception], module: ModuleType) -> frozenset[str]:
    return frozenset(
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, root)
    )


_BUILTIN_ERRORS = _names_of(Exception, builtins)
_OWN_ERRORS = _names_of(PlansError, errors)
_KNOWN_NAMES = tuple(sorted(_BUILTIN_ERRORS | _ERROR_CODES))


def check_retries(document: Mapping[str, object], findings: Findings) -> None:
    """Note every fault in the meaning of the document's retry policies."""
    for policy, path in _policies(document):
        retry = policy.get("retry") if isinstance(policy, dict) else None
        if isinstance(retry, dict):
            place = (*path, "retry")
            _check_names(retry, place, findings)
            _check_waits(retry, place, findings)


def _policies(document: Mapping[str, object]) -> Iterator[tuple[object, Path]]:
    yield document.get("defaults"), ("defaults",)
    profiles = document.get("profiles")
    for name, profile in (profiles if isinstance(profiles, dict) else {}).items():
        yield profile, ("profiles", name)
    steps = document.get("steps")
    for position, step in enumerate(steps if isinstance(steps, list) else []):
        yield step, ("steps", position)
        if isinstance(step, dict):
            yield step.get("undo"), ("steps", position, "undo")


def _check_names(retry: dict[str, object], path: Path, findings: Findings) -> None:
    for field in ("on", "not_on"):
        names = retry.get(field)
        for index, name in enumerate(names if isinstance(names, list) else []):
            message = _name_fault(name, findings) if isinstance(name, str) else None
            if message:
                place = (*path, field, index)
                findings.add(place, Rule.UNKNOWN_ERROR, message)


def _name_fault(name: str, findings: Findings) -> str | None:
    if name in _BUILTIN_ERRORS or name in _ERROR_CODES:
        return None
    parts = name.split(".")
    if len(name) > _MAX_NAME or not all(part.isidentifier() for part in parts):
        return (
            f"{shown(name)}: must be a builtin exception, an import path or an error"
            " code, such as OSError, requests.ConnectionError or E002"
        )
    if len(parts) > 1:
        return None
    if name in _OWN_ERRORS:
        return f"{shown(name)}: write it with its module, execution.errors.{name}"
    near = findings.suggestion(name, _KNOWN_NAMES)
    how_to = "; write any other with its module, such as requests.ConnectionError"
    return f"no builtin exception or error code is called {shown(name)}{near or how_to}"


def _check_waits(retry: dict[str, object], path: Path, findings: Findings) -> None:
    if retry.get("wait") == RetryWait.FIXED and "max" not in retry:
        return  # such a wait is `initial` for ever, and nothing else was said
    initial = _seconds(retry, "initial", RetryPolicy.initial_seconds)
    longest = _seconds(retry, "max", RetryPolicy.max_seconds)
    if initial is None or longest is None or initial <= longest:
        return
    if "initial" in retry:
        unless = "" if "max" in retry else " by default"
        message = f"is longer than `max`, {longest:g} s{unless}; lower it or raise that"
        message = f"{shown(retry['initial'])}: {message}"
        findings.add((*path, "initial"), Rule.WAIT_ORDER, message)
    else:
        message = f"is shorter than `initial`, {initial:g} s by default; write both"
        message = f"{shown(retry['max'])}: {message}"
        findings.add((*path, "max"), Rule.WAIT_ORDER, message)


def _seconds(retry: dict[str, object], name: str, default: float) -> float | None:
    """Return the length of a wait, or None where it is no duration."""
    text = retry.get(name)
    if not isinstance(text, str):
        return None if name in retry else default
    try:
        return parse_duration_seconds(text)
    except DurationError:
        return None
