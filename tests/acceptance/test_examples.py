"""The examples, each run by a real worker."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from execution import ExecutionEngine, ExecutionResult, ExecutionStatus, Plan, Settings
from execution.filters import ExecutionFilter
from tests.polling import wait_until
from tests.timeline import check_timeline
from tests.worker_process import ROOT, WorkerProcess

sys.path.insert(0, str(ROOT / "examples"))

from nightly_etl.sales import sum_up
from order_saga.ledger import read_effects

EXAMPLES = ROOT / "examples"
NAMES = ("stdlib_census", "nightly_etl", "order_saga", "research", "agent_loop")
PROJECTS = ("django_project", "fastapi_project")
"""Those that have tests of their own."""

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture(scope="module")
def worker(settings: Settings) -> Iterator[WorkerProcess]:
    """One worker that has the actions of all examples."""
    variables = {
        "PLANS_IMPORTS": ",".join(f"{name}.actions" for name in NAMES),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{EXAMPLES}",
    }
    with WorkerProcess.start(settings, environment=variables) as started:
        yield started


def run(engine: ExecutionEngine, path: str, **parameters: Any) -> ExecutionResult:
    plan = Plan.from_file(EXAMPLES / path)
    result = engine.execute(plan, parameters, timeout_seconds=60)
    check_timeline(engine, result.execution_id)
    return result


def test_each_example_has_a_page_and_a_short_plan() -> None:
    there = {path.parent.name for path in EXAMPLES.glob("*/README.md")}
    plans = [EXAMPLES / "stdlib_census/each.yaml", EXAMPLES / "agent_loop/turn.yaml"]
    plans += [EXAMPLES / name / "plan.yaml" for name in NAMES[1:]]

    assert there == {*NAMES, *PROJECTS}
    for plan in plans:
        assert len(plan.read_text("utf-8").splitlines()) < 60


def test_both_plans_of_the_census_come_to_one_report(
    engine: ExecutionEngine, tmp_path: Path
) -> None:
    library = tmp_path / "library"
    library.mkdir()
    for number in range(30):
        source = f'"""Module {number}."""\nimport m{number // 2}\n\ndef f(): ...\n'
        (library / f"m{number}.py").write_text(source)

    outputs = [tmp_path / "plan", tmp_path / "each"]
    for output in outputs:
        path = f"stdlib_census/{output.name}.yaml"
        result = run(engine, path, root=str(library), output=str(output))
        assert result.status is ExecutionStatus.COMPLETED, result.error

    written, beside = ((output / "census.md").read_text() for output in outputs)
    assert written == beside


@pytest.fixture
def night(tmp_path: Path) -> dict[str, str]:
    """The parameters of a load, of five files of which one is bad."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(4):
        rows = [
            f"s{number},2026-11-2{number},10.50",
            f"both,2026-11-2{number},{number}",
        ]
        text = "\n".join(["sale,day,amount", *rows]) + "\n"
        (folder / f"{number}.csv").write_text(text)
    (folder / "bad.csv").write_text("sale,day,amount\ns9,yesterday,1\n")
    return {
        "folder": str(folder),
        "database": str(tmp_path / "sales.db"),
        "report": str(tmp_path / "report.txt"),
    }


def test_a_night_loaded_twice_is_loaded_once(
    engine: ExecutionEngine, night: dict[str, str]
) -> None:
    results = [run(engine, "nightly_etl/plan.yaml", **night) for _ in range(2)]

    # four sales, and the last row of the one that all files have
    told = {"sales": 5, "cents": 4500, "left_out": ["bad.csv"]}
    assert [result.unwrap() for result in results] == [told, told]
    assert sum_up(night["database"]) == (5, 4500)
    assert "left out: bad.csv" in Path(night["report"]).read_text()


def test_a_night_with_too_many_bad_files_fails_and_is_reported(
    engine: ExecutionEngine, night: dict[str, str]
) -> None:
    (Path(night["folder"]) / "worse.csv").write_text("what is this?")

    result = run(engine, "nightly_etl/plan.yaml", **night)

    assert result.status is ExecutionStatus.FAILED
    assert f"FAILED: {result.execution_id}" in Path(night["report"]).read_text()


def test_a_night_without_its_folder_fails_and_is_reported(
    engine: ExecutionEngine, night: dict[str, str]
) -> None:
    result = run(engine, "nightly_etl/plan.yaml", **{**night, "folder": "/nowhere"})

    assert result.error is not None
    assert "/nowhere is no folder" in result.error.message
    assert f"FAILED: {result.execution_id}" in Path(night["report"]).read_text()


@pytest.fixture
def book(tmp_path: Path) -> str:
    """Where the effects of an order are booked."""
    return str(tmp_path / "ledger.db")


DONE = [("reserve", "stock", -200), ("charge", "payment", 4900), ("confirm", "mail", 1)]
UNDONE = [(f"{step}.undo", account, -n) for step, account, n in reversed(DONE)]


def effects_of(book: str) -> list[tuple[str, str, int]]:
    """Return each effect with the step that had it, in their order."""
    effects = read_effects(book)
    return [(e["key"].partition(":")[2], e["account"], e["amount"]) for e in effects]


def test_an_order_that_is_shipped_is_not_undone(
    engine: ExecutionEngine, book: str
) -> None:
    order = {"ledger": book, "cents": 4900, "parcels": 200, "address": "Main Street"}

    result = run(engine, "order_saga/plan.yaml", **order)

    assert result.unwrap() == {"charged": 4900, "shipped": 200}
    assert effects_of(book) == DONE


@pytest.mark.parametrize("lossy", [False, True])
def test_an_order_that_cannot_be_shipped_is_undone_backwards_and_once(
    engine: ExecutionEngine, book: str, lossy: bool
) -> None:
    order = {"ledger": book, "cents": 4900, "parcels": 200, "lossy": lossy}

    result = run(engine, "order_saga/plan.yaml", **order)

    assert result.error is not None
    assert "no address" in result.error.message
    assert effects_of(book) == DONE + UNDONE
    steps = engine.list_steps(result.execution_id)
    attempts = {s.attempt for s in steps if s.name != "ship"}
    assert attempts == {2 if lossy else 1}


def test_an_order_that_is_cancelled_while_it_is_packed_is_undone(
    engine: ExecutionEngine, book: str
) -> None:
    order = {"ledger": book, "cents": 4900, "parcels": 200, "address": "Main Street"}
    plan = Plan.from_file(EXAMPLES / "order_saga/plan.yaml")
    execution_id = engine.submit(plan, {**order, "packing_seconds": 0.1})
    wait_until(lambda: len(effects_of(book)) == len(DONE), what="the mail to be sent")
    wait_until(lambda: engine.list_steps(execution_id)[3].attempt == 1, what="ship")

    engine.cancel(execution_id)

    result = engine.wait(execution_id, timeout_seconds=60)
    assert result.status is ExecutionStatus.CANCELLED
    assert effects_of(book) == DONE + UNDONE
    check_timeline(engine, execution_id)


@pytest.mark.parametrize(
    ("question", "looked", "is_answered"),
    [
        ("serialize object", 2, True),
        ("serialize sections", 5, True),
        ("serialize quaternions", 5, False),
    ],
)
def test_a_question_is_looked_up_more_widely_only_if_something_is_missing(
    engine: ExecutionEngine, question: str, looked: int, is_answered: bool
) -> None:
    result = run(engine, "research/plan.yaml", question=question)

    answer, gave_up = result.unwrap().values()
    assert (answer is not None, gave_up is None) == (is_answered, is_answered)
    steps = engine.list_steps(result.execution_id)
    assert sum(s.name.startswith("look") and "[" in s.name for s in steps) == looked


@pytest.fixture
def invoices(engine: ExecutionEngine, tmp_path: Path) -> Path:
    """A folder for an agent, whose turns are published."""
    engine.publish(Plan.from_file(EXAMPLES / "agent_loop/turn.yaml"))
    folder = tmp_path / "invoices"
    folder.mkdir()
    for number, what in enumerate(["paper", "ink", "paper and ink"]):
        text = f"For {what}.\ntotal: {number + 1}.25\n"
        (folder / f"{number}.txt").write_text(text)
    return folder


def list_turns(engine: ExecutionEngine, execution_id: str) -> int:
    return len(engine.list_executions(ExecutionFilter(parent_id=execution_id)).items)


def test_an_agent_goes_on_until_it_has_an_answer(
    engine: ExecutionEngine, invoices: Path
) -> None:
    result = run(engine, "agent_loop/plan.yaml", folder=str(invoices), word="paper")

    assert result.unwrap() == {"sum": "4.50", "problem": None}
    assert (invoices / "report.md").read_text() == "paper: 4.50\n"
    # the list, three files, the sum, the report, the answer
    assert list_turns(engine, result.execution_id) == 7


@pytest.mark.parametrize(("approve", "total"), [("reading", "4.50"), ("none", None)])
def test_an_agent_does_nothing_that_is_not_approved(
    engine: ExecutionEngine, invoices: Path, approve: str, total: str | None
) -> None:
    parameters = {"folder": str(invoices), "word": "paper", "approve": approve}

    result = run(engine, "agent_loop/plan.yaml", **parameters)

    assert result.unwrap() == {"sum": total, "problem": f"{approve} is granted"}
    assert not (invoices / "report.md").exists()


def test_an_agent_that_would_need_too_many_turns_gives_up(
    engine: ExecutionEngine, invoices: Path
) -> None:
    for number in range(20):
        (invoices / f"more{number}.txt").write_text("total: 1\n")

    result = run(engine, "agent_loop/plan.yaml", folder=str(invoices), word="paper")

    answer = result.unwrap()
    assert isinstance(answer, dict)
    assert answer["sum"] is None
    assert "still false after 12 iterations" in answer["problem"]
    assert list_turns(engine, result.execution_id) == 12


def test_an_agent_tells_what_a_tool_could_not_do(
    engine: ExecutionEngine, invoices: Path
) -> None:
    gone = str(invoices / "gone")

    result = run(engine, "agent_loop/plan.yaml", folder=gone, word="paper")

    answer = result.unwrap()
    assert isinstance(answer, dict)
    assert "FileNotFoundError" in answer["problem"]
