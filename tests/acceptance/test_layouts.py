"""Projects that have packages `execution` and `workers` of their own."""

import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from execution import Settings
from execution.database import Database
from tests.polling import wait_until
from tests.worker_process import ROOT, build_environment

SHOP = """
import os
from celery import Celery
from celery_plans.celery import register

app = Celery("shop", broker=os.environ["PLANS_BROKER_URL"], include=["shop_actions"])
app.conf.broker_connection_retry_on_startup = True
register(app)
"""
ACTIONS = """
import celery_plans
from celery_plans import Context, RetryableError, action
from execution.orders import compute_price
from workers.rates import RATE

@action("shop.price")
def price(ctx: Context, count: int) -> dict:
    if ctx.attempt == 1:
        raise RetryableError("not yet")
    return {"price": compute_price(count) * RATE, "code": celery_plans.__file__}
"""
PLAN = """
format: 1
name: price
steps:
  - id: price
    action: shop.price
    with: {count: 3}
    retry: {attempts: 2, initial: 1ms, on: [execution.RetryableError]}
result: ${steps.price.result}
"""
SUBMIT = """
import execution.orders
from celery_plans import ExecutionEngine, Plan

with ExecutionEngine.connect() as engine:
    result = engine.execute(Plan.from_file("price.yaml"), timeout_seconds=60)
    print(result.unwrap()["price"], execution.OWNER)
"""


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    """What the programs of the project read."""
    return {**build_environment(settings), "PLANS_IMPORTS": "shop_actions"}


@pytest.fixture
def installed(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The same, with the packages as a wheel brings them, and not of the checkout."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, cwd=tmp_path)
    zipfile.ZipFile(next(tmp_path.glob("*.whl"))).extractall(tmp_path / "packages")
    return {**environment, "PYTHONPATH": str(tmp_path / "packages")}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with both packages, and code of ours that uses them."""
    for name, module, text in (
        ("execution", "orders", "def compute_price(count):\n    return count * 7\n"),
        ("workers", "rates", "RATE = 2\n"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("OWNER = 'theirs'\n")
        (tmp_path / name / f"{module}.py").write_text(text)
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "shop_actions.py").write_text(ACTIONS)
    (tmp_path / "price.yaml").write_text(PLAN)
    (tmp_path / "submit.py").write_text(SUBMIT)
    return tmp_path


def run(project: Path, environment: Mapping[str, str], *command: str) -> str:
    """Run a program of the project and return what it prints."""
    done = subprocess.run(
        command,
        cwd=project,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def serving(
    project: Path,
    environment: Mapping[str, str],
    database: Database,
    *command: str,
) -> Iterator[None]:
    """Let a worker of the project run for the time of the block."""
    log = project / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen(
            command,
            cwd=project,
            env=dict(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def has_signed_on() -> bool:
        assert worker.poll() is None, log.read_text()
        statement = "SELECT pid FROM {schema}.workers WHERE ended_at IS NULL"
        return any(row["pid"] == worker.pid for row in database.query(statement))

    try:
        wait_until(has_signed_on, what="the worker to sign on", timeout_seconds=60)
        yield
    except BaseException:
        worker.kill()
        raise
    worker.terminate()
    assert worker.wait(90) == 0, log.read_text()


def test_an_app_with_packages_of_those_names_runs_plans(
    project: Path,
    environment: dict[str, str],
    database: Database,
    settings: Settings,
) -> None:
    celery = [sys.executable, "-m", "celery", "-A", "shop", "worker", "-c", "1"]

    with serving(
        project, environment, database, *celery, "-Q", settings.queue, "-l", "INFO"
    ):
        printed = run(project, environment, sys.executable, "submit.py")

    assert printed == "42 theirs\n"


def test_the_command_runs_plans_beside_packages_of_those_names(
    project: Path, installed: dict[str, str], database: Database
) -> None:
    plans = str(Path(sys.executable).with_name("plans"))

    with serving(project, installed, database, plans, "worker", "-c", "1"):
        printed = run(project, installed, plans, "run", "price.yaml")

    assert '"price": 42' in printed
    assert f'"code": "{project}/packages/execution/__init__.py"' in printed
