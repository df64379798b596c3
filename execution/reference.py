"""How published plans are named: `NAME` for the current one, `NAME@VERSION` for one.

Names hold no `@`, so the first one in a text ends the name. Pure.
"""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class PlanReference:
    """A published plan as it is asked for; without a version, the current one."""

    name: str
    version: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what `NAME` or `NAME@VERSION` refers to."""
        name, mark, version = text.partition("@")
        return cls(name, version if mark else None)

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}@{self.version}"
