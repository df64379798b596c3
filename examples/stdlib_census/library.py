"""What is known of a library before its sources are read.

Promises: `from_json(to_json(x)) == x`.

Must not know how it was found out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class LeftOut(NamedTuple):
    """Files that were found and, for one reason, are not part of the census."""

    reason: str
    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Library:
    """A library tree and the interpreter that reads it."""

    root: str
    python: str
    own: bool  # the interpreter's own library, not a tree that somebody named
    packages: tuple[str, ...]
    sourceless: tuple[str, ...]  # built in, compiled, or of another platform
    left_out: tuple[LeftOut, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the library as plain JSON."""
        return {
            "root": self.root,
            "python": self.python,
            "own": self.own,
            "packages": list(self.packages),
            "sourceless": list(self.sourceless),
            "left_out": [list(row) for row in self.left_out],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Library":
        """Read back what `to_json` gave."""
        return cls(
            root=data["root"],
            python=data["python"],
            own=data["own"],
            packages=tuple(data["packages"]),
            sourceless=tuple(data["sourceless"]),
            left_out=tuple(LeftOut(*row) for row in data["left_out"]),
        )
