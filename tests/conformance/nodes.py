"""A step as the second opinion sees it: what is written, and what has become of it.

Knows no rule: what follows from what is the interpreter's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Fate:
    """What the code of a step does."""

    failing_attempts: int = 0
    is_fatal: bool = False
    asks: bool = False
    """Whether it asks if anybody wants its work, before it returns."""
    items: int = 0
    lost_attempts: int = 0
    """How many attempts lose their process."""
    takes_seconds: float = 0.0
    """How much time passes while an attempt is under way."""
    slow_attempts: int = 99
    """How many attempts take that time; those after them take none."""
    lets_others_end: bool = False
    """Whether all that can run beside it does so, before it ends."""
    cancels: bool = False
    """Whether somebody cancels the execution meanwhile."""

    def build_result(self, step: str, saw: object) -> dict[str, object]:
        """Return what the code returns."""
        return {
            "step": step,
            "saw": saw,
            "ok": self.items != 1,
            "items": list(range(self.items)),
        }


@dataclass(eq=False)
class Node:
    """A step as it stands: what is written of it, and what has become of it."""

    name: str
    written: Mapping[str, Any]
    status: str = "pending"
    reason: str | None = None
    result: object = None
    results: list[object] | None = None
    error: dict[str, object] | None = None
    attempt: int = 0
    failures: int = 0
    restores: int = 0
    section: str = "steps"
    owner: "Node | None" = None
    item: Mapping[str, object] = field(default_factory=dict)
    items: "list[Node]" = field(default_factory=list)
    parks: bool = False
    undoes: "Node | None" = None
    stands_in_for: "Node | None" = None
    fallback: "Node | None" = None
    needs: "list[Node]" = field(default_factory=list)

    @property
    def policy(self) -> object:
        return self.written.get("on_failure", "abort")

    @property
    def max_attempts(self) -> int:
        retry = self.written.get("retry") or {}
        return int(retry.get("attempts", 1))

    def reset(self) -> None:
        """Begin anew, but for what counts over all times."""
        self.status, self.reason, self.result, self.results = (
            "pending",
            None,
            None,
            None,
        )
        self.error, self.failures, self.parks, self.items = None, 0, False, []

    def outcome(self) -> dict[str, object]:
        """Return what expressions see of the step."""
        return {
            "status": self.status,
            "result": self.result,
            "results": self.results,
            "error": self.error,
            "attempt": self.attempt,
        }
