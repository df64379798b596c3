"""Values that are too large to travel, and the references that stand for them.

Promises: pure; a value that a user has written is never taken for a reference, because
what has its form is refused wherever values come in (see `results`). A value is read
when it is first needed, and once. Must not know where values lie.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

REFERENCE_KEY = "$payload"
"""The only key of a reference; no mapping of a user's can have it."""
_FIELDS = {"path", "bytes", "sha256"}
_BEGINNING = '{"$payload":'
_PATH = re.compile(
    r"[a-z_][a-z0-9_]{0,62}/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"/[0-9]{1,10}-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.json"
)

Read: TypeAlias = "Callable[[LargeValue], Any]"
"""Returns the value that a reference stands for."""


@dataclass(frozen=True)
class LargeValue:
    """A reference: where a value lies in the store, and what it has to be."""

    path: str
    size_bytes: int
    sha256: str
    read: Read = field(repr=False, compare=False)

    @cached_property
    def value(self) -> Any:
        """The value itself; raises PayloadError when it cannot be had."""
        return self.read(self)

    def to_json(self) -> dict[str, Any]:
        """Return the reference as it is recorded."""
        return {
            REFERENCE_KEY: {
                "path": self.path,
                "bytes": self.size_bytes,
                "sha256": self.sha256,
            }
        }


def is_safe_path(path: str) -> bool:
    """Say whether a path is one of those that we make: it leads nowhere else."""
    return _PATH.fullmatch(path) is not None


def is_reference(text: str | None) -> bool:
    """Say whether a value, as JSON text of ours, is nothing but a reference."""
    return text is not None and text.startswith(_BEGINNING)


def revive(value: Any, read: Read) -> Any:
    """Return a recorded value with a LargeValue for each reference in it."""
    if isinstance(value, dict):
        found = _read_reference(value, read)
        return found or {key: revive(item, read) for key, item in value.items()}
    if isinstance(value, list):
        return [revive(item, read) for item in value]
    return value


def revive_whole(value: Any, read: Read) -> Any:
    """Return a recorded value, or the LargeValue that it is a reference to."""
    return (_read_reference(value, read) if isinstance(value, dict) else None) or value


def revive_outcome(outcome: Mapping[str, Any], read: Read) -> Mapping[str, Any]:
    """Return the outcome of a step with what its results refer to.

    Each result is whole: what is large in it has gone with all the rest.
    """
    results = outcome["results"]
    return {
        **outcome,
        "result": revive_whole(outcome["result"], read),
        "results": results and [revive_whole(result, read) for result in results],
    }


def load_all(value: Any) -> Any:
    """Return a value with what each LargeValue in it stands for."""
    match value:
        case LargeValue():
            return value.value
        case dict():
            return {key: load_all(item) for key, item in value.items()}
        case list():
            return [load_all(item) for item in value]
        case _:
            return value


def identify(value: Any) -> Any:
    """Return a value in JSON types, in which equal large values are equal."""
    match value:
        case LargeValue():
            return {REFERENCE_KEY: value.sha256}
        case dict():
            return {key: identify(item) for key, item in value.items()}
        case list():
            return [identify(item) for item in value]
        case _:
            return value


def _read_reference(value: Mapping[str, Any], read: Read) -> LargeValue | None:
    match value:
        case {"$payload": {"path": str(path), "bytes": int(size), "sha256": str(sha)}}:
            is_whole = len(value) == 1 and value[REFERENCE_KEY].keys() == _FIELDS
            return LargeValue(path, size, sha, read) if is_whole else None
        case _:
            return None
