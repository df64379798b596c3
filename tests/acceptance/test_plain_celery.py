"""`celery -A workers.app …`, as those type it who run Celery, for workers with plans.

What each pool does with steps is shown elsewhere, with workers that are started so:
`test_pools` (prefork, threads and solo run steps, take timeouts, are killed),
`test_timeouts` and `test_cancels` (what is raised in code, and what is killed),
`test_draining` (what a stop leaves, and a second signal), `test_kills` (a lost child),
`test_ride` (steps without messages).
"""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from execution import ExecutionEngine, Plan, Settings, Step, StepStatus
from execution.dispatcher import STEP_TASK
from tests.polling import wait_until
from tests.worker_process import ROOT, WorkerProcess, build_environment

CELERY = str(Path(sys.executable).with_name("celery"))
IO = "io"
"""A queue that is named on the command line alone."""


@pytest.fixture(scope="module")
def worker(settings: Settings) -> Iterator[WorkerProcess]:
    """`celery -A workers.app worker -Q io --autoscale 4,1`, with a soft shutdown."""
    options = ["-Q", IO, "--autoscale", "4,1", "worker.soft_shutdown_timeout=10"]
    patient = replace(settings, drain_seconds=60.0)
    with WorkerProcess.start(patient, app="workers.app", options=options) as started:
        yield started


def held_plan(ledger: Path, gate: Path, steps: int) -> Plan:
    inputs = {"ledger": str(ledger), "gate": str(gate)}
    return Plan(
        "held",
        steps=[
            Step(f"s{n}", "test.hold", with_=inputs, queue=IO, needs=[])
            for n in range(steps)
        ],
    )


def count_lines(ledger: Path) -> int:
    return len(ledger.read_text().splitlines())


def ask(worker: WorkerProcess, *words: str) -> Any:
    """Return what `celery -A workers.app WORDS --json` says of the worker."""
    command = [CELERY, "-A", "workers.app", *words, "-t", "1", "-d", name(worker), "-j"]

    def answer() -> Any:
        done = subprocess.run(
            command, cwd=ROOT, env=worker.environment, capture_output=True, check=False
        )
        # 69: nobody has answered in that time
        assert done.returncode in {0, 69}, done.stdout + done.stderr
        if done.returncode:
            return None
        # what is meant for people follows
        told, _ = json.JSONDecoder().raw_decode(done.stdout.decode())
        return told[name(worker)]

    return wait_until(answer, what=f"an answer to {words}", timeout_seconds=60)


def ask_together(worker: WorkerProcess, *questions: Sequence[str]) -> Mapping[str, Any]:
    """Return the answers to several questions, by their last words."""
    with ThreadPoolExecutor() as threads:
        asked = {words[-1]: threads.submit(ask, worker, *words) for words in questions}
    return {word: answer.result() for word, answer in asked.items()}


def name(worker: WorkerProcess) -> str:
    return f"{worker.log.stem}@test"


def test_the_pool_grows_and_what_it_runs_is_told(
    engine: ExecutionEngine, worker: WorkerProcess, ledger: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    assert len(worker.list_children()) == 1
    execution_id = engine.submit(held_plan(ledger, gate, steps=5))
    wait_until(lambda: count_lines(ledger) == 4, what="four steps to run at once")

    told = ask_together(worker, ["inspect", "active"], ["inspect", "reserved"])
    gate.touch()

    assert [request["type"] for request in told["active"]] == [STEP_TASK] * 4
    assert all(execution_id in str(request["args"]) for request in told["active"])
    assert {request["type"] for request in told["reserved"]} <= {STEP_TASK}
    assert engine.wait(execution_id, timeout_seconds=60).is_success


def test_a_worker_answers_who_asks(worker: WorkerProcess) -> None:
    inspected = [["inspect", word] for word in ("stats", "registered", "ping")]
    told = ask_together(worker, *inspected, ["status"])

    assert told["stats"]["autoscaler"]["max"] == 4
    assert any(task.startswith(STEP_TASK) for task in told["registered"])
    assert told["ping"] == told["status"] == {"ok": "pong"}


def test_plain_flower_shows_the_worker(worker: WorkerProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api/workers?refresh=1&workername={name(worker)}"
    flower = subprocess.Popen(
        [
            CELERY,
            "-A",
            "workers.app",
            "flower",
            f"--port={port}",
            "--address=127.0.0.1",
        ],
        cwd=ROOT,
        env={**worker.environment, "FLOWER_UNAUTHENTICATED_API": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def look() -> Any:
        assert flower.poll() is None
        with suppress(OSError), urllib.request.urlopen(url) as answer:
            return json.load(answer)

    try:
        shown = wait_until(look, what="Flower to answer", timeout_seconds=60)
    finally:
        flower.terminate()
        flower.wait(60)

    assert [queue["name"] for queue in shown[name(worker)]["active_queues"]] == [IO]


def test_a_soft_shutdown_lets_a_step_end(
    engine: ExecutionEngine, worker: WorkerProcess, ledger: Path, tmp_path: Path
) -> None:
    # the last of this module: nobody needs the worker any more
    gate = tmp_path / "gate"
    execution_id = engine.submit(held_plan(ledger, gate, steps=1))
    wait_until(lambda: count_lines(ledger) == 1, what="the step to begin")
    worker.process.send_signal(signal.SIGQUIT)
    wait_until(
        lambda: "Initiating Soft Shutdown" in worker.log.read_text(),
        what="the worker to hear of it",
    )
    assert engine.list_steps(execution_id)[0].status is StepStatus.RUNNING
    gate.touch()

    result = engine.wait(execution_id, timeout_seconds=60)

    worker.process.wait(60)
    assert result.is_success
    assert engine.list_steps(execution_id)[0].attempt == 1


@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_a_green_pool_is_refused_for_the_queue_of_steps(
    settings: Settings, pool: str
) -> None:
    done = subprocess.run(
        [CELERY, "-A", "workers.app", "worker", "-P", pool],
        cwd=ROOT,
        env=build_environment(settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 1
    assert f"celery-plans: the pool {pool} cannot run steps" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_green_worker_of_an_app_runs_its_own_tasks_and_no_steps(
    engine: ExecutionEngine, settings: Settings, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    environment = build_environment(settings)
    command = [CELERY, "-A", "tests.shop.app", "worker", "-P", "gevent", "-Q", "own"]
    call = [CELERY, "-A", "tests.shop.app", "call", "shop.add", "--args=[1, 2]"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "-l", "INFO", "-n", "green@test"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        subprocess.run([*call, "--queue=own"], cwd=ROOT, env=environment, check=True)
        wait_until(
            lambda: re.search(r"shop\.add\[.*succeeded", log.read_text()),
            what="the task to run",
        )
        hosts = {one.hostname for one in engine.list_workers()}
    finally:
        process.terminate()
        process.wait(60)

    assert "takes no part in plans: its pool is gevent" in log.read_text()
    assert "green@test" not in hosts
