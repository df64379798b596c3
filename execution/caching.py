"""When a result may be used again, and what it is known by.

Promises: pure; the same action with the same key has the same digest, however the key
was written, and nobody can tell the key from the digest. Knows neither where results
are kept nor how keys are evaluated.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

_FORM = 1
"""Counts up when digests or results come to mean something else: none is found then."""


@dataclass(frozen=True)
class CacheRule:
    """A result may be used again for `ttl_seconds`.

    `key` is the template of what it is known by; without one, the inputs are.
    """

    ttl_seconds: float
    key: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the rule as the JSON object that is stored with a plan."""
        return {"ttl_seconds": self.ttl_seconds, "key": self.key}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the rule that is stored as `data`."""
        return cls(float(data["ttl_seconds"]), data["key"])


@dataclass(frozen=True)
class CachePlace:
    """Under which digest a step's result is found and stored, and for how long."""

    digest: str
    ttl_seconds: float


def compute_digest(action: str, kind: str, value: object) -> str:
    """Return what a result of `action` is known by, in 64 hex digits.

    `kind` says what `value` is, `key` or `inputs`: the one never stands for the other.
    """
    said = json.dumps(
        [_FORM, action, kind, value], sort_keys=True, separators=(",", ":")
    )
    return hashlib.sha256(said.encode()).hexdigest()
