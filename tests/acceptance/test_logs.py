"""What real steps log and print is stored while they run, in every pool of Celery."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from execution import ExecutionEngine, LogLine, Plan, Settings, Step
from tests.polling import wait_until
from tests.timeline import check_timeline
from tests.worker_process import WorkerProcess

SLOTS = {"prefork": 2, "threads": 2, "solo": 1}


@pytest.fixture(scope="module", params=SLOTS)
def pool(request: pytest.FixtureRequest) -> str:
    """A pool; every test that asks for it runs with each."""
    return str(request.param)


@pytest.fixture(scope="module")
def worker(settings: Settings, pool: str) -> Iterator[WorkerProcess]:
    """A worker of that pool; it lives through every test."""
    with WorkerProcess.start(settings, slots=SLOTS[pool], pool=pool) as started:
        yield started


def telling(word: str, gate: Path | None = None, queue: str | None = None) -> Plan:
    inputs = {"word": word, "gate": None if gate is None else str(gate)}
    return Plan("telling", steps=[Step("s", "test.tell", inputs, queue=queue)])


def texts(lines: tuple[LogLine, ...]) -> list[tuple[str, str, str]]:
    return [(line.source, line.level, line.message) for line in lines]


def test_whatever_a_step_tells_is_stored_and_shown_as_before(
    engine: ExecutionEngine, worker: WorkerProcess, pool: str
) -> None:
    result = engine.execute(telling(f"told-{pool}"), timeout_seconds=60)

    assert texts(engine.list_logs(result.execution_id)) == [
        ("stdout", "info", f"told-{pool} to people"),
        ("stderr", "warning", f"told-{pool} to others"),
        ("shop.orders", "info", f"told-{pool} by a library"),
        ("shop.tasks", "warning", f"told-{pool} by a task"),
        ("ctx.log", "error", f"told-{pool} itself"),
        ("stdout", "info", f"told-{pool} at the end"),
    ]
    log = worker.log.read_text()
    for word in ("to people", "to others", "by a library", "itself", "at the end"):
        found = re.findall(f"told-{pool} {word}$", log, re.MULTILINE)
        assert len(found) == 1, word


def test_lines_of_the_worker_itself_name_what_they_are_about(
    worker: WorkerProcess,
) -> None:
    line = re.compile(r"worker registered worker_id=[0-9a-f-]+$", re.MULTILINE)

    wait_until(lambda: line.search(worker.log.read_text()), what="the worker's id")


@pytest.mark.usefixtures("worker")
def test_an_action_may_be_left_out(engine: ExecutionEngine) -> None:
    plan = Plan("unheard", steps=[Step("s", "test.tell_unheard")])

    result = engine.execute(plan, timeout_seconds=60)

    assert texts(engine.list_logs(result.execution_id)) == [
        ("ctx.log", "info", "heard")
    ]


@pytest.mark.usefixtures("worker")
def test_steps_side_by_side_do_not_mix(
    engine: ExecutionEngine, pool: str, tmp_path: Path
) -> None:
    words = ["one", "two"][: SLOTS[pool]]
    inputs = {"others": words, "meeting": str(tmp_path)}
    steps = [
        Step(word, "test.count_aloud", {**inputs, "word": word}, needs=[])
        for word in words
    ]

    result = engine.execute(Plan("aloud", steps=steps), timeout_seconds=60)

    assert result.is_success, result.error
    for word in words:
        lines = engine.list_logs(result.execution_id, step=word)
        both = [f"{word} {n}" for n in range(50) for _ in range(2)]
        assert [line.message for line in lines] == both


@pytest.mark.usefixtures("worker")
def test_lines_are_followed_while_the_step_runs(
    engine: ExecutionEngine, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    execution_id = engine.submit(telling("now", gate))
    lines = engine.follow_logs(execution_id)

    with ThreadPoolExecutor(1) as reader:
        early = [reader.submit(next, lines).result(timeout=60) for _ in range(5)]
        assert not engine.get_status(execution_id).has_ended
        gate.touch()
        (last,) = reader.submit(list, lines).result(timeout=60)

    assert early[-1].message == "now itself"
    assert last.message == "now at the end"
    assert engine.get_status(execution_id).has_ended


def test_a_killed_attempt_keeps_what_was_written(
    engine: ExecutionEngine, settings: Settings, tmp_path: Path
) -> None:
    gate, own = tmp_path / "gate", replace(settings, queue="killed")
    plan = telling("alas", gate, own.queue)

    with WorkerProcess.start(own, slots=1) as victim:
        execution_id = engine.submit(plan)
        wait_until(lambda: len(engine.list_logs(execution_id)) == 5, what="the lines")
        victim.kill()
    gate.touch()
    with WorkerProcess.start(own, slots=1):
        result = engine.wait(execution_id, timeout_seconds=60)

    assert result.is_success
    counted = [(line.attempt, line.number) for line in engine.list_logs(execution_id)]
    assert counted == [*((1, n) for n in range(1, 6)), *((2, n) for n in range(1, 7))]
    check_timeline(engine, execution_id)


def test_a_worker_may_store_nothing_of_them(
    engine: ExecutionEngine, settings: Settings
) -> None:
    own = replace(settings, queue="unheard")
    with WorkerProcess.start(own, slots=1, environment={"PLANS_CAPTURE": "off"}):
        result = engine.execute(telling("quiet", queue=own.queue), timeout_seconds=60)

    assert texts(engine.list_logs(result.execution_id)) == [
        ("ctx.log", "error", "quiet itself")
    ]
