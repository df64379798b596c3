"""What is paused beside single executions: all of a plan, of a tag, of a queue.

Frozen values; they know neither who sets them nor what they stop.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class HoldKind(StrEnum):
    """What a hold is of."""

    PLAN = "plan"
    TAG = "tag"
    QUEUE = "queue"
    DEPENDENCY = "dependency"


@dataclass(frozen=True)
class Hold:
    """A plan, tag, queue or dependency of which no step starts, and who says so."""

    kind: HoldKind
    name: str
    by: str | None
    reason: str | None
    created_at: datetime

    def __str__(self) -> str:
        """Return what it is of: `queue io`."""
        return f"{self.kind} {self.name}"
