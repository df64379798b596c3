"""The numbers of a census, how they add up, and how they travel as JSON.

Promises: merging is associative, and the order of the parts does not matter, so any
split of the work gives the same census; `from_json(to_json(x)) == x`, also after the
JSON went through a database. A census is small: it grows with packages, not files.

Must not know where the numbers come from, nor what is made of them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, NamedTuple

KEPT_RECORDS = 15
KEPT_FAILURES = 100


@dataclass(frozen=True, slots=True)
class Tally:
    """The counts of one package, or of several added up."""

    files: int = 0
    failed_files: int = 0
    size_bytes: int = 0
    code_lines: int = 0
    docstring_lines: int = 0
    comment_lines: int = 0
    blank_lines: int = 0
    classes: int = 0
    functions: int = 0
    methods: int = 0
    coroutines: int = 0
    callable_lines: int = 0
    modules: int = 0
    modules_documented: int = 0
    public_classes: int = 0
    public_classes_documented: int = 0
    public_functions: int = 0
    public_functions_documented: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        """Add up, count by count."""
        return Tally(*map(sum, zip(_counts(self), _counts(other), strict=True)))

    @property
    def lines(self) -> int:
        """Return all lines of the files that parsed."""
        return (
            self.code_lines
            + self.docstring_lines
            + self.comment_lines
            + self.blank_lines
        )

    @property
    def callables(self) -> int:
        """Return functions and methods together."""
        return self.functions + self.methods

    @property
    def lines_per_callable(self) -> float | None:
        """Return the average length of functions and methods, if there are any."""
        return self.callable_lines / self.callables if self.callables else None

    @property
    def documentable(self) -> int:
        """Return how many modules, public classes and functions could be documented."""
        return self.modules + self.public_classes + self.public_functions

    @property
    def documented(self) -> int:
        """Return how many of those are."""
        return (
            self.modules_documented
            + self.public_classes_documented
            + self.public_functions_documented
        )

    @property
    def coverage(self) -> float | None:
        """Return the documented share, if there is anything to document."""
        return self.documented / self.documentable if self.documentable else None


_COLUMNS = tuple(column.name for column in fields(Tally))
_counts = attrgetter(*_COLUMNS)


class Imports(NamedTuple):
    """Import statements from one package to another."""

    all: int = 0
    eager: int = 0  # those that run as soon as the module is imported


class Record(NamedTuple):
    """A module or function among the longest."""

    lines: int
    name: str


@dataclass(frozen=True, slots=True)
class Census:
    """The census of one module, one shard or a whole library."""

    packages: Mapping[str, Tally] = field(default_factory=dict)
    imports: Mapping[tuple[str, str], Imports] = field(default_factory=dict)
    largest_modules: tuple[Record, ...] = ()
    longest_callables: tuple[Record, ...] = ()
    failures: tuple[tuple[str, str], ...] = ()

    @property
    def total(self) -> Tally:
        """Return all packages added up."""
        return sum(self.packages.values(), start=Tally())

    def to_json(self) -> dict[str, Any]:
        """Return the census as plain JSON, names sorted and column titles once."""
        imports: defaultdict[str, dict[str, list[int]]] = defaultdict(dict)
        for (source, target), count in sorted(self.imports.items()):
            imports[source][target] = list(count)
        return {
            "columns": list(_COLUMNS),
            "packages": {
                name: list(_counts(tally))
                for name, tally in sorted(self.packages.items())
            },
            "imports": dict(imports),
            "largest_modules": [list(record) for record in self.largest_modules],
            "longest_callables": [list(record) for record in self.longest_callables],
            "failures": [list(failure) for failure in self.failures],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Census":
        """Read back what `to_json` gave."""
        columns = data["columns"]
        return cls(
            packages={
                name: Tally(**dict(zip(columns, row, strict=True)))
                for name, row in data["packages"].items()
            },
            imports={
                (source, target): Imports(*count)
                for source, targets in data["imports"].items()
                for target, count in targets.items()
            },
            largest_modules=_records(data["largest_modules"]),
            longest_callables=_records(data["longest_callables"]),
            failures=tuple((path, reason) for path, reason in data["failures"]),
        )


def merge(parts: Iterable[Census]) -> Census:
    """Return the census of all parts together."""
    parts = list(parts)
    packages: defaultdict[str, Tally] = defaultdict(Tally)
    every: Counter[tuple[str, str]] = Counter()
    eager: Counter[tuple[str, str]] = Counter()
    for part in parts:
        for name, tally in part.packages.items():
            packages[name] += tally
        for edge, count in part.imports.items():
            every[edge] += count.all
            eager[edge] += count.eager
    return Census(
        packages=dict(packages),
        imports={edge: Imports(every[edge], eager[edge]) for edge in every},
        largest_modules=longest(r for part in parts for r in part.largest_modules),
        longest_callables=longest(r for part in parts for r in part.longest_callables),
        failures=tuple(sorted(f for p in parts for f in p.failures))[:KEPT_FAILURES],
    )


def longest(records: Iterable[Record]) -> tuple[Record, ...]:
    """Return the longest few; ties go by name, so that order never decides."""
    ranked = sorted(records, key=lambda record: (-record.lines, record.name))
    return tuple(ranked[:KEPT_RECORDS])


def _records(rows: Iterable[tuple[int, str]]) -> tuple[Record, ...]:
    return tuple(Record(lines, name) for lines, name in rows)
