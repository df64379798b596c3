"""Plans beside settings that were made for the tasks of the app, and not for steps."""

import importlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from execution import ExecutionEngine, Plan, Settings, Step
from execution.database import Database
from tests.timeline import check_timeline
from tests.worker_process import ROOT, WorkerProcess, build_environment

STRICT = "tests.shop.strict"


@pytest.fixture(scope="module")
def unridden(settings: Settings) -> Settings:
    """Settings with which each step takes a message, and ten seconds are a beat."""
    # a message that is unread for a beat is sent again
    return replace(settings, ride=False, lease_seconds=60.0)


@pytest.fixture(scope="module", autouse=True)
def worker(unridden: Settings) -> Iterator[WorkerProcess]:
    """A worker of the app that serves the queue of steps alone."""
    with WorkerProcess.start(unridden, app=STRICT) as started:
        yield started


@pytest.fixture(scope="module")
def submitter(unridden: Settings, worker: WorkerProcess) -> Iterator[ExecutionEngine]:
    """An engine that sends as the app does."""
    with pytest.MonkeyPatch.context() as patched:
        for name in ("PLANS_BROKER_URL", "PLANS_QUEUE", "PLANS_DATABASE_URL"):
            patched.setenv(name, worker.environment[name])
        app = importlib.import_module(STRICT).app
    nameless = replace(unridden, broker_url=None)
    with ExecutionEngine.connect(nameless, app=app) as opened:
        yield opened


def count_publications(database: Database, execution_id: str) -> list[int]:
    """Return how often each step was sent."""
    rows = database.query(
        "SELECT publishes FROM {schema}.execution_steps"
        " WHERE execution_id = %s ORDER BY position",
        (execution_id,),
    )
    return [row["publishes"] for row in rows]


def test_steps_go_their_own_way(
    submitter: ExecutionEngine, database: Database, unridden: Settings, ledger: Path
) -> None:
    engine = submitter
    steps = [
        Step(
            f"s{number}",
            action="strict.note",
            with_={"ledger": str(ledger), "line": str(number)},
            # else that of the task, to which the settings have a right
            queue=unridden.queue,
        )
        for number in range(6)
    ]

    execution_id = engine.submit(Plan("strict", steps=steps))

    assert engine.wait(execution_id, timeout_seconds=60).is_success
    check_timeline(engine, execution_id)
    assert ledger.read_text().split() == list("012345")
    # by messages alone: none went elsewhere, and no reconciler had to send one again
    assert count_publications(database, execution_id) == [1] * 6


def test_an_eager_app_sends_nothing_into_the_submitter(
    unridden: Settings, ledger: Path
) -> None:
    own = replace(unridden, queue=f"nobody_{uuid.uuid4().hex}")
    code = (
        "from tests.shop.strict import app\n"
        "from execution import ExecutionEngine, Plan, Step\n"
        f"step = Step('s', action='strict.note', with_={{'ledger': {str(ledger)!r},"
        " 'line': 'here'})\n"
        "with ExecutionEngine.connect() as engine:\n"
        "    print(engine.get_status(engine.submit(Plan('e', steps=[step]))).status)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        env=build_environment(own),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "pending\n"
    assert ledger.read_text() == ""


def test_what_an_action_sends_by_an_eager_app_runs_within_its_step(
    submitter: ExecutionEngine, unridden: Settings, ledger: Path
) -> None:
    inputs = {"ledger": str(ledger)}
    step = Step("s", action="strict.later", with_=inputs, queue=unridden.queue)

    result = submitter.execute(Plan("eager", steps=[step]), timeout_seconds=60)

    assert result.unwrap() == "SUCCESS"
    assert ledger.read_text() == "by delay\n"


def test_a_worker_tells_what_works_against_plans(worker: WorkerProcess) -> None:
    log = worker.log.read_text()

    assert "WARNING" in log
    assert "a setting of the app works against plans" in log


def test_a_worker_that_throws_steps_away_does_not_start(unridden: Settings) -> None:
    code = (
        "from tests.shop.strict import app\n"
        "app.conf.accept_content = ['yaml']\n"
        "app.start(['worker', '-P', 'solo'])\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        env=build_environment(unridden),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode != 0
    assert "workers throw every message of a step away" in done.stderr
    assert "add 'json' to it" in done.stderr


def test_the_command_names_each_setting_and_its_fix(unridden: Settings) -> None:
    plans = Path(sys.executable).with_name("plans")

    done = subprocess.run(
        [plans, "inspect-app", f"{STRICT}:app"],
        env={**os.environ, **build_environment(unridden)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "risk: task_always_eager = True" in done.stdout
    assert "set it in tests alone" in done.stdout
    assert "task_routes" not in done.stdout


def test_the_shown_app_can_be_inspected(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "existing_projects.md").read_text("utf-8")
    shown = page.partition("```python\n")[2].partition("```")[0]
    (tmp_path / "shop.py").write_text(shown)
    plans = Path(sys.executable).with_name("plans")

    done = subprocess.run(
        [plans, "inspect-app", "shop:app", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    found = json.loads(done.stdout)["findings"]
    assert [one["setting"] for one in found] == [
        "task_queues",
        "broker_transport_options.socket_timeout",
    ]
