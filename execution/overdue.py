"""Running steps that should have ended by themselves, as a sweep finds them.

Pure. It must not know how they are ended.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .retry import RetryPolicy


class OverdueCause(StrEnum):
    """What a running step has outlived: its timeout, or the cancel of its execution."""

    TIMEOUT = "timeout"
    CANCEL = "cancel"


@dataclass(frozen=True)
class OverdueStep:
    """A step that should have ended by itself; `failures` counts this one too."""

    execution_id: str
    position: int
    token: str
    attempt: int
    failures: int
    retry: RetryPolicy
    cause: OverdueCause = OverdueCause.TIMEOUT


def read_overdue(
    execution_id: str,
    position: int,
    token: str,
    attempt: int,
    failures: int,
    retry: Any,
    cause: str,
) -> OverdueStep:
    """Return what a sweep has found in its columns."""
    policy = RetryPolicy.from_json(retry)
    return OverdueStep(
        execution_id, position, token, attempt, failures, policy, OverdueCause(cause)
    )
