"""What a recovery strategy can decide of a step that has failed for good.

A strategy is published, claimed and run like an action, under a name of its own kind.
Pure: knows nothing of who asks, nor of what a decision leads to.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from .errors import ResultError

STRATEGY_PREFIX = "strategy:"
"""What the name of a strategy begins with, where those of actions stand."""
MOST_RECOVERIES = 10
"""How often a strategy can let the execution go back for one step."""


class RecoveryKind(StrEnum):
    """What becomes of the step that failed."""

    COMPLETE = "complete"
    SKIP = "skip"
    ABORT = "abort"
    RESTORE = "restore"


@dataclass(frozen=True)
class Recovery:
    """A decision; the class methods make one."""

    kind: RecoveryKind
    result: Any = None
    step: str | None = None

    @classmethod
    def complete(cls, result: Any = None) -> Self:
        """Let the step have succeeded, with this result, which must be JSON."""
        return cls(RecoveryKind.COMPLETE, result=result)

    @classmethod
    def skip(cls) -> Self:
        """Let the step be skipped, as under `on_failure: skip`."""
        return cls(RecoveryKind.SKIP)

    @classmethod
    def abort(cls) -> Self:
        """Let the failure end the execution."""
        return cls(RecoveryKind.ABORT)

    @classmethod
    def retry(cls) -> Self:
        """Let the step begin anew: a restore of the step itself."""
        return cls(RecoveryKind.RESTORE)

    @classmethod
    def restore(cls, step: str) -> Self:
        """Let the execution go back to before `step`, which this one waits for."""
        return cls(RecoveryKind.RESTORE, step=step)

    def to_json(self) -> dict[str, Any]:
        """Return the decision as a JSON object, if the result is JSON."""
        return {"kind": self.kind.value, "result": self.result, "step": self.step}


def read_decision(returned: object) -> dict[str, Any]:
    """Return what a strategy has decided, as JSON.

    Raises ResultError for what is no decision.
    """
    if not isinstance(returned, Recovery):
        raise ResultError(
            f"a strategy returns a Recovery, such as Recovery.skip(), and this one"
            f" returned {type(returned).__name__}"
        )
    return returned.to_json()
