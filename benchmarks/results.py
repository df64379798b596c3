"""What a run of the benchmark has found, as it travels and as it lies in a file."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One figure of one system: a value for each sample, or why there is none."""

    workload: str
    system: str
    measure: str
    unit: str
    values: Sequence[float] = ()
    reason: str | None = None
    """Why there are no values."""

    @property
    def median(self) -> float:
        """Return the median of the values."""
        return statistics.median(self.values)

    def percentile(self, percent: int) -> float:
        """Return the value below which so many percent of the samples lie."""
        if len(self.values) < 2:
            return self.values[0]
        cuts = statistics.quantiles(self.values, n=100, method="inclusive")
        return cuts[percent - 1]


@dataclass(frozen=True)
class Results:
    """A whole run: where, with what, how much, and every figure."""

    machine: Mapping[str, Any]
    size: Mapping[str, Any]
    titles: Mapping[str, str]
    """How people are shown the systems, in the order of the tables."""
    rounds: int
    figures: Sequence[Figure] = field(default_factory=tuple)

    def find(self, workload: str, system: str, measure: str) -> Figure | None:
        """Return a figure, or None if it was not asked for."""
        for figure in self.figures:
            if (figure.workload, figure.system, figure.measure) == (
                workload,
                system,
                measure,
            ):
                return figure
        return None

    def list_measures(self, workload: str) -> dict[str, str]:
        """Return the measures of a workload, in their order, with their units."""
        return {f.measure: f.unit for f in self.figures if f.workload == workload}

    def write(self, path: Path) -> None:
        """Write the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def read_results(path: Path) -> Results:
    """Read a file that `Results.write` has written."""
    document = json.loads(path.read_text())
    figures = tuple(Figure(**figure) for figure in document.pop("figures"))
    return Results(**document, figures=figures)


class Collector:
    """Gathers figures from round to round."""

    def __init__(self) -> None:
        """Begin with none."""
        self._values: dict[tuple[str, str, str, str], list[float]] = {}
        self._reasons: dict[tuple[str, str, str, str], str] = {}

    def add(
        self, workload: str, system: str, measure: str, unit: str, *values: float
    ) -> None:
        """Keep values."""
        self._values.setdefault((workload, system, measure, unit), []).extend(values)

    def leave_out(
        self, workload: str, system: str, measure: str, unit: str, reason: str
    ) -> None:
        """Keep the reason why there are none."""
        self._reasons[workload, system, measure, unit] = reason

    def list_figures(self) -> tuple[Figure, ...]:
        """Return everything."""
        found = [Figure(*key, values=values) for key, values in self._values.items()]
        missing = [Figure(*key, reason=reason) for key, reason in self._reasons.items()]
        return (*found, *missing)
