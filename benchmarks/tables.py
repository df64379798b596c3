"""Results as rows of text: medians, ranges, and ratios against the reference."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.results import Figure, Results
from benchmarks.workloads import NAMES, TITLES

REFERENCES = ("raw", "raw-redis", "raw-postgres")
"""What is compared with: the first of these that has a figure."""

HIGHER_IS_BETTER = frozenset({"steps/s"})


@dataclass(frozen=True)
class TableRow:
    """One system in one table."""

    title: str
    cells: Sequence[str]


@dataclass(frozen=True)
class ResultTable:
    """One measure of one workload."""

    workload: str
    title: str
    headings: Sequence[str]
    rows: Sequence[TableRow]
    remarks: Sequence[str]
    """What is not there, and why."""


def build_tables(results: Results) -> Iterator[ResultTable]:
    """Return a table for each measure that was taken."""
    for workload in NAMES:
        if workload == "counts":
            yield from _build_counts(results)
            continue
        for measure, unit in results.list_measures(workload).items():
            if measure and not measure.startswith(("CPU", "memory")):
                yield _build_table(results, workload, measure, unit)
        if workload == "chains" and results.list_measures(workload):
            yield _build_costs(results)


def find_reference(results: Results, workload: str, measure: str) -> Figure | None:
    """Return what others are compared with in this measure."""
    if workload == "submit":
        # many with one call are to be cheaper than as many by themselves
        measure = "one by one"
    for name in REFERENCES:
        figure = results.find(workload, name, measure)
        if figure is not None and figure.values:
            return figure
    return None


def _build_table(
    results: Results, workload: str, measure: str, unit: str
) -> ResultTable:
    reference = find_reference(results, workload, measure)
    figures = [results.find(workload, name, measure) for name in results.titles]
    samples = max((len(f.values) for f in figures if f), default=0)
    rows = [
        TableRow(results.titles[figure.system], _list_cells(figure, reference, results))
        for figure in figures
        if figure is not None and figure.values
    ]
    name = "" if reference is None else results.titles[reference.system]
    spread = "p99" if samples > results.rounds else "range"
    return ResultTable(
        workload,
        f"{TITLES[workload]}: {measure}, {unit}",
        ("", "median", spread, f"against {name}" if name else "ratio"),
        rows,
        _list_remarks(results, workload, measure),
    )


def _list_cells(
    figure: Figure, reference: Figure | None, results: Results
) -> Sequence[str]:
    if len(figure.values) > results.rounds:
        spread = format_number(figure.percentile(99))
    else:
        least, most = min(figure.values), max(figure.values)
        spread = f"{format_number(least)} to {format_number(most)}"
    ratio = "" if reference is None else f"{figure.median / reference.median:.2f}"
    return (format_number(figure.median), spread, ratio)


def _build_costs(results: Results) -> ResultTable:
    measures = [
        (name, unit)
        for name, unit in results.list_measures("chains").items()
        if name.startswith(("memory", "CPU"))
    ]
    rows = []
    for system, title in results.titles.items():
        figures = [results.find("chains", system, name) for name, _ in measures]
        if all(figure and figure.values for figure in figures):
            rows.append(
                TableRow(title, [format_number(f.median) for f in figures if f])
            )
    headings = ["", *[f"{name}, {unit}" for name, unit in measures]]
    return ResultTable("chains", "what a step costs", headings, rows, ())


def _build_counts(results: Results) -> Iterator[ResultTable]:
    measures = [m for m in results.list_measures("counts") if m]
    # a system that is not there has a reason here instead of a figure
    shapes = [f.system for f in results.figures if f.workload == "counts" and f.values]
    rows = []
    for shape in dict.fromkeys(shapes):
        figures = [results.find("counts", shape, measure) for measure in measures]
        cells = [format_number(f.median) for f in figures if f and f.values]
        rows.append(TableRow(shape, cells))
    if rows:
        yield ResultTable("counts", TITLES["counts"], ["", *measures], rows, ())


def _list_remarks(results: Results, workload: str, measure: str) -> Sequence[str]:
    return [
        f"{results.titles[figure.system]}: {figure.reason}"
        for figure in results.figures
        if figure.workload == workload
        and figure.measure in ("", measure)
        and figure.reason
    ]


def format_number(value: float) -> str:
    """Return three digits or so of a figure."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
