"""celery-plans, raw Celery and others on the same servers, in one run.

    python -m benchmarks [--rounds 5] [--systems raw,plans] [--workloads chains]

Prints tables and writes everything into a file for `python -m benchmarks.report`.
"""

import argparse
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.costs import count_costs
from benchmarks.machine import describe_machine
from benchmarks.results import Collector, Results
from benchmarks.rounds import Rounds
from benchmarks.stage import ROOT, open_stage
from benchmarks.systems.catalog import SYSTEMS
from benchmarks.tables import ResultTable, build_tables
from benchmarks.workloads import NAMES, Size

_COLUMNS = 110
_RESULTS = ROOT / "benchmarks" / "results"


def read_options() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=(__doc__ or "").splitlines()[0],
    )
    known = {system.name: system for system in SYSTEMS}
    parser.add_argument(
        "--rounds", type=int, help="how often; 5 unless told, or 1 of the small size"
    )
    parser.add_argument(
        "--systems",
        type=_choose_from(known),
        default=list(known),
        help=", ".join(known),
    )
    parser.add_argument(
        "--workloads",
        type=_choose_from(NAMES),
        default=list(NAMES),
        help=", ".join(NAMES),
    )
    parser.add_argument(
        "--small", action="store_true", help="too little to mean anything, but quick"
    )
    parser.add_argument("--output", type=Path, help="where the file goes")
    return parser.parse_args()


def _choose_from(known: Iterable[str]) -> Callable[[str], list[str]]:
    def choose(text: str) -> list[str]:
        words = text.split(",")
        if unknown := sorted(set(words) - set(known)):
            raise argparse.ArgumentTypeError(
                f"{unknown[0]!r} is none of {', '.join(known)}"
            )
        return words

    return choose


def measure(options: argparse.Namespace, console: Console) -> Results:
    """Run the rounds."""
    size = Size.small() if options.small else Size()
    rounds = options.rounds or (1 if options.small else 5)
    systems = [system for system in SYSTEMS if system.name in options.systems]
    collector = Collector()
    with open_stage() as stage:
        machine = describe_machine(stage)
        Rounds(
            stage,
            systems,
            options.workloads,
            size,
            rounds,
            collector,
            console.print,
        ).run()
        if "counts" in options.workloads and "plans" in options.systems:
            console.print("counts")
            count_costs(stage, collector, size)
    titles = {system.name: system.title for system in systems}
    return Results(machine, asdict(size), titles, rounds, collector.list_figures())


def print_table(table: ResultTable, console: Console) -> None:
    """Print one table, and below it what is not in it."""
    shown = Table(title=table.title)
    for heading in table.headings:
        shown.add_column(heading, justify="right" if heading else "left")
    for row in table.rows:
        shown.add_row(row.title, *row.cells)
    console.print(shown)
    for remark in table.remarks:
        console.print(f"  {remark}", style="dim")


def main() -> None:
    """Measure, write the file, and print."""
    options = read_options()
    console = Console(width=_COLUMNS)
    results = measure(options, console)
    path = options.output or _RESULTS / f"{time.strftime('%Y-%m-%d-%H%M%S')}.json"
    results.write(path)
    for table in build_tables(results):
        print_table(table, console)
    console.print(f"written: {path}")


if __name__ == "__main__":
    main()
