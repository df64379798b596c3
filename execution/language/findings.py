"""What is found wrong while a plan is read, before it becomes an error.

Promises: findings keep the path to their place, one per place, and a hostile
document cannot make the list endless. Knows nothing of plans or file formats.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from ..errors import Fault
from ..places import Path, nearest, place_of
from .rules import Rule

Locate: TypeAlias = Callable[["Finding"], tuple[int, int] | None]

MAX_FAULTS = 1000

_MAX_SUGGESTIONS = 20


@dataclass(frozen=True)
class Finding:
    """A fault with its path; `offset` counts characters of the text, if known."""

    path: Path
    rule: Rule
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

    def add(
        self, path: Path, rule: Rule, message: str, offset: int | None = None
    ) -> None:
        """Note that `rule` is broken at `path`, as `message` says."""
        if path in self._found:
            return
        if len(self._found) >= MAX_FAULTS:
            self._dropped += 1
            return
        self._found[path] = Finding(path, rule, message, offset)

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
            self.add((*path, *finding.path), finding.rule, finding.message)

    def faults(self, source: str, locate: Locate) -> tuple[Fault, ...]:
        """Return all findings as faults, by line if there is a text, else by place.

        `source` stands for the whole document; `locate` gives line and column.
        """
        located = [(locate(finding) or (None, None), finding) for finding in self]
        located.sort(key=_text_order)
        faults = [
            Fault(
                place_of(finding.path) or source,
                finding.message,
                line,
                column,
                rule=finding.rule,
            )
            for (line, column), finding in located
        ]
        if self._dropped:
            message = f"has {self._dropped} more faults, not shown"
            faults.append(Fault(source, message, rule=Rule.MORE_FAULTS))
        return tuple(faults)


def _text_order(
    located: tuple[tuple[int | None, int | None], Finding],
) -> tuple[int, int, list[tuple[int, str]]]:
    (line, column), finding = located
    path = [(part, "") if isinstance(part, int) else (0, part) for part in finding.path]
    return line or 0, column or 0, path
