"""A canvas run by Celery itself, and as a plan: the results are the same."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from execution import Settings
from tests.worker_process import ROOT, WorkerProcess

SCRIPT = """
import json, sys
from celery import chain, chord, group
from execution import ExecutionEngine, Plan
from tests.shop.tasks import add, charge, echo, place, total

ledger = sys.argv[1]
canvases = {
    "task": add.s(1, 2),
    "chain": chain(add.s(1, 2), add.s(10), add.si(left=5), add.s(100)),
    "group": group(add.s(1, 2), add.s(3), add.s(left=4)),
    "chord": chord([add.s(n, n) for n in range(20)], total.s()),
    "all": chain(
        add.s(1, 1), group(add.s(n) for n in range(5)), total.s(), add.s(1000)
    ),
    "twice": chain(
        group(add.s(1), add.s(2)), total.s(), group(add.s(3), chain(add.s(4), add.s(5)))
    ),
    "nested": chord(
        [chord([add.s(1), add.s(2)], total.s()), chain(add.s(3), add.s(4)), add.s(5)],
        total.s(),
    ),
    "lists": group(chain(add.s(1), group(add.s(2), add.s(3))), add.s(4)),
    "of_one": chain(add.s(1), group([add.s(2)]), add.s(3)),
    "without_header": chord([], total.s()),
    "positions": chain(add.s(1), place.s(2, 3, 4, last=5)),
    "retries": chain(charge.si(ledger, until=2, countdown=0.05), add.s(5)),
    "texts": echo.s("${a}", "$${b}", {"{c}": ["${d}"]}),
}
with ExecutionEngine.connect() as engine:
    for name, canvas in canvases.items():
        plan = Plan.from_canvas(canvas, name=name)
        raw = canvas.apply_async().get(timeout=30)
        result = engine.execute(plan, timeout_seconds=60).unwrap()
        print(json.dumps([name, raw, result]))
"""


@pytest.fixture
def worker(settings: Settings) -> Iterator[WorkerProcess]:
    """A worker of a project that serves Celery's own messages and ours."""
    with WorkerProcess.start(settings, app="tests.shop.app") as started:
        yield started


def test_a_plan_gives_what_its_canvas_gives(
    worker: WorkerProcess, ledger: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(ledger)],
        cwd=ROOT,
        env=worker.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    by_celery = {name: raw for name, raw, _ in lines}
    by_plan = {name: result for name, _, result in lines}
    assert len(by_plan) == 13
    assert by_plan == by_celery
    assert (by_plan["all"], by_plan["nested"]) == (1020, 15)
