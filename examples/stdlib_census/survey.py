"""Everything a report is about, in one value.

Promises: nothing here depends on when, where or how fast the census was taken.

Must not know Markdown or SVG.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .importgraph import Findings, read_imports
from .library import Library
from .tally import Census, Tally


@dataclass(frozen=True, slots=True)
class Survey:
    """A library, its census, and what its imports say."""

    library: Library
    census: Census
    findings: Findings

    @property
    def title(self) -> str:
        """Return what the report is called."""
        if self.library.own:
            return f"The standard library of {self.library.python}"
        return f"A library as {self.library.python} reads it"

    @property
    def largest_packages(self) -> list[tuple[str, Tally]]:
        """Return every package with its numbers, the one with most lines first."""
        packages = self.census.packages.items()
        return sorted(packages, key=lambda item: (-item[1].lines, item[0]))

    def headlines(self) -> dict[str, Any]:
        """Return the numbers that somebody asks for first, as plain JSON."""
        total = self.census.total
        coverage = total.coverage
        return {
            "python": self.library.python,
            "packages": len(self.census.packages),
            "files": total.files,
            "failed_files": total.failed_files,
            "lines": total.lines,
            "code_lines": total.code_lines,
            "classes": total.classes,
            "functions": total.functions,
            "methods": total.methods,
            "docstring_coverage": None if coverage is None else round(coverage, 4),
            "most_imported": [name for name, _ in self.findings.most_imported[:5]],
        }


def read_survey(library: Mapping[str, Any], census: Mapping[str, Any]) -> Survey:
    """Return the survey of what the scan and the join have returned."""
    about, counted = Library.from_json(library), Census.from_json(census)
    findings = read_imports(counted, about.packages, about.sourceless)
    return Survey(about, counted, findings)
