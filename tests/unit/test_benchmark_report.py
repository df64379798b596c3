"""What the benchmark says: ratios the right way round, and nothing hidden."""

from pathlib import Path
from xml.etree import ElementTree

from benchmarks.counting import read_statements
from benchmarks.plot import draw_plot
from benchmarks.report import render
from benchmarks.results import Collector, Results, read_results
from benchmarks.tables import build_tables


def build_results() -> Results:
    collector = Collector()
    collector.add("chains", "raw", "rate", "steps/s", 700.0, 800.0, 900.0)
    collector.add("chains", "plans", "rate", "steps/s", 1500.0, 1600.0, 1700.0)
    collector.leave_out("chains", "dbos", "", "", "not installed")
    collector.add("submit", "raw", "one by one", "s", 1.0)
    collector.add("submit", "plans", "one by one", "s", 2.0)
    collector.add("submit", "plans", "in bulk", "s", 0.25)
    return Results(
        machine={"measured_at": "today", "cpu": "one of those"},
        size={},
        titles={"raw": "Celery", "plans": "celery-plans", "dbos": "DBOS"},
        rounds=3,
        figures=collector.list_figures(),
    )


def test_a_file_holds_all_of_a_run(tmp_path: Path) -> None:
    path = tmp_path / "results" / "run.json"

    build_results().write(path)

    assert render(read_results(path)) == render(build_results())


def test_a_ratio_is_that_of_medians_and_bulk_is_compared_with_single_submits() -> None:
    text = render(build_results())

    assert "| celery-plans | 1,600 | 1,500 to 1,700 | 2.00 |" in text
    assert "| celery-plans | 0.25 | 0.25 to 0.25 | 0.25 |" in text


def test_what_is_not_there_is_said() -> None:
    (chains, *_) = build_tables(build_results())

    assert [row.title for row in chains.rows] == ["Celery", "celery-plans"]
    assert list(chains.remarks) == ["DBOS: not installed"]


def test_the_plot_shows_times_as_speeds() -> None:
    root = ElementTree.fromstring(draw_plot(build_results()))  # noqa: S314  # our own

    texts = [element.text for element in root.iter() if element.text]
    # twice the rate, twice the seconds, a quarter of the seconds
    assert [text for text in texts if text.endswith("0x")] == [
        "2.00x",
        "0.50x",
        "4.00x",
    ]


def test_statements_are_counted_by_function_and_by_transaction() -> None:
    told = read_statements(
        [
            '[7] LOG:  duration: 0.2 ms  statement: SELECT * FROM "s".claim_step(1)',
            "[7] LOG:  checkpoint starting: time",
            "[8] LOG:  duration: 0.1 ms  statement: BEGIN",
            '[8] LOG:  duration: 0.1 ms  statement: SELECT * FROM "s".beat(2)',
            '[8] LOG:  duration: 0.1 ms  statement: SELECT * FROM "s".beat(3)',
            "[8] LOG:  duration: 0.1 ms  statement: COMMIT",
        ]
    )

    assert told.calls == {"claim_step": 1, "BEGIN": 1, "beat": 2, "COMMIT": 1}
    assert told.transactions == 2
