"""What is found wrong while a plan is read, before it becomes an error.

Promises: findings keep the path to their place, one per place, and a hostile
document cannot make the list endless. Knows nothing of plans or file formats.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from execution.errors import Fault

Path: TypeAlias = tuple[str | int, ...]
Locate: TypeAlias = Callable[["Finding"], tuple[int, int] | None]

MAX_FAULTS = 1000

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_MAX_SHOWN = 60
_MAX_PARTS = 16
_MAX_LENGTH_APART = 3
_MAX_SUGGESTIONS = 20


@dataclass(frozen=True)
class Finding:
    """A fault with its path; `offset` counts characters of the text, if known."""

    path: Path
    message: str
    offset: int | None = None


class Findings:
    """Collects findings; the first one at a place wins.

    Later stages often stumble over what an earlier one has already reported,
    and a second complaint about the same value only hides the cause.
    """

    def __init__(self) -> None:
        self._found: dict[Path, Finding] = {}
        self._dropped = 0
        self._suggestions = 0

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, path: Path) -> bool:
        return path in self._found

    def add(self, path: Path, message: str, offset: int | None = None) -> None:
        """Note that `message` is wrong at `path`."""
        if path in self._found:
            return
        if len(self._found) >= MAX_FAULTS:
            self._dropped += 1
            return
        self._found[path] = Finding(path, message, offset)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._found.values())

    def suggestion(self, name: str, known: Iterable[str]) -> str:
        """Return `; did you mean "x"?`, for the first few names that are asked for.

        Comparing one name with 10,000 takes tens of milliseconds, which a document
        full of unknown names would turn into hours.
        """
        self._suggestions += 1
        return nearest(name, known) if self._suggestions <= _MAX_SUGGESTIONS else ""

    def adopt(self, others: "Findings", path: Path) -> None:
        """Add what was found in a value that stands at `path`."""
        for finding in others:
            self.add((*path, *finding.path), finding.message)

    def faults(self, source: str, locate: Locate) -> tuple[Fault, ...]:
        """Return all findings as faults, in the order of the text if there is one.

        `source` stands for the whole document; `locate` gives line and column.
        """
        faults = []
        for finding in self:
            line, column = locate(finding) or (None, None)
            place = place_of(finding.path) or source
            faults.append(Fault(place, finding.message, line, column))
        faults.sort(key=lambda fault: (fault.line or 0, fault.column or 0))
        if self._dropped:
            faults.append(Fault(source, f"has {self._dropped} more faults, not shown"))
        return tuple(faults)


def place_of(path: Path) -> str:
    """Write a path the way people point: `steps[3].with.root`."""
    text = ""
    for part in path[:_MAX_PARTS]:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{shown(part)}]"
    return text if len(path) <= _MAX_PARTS else f"{text}…"


def shown(value: object) -> str:
    """Return a short quotation of a value that is safe to print on a terminal."""
    if isinstance(value, str):
        cut = value[:_MAX_SHOWN]
        return json.dumps(cut) + ("…" if len(value) > len(cut) else "")
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list) else json.dumps(value)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean "x"?` for the most similar known name, or nothing."""
    name = name[:_MAX_SHOWN]
    candidates = [
        other for other in known if abs(len(other) - len(name)) <= _MAX_LENGTH_APART
    ]
    near = difflib.get_close_matches(name, candidates, n=1)
    return f"; did you mean {shown(near[0])}?" if near else ""
