"""The figures of a run as Markdown, and as a plot.

python -m benchmarks.report benchmarks/results/FILE.json [--svg docs/performance.svg]
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.plot import draw_plot
from benchmarks.results import Results, read_results
from benchmarks.tables import build_tables

_FACTS = (
    ("cpu", "CPU"),
    ("cores", "cores"),
    ("memory_gb", "memory, GB"),
    ("kernel", "Linux"),
    ("load_average_before", "load before"),
    ("flush_us", "a flush to disk, µs"),
    ("python", "Python"),
    ("celery", "Celery"),
    ("kombu", "kombu"),
    ("redis", "redis-py"),
    ("psycopg2-binary", "psycopg2"),
    ("SQLAlchemy", "SQLAlchemy"),
    ("dbos", "DBOS"),
    ("procrastinate", "procrastinate"),
    ("postgresql", "PostgreSQL"),
    ("redis server", "Valkey"),
    ("fsync", "fsync"),
    ("synchronous_commit", "synchronous_commit"),
)


def render(results: Results) -> str:
    """Return everything as Markdown."""
    lines: list[str] = []
    for table in build_tables(results):
        if table.rows:
            lines += [f"**{table.title}**", ""]
            lines += _render_rows(
                table.headings, [(row.title, *row.cells) for row in table.rows]
            )
        lines += [f"- {remark}" for remark in table.remarks]
        lines.append("")
    return "\n".join([*lines, *_render_machine(results)])


def _render_rows(
    headings: Sequence[str], rows: Sequence[Sequence[str]]
) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield "|---" + "|---:" * (len(headings) - 1) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _render_machine(results: Results) -> Iterator[str]:
    facts = [
        f"{title} {results.machine[name]}"
        for name, title in _FACTS
        if name in results.machine
    ]
    yield f"Measured {results.machine['measured_at']}, {results.rounds} rounds:"
    yield f"{'; '.join(facts)}."
    yield ""


def main() -> None:
    """Print the Markdown, and write the plot if one is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--svg", type=Path, help="write the plot into this file")
    options = parser.parse_args()
    results = read_results(options.file)
    sys.stdout.write(render(results))
    if options.svg:
        options.svg.write_text(draw_plot(results))


if __name__ == "__main__":
    main()
