"""Real servers for every test: one local stack a run, one schema and queue a module."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings as settings_of_hypothesis

from execution.database import Database
from execution.engine import ExecutionEngine
from execution.installation import Installation
from execution.liveness import LivenessRecords
from execution.local import LocalStack
from execution.records import StepRecords
from execution.repository import ExecutionRepository
from execution.schema import upgrade
from execution.settings import Settings
from tests.polling import wait_until
from tests.worker_process import WorkerProcess

USUAL_SEEDS = 600
"""How many worlds the simulation plays; `make simulate` has it play many more."""
LEASE_SECONDS = 2.0
"""Short, so that what a lease must run out for is seen within a few seconds."""


settings_of_hypothesis.register_profile("usual", max_examples=50, print_blob=True)
settings_of_hypothesis.register_profile("many", max_examples=2000, print_blob=True)
settings_of_hypothesis.load_profile("usual")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the tests of workers run once more, with a message for each step.

    And let the simulation play more worlds than in the usual run.
    """
    parser.addoption("--rides", choices=("on", "off"), default="on")
    parser.addoption("--seeds", type=int, default=USUAL_SEEDS)


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave out what is about riding, or never asks for it, where there is none."""
    if config.getoption("--rides") == "off":
        chosen = [item for item in items if _may_ride(item)]
        config.hook.pytest_deselected(items=[i for i in items if i not in set(chosen)])
        items[:] = chosen


def _may_ride(item: pytest.Item) -> bool:
    is_about_rides = item.get_closest_marker("rides") is not None
    return "settings" in getattr(item, "fixturenames", ()) and not is_about_rides


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """PostgreSQL and Valkey of this test run's own."""
    home = Path(tempfile.mkdtemp(prefix="plans-test-"))
    with LocalStack.start(home) as started:
        yield started
    remove_stack(started, home)


@pytest.fixture(scope="module")
def settings(stack: LocalStack, request: pytest.FixtureRequest) -> Settings:
    """Settings with a fresh schema and a queue of the module's own."""
    name = request.module.__name__.rpartition(".")[2]
    settings = Settings(
        database_url=stack.urls.database_url,
        broker_url=stack.urls.broker_url,
        redis_url=stack.urls.redis_url,
        schema=name,
        queue=name,
        imports=("tests.actions",),
        lease_seconds=LEASE_SECONDS,
        ride=request.config.getoption("--rides") == "on",
    )
    assert settings.database_url is not None
    upgrade(settings.database_url, settings.schema)
    return settings


@pytest.fixture(scope="module")
def engine(settings: Settings) -> Iterator[ExecutionEngine]:
    """An engine on those settings."""
    with ExecutionEngine(Installation(settings, None)) as opened:
        yield opened


@pytest.fixture(scope="module")
def database(settings: Settings) -> Iterator[Database]:
    """The connection of a worker that is played by hand."""
    assert settings.database_url is not None
    opened = Database(settings.database_url, settings.schema)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def records(database: Database) -> StepRecords:
    """What such a worker writes of its steps."""
    return StepRecords(database)


@pytest.fixture(scope="module")
def liveness(database: Database) -> LivenessRecords:
    """What such a worker, and a reconciler, write of who is alive."""
    return LivenessRecords(database)


@pytest.fixture(scope="module")
def repository(settings: Settings) -> Iterator[ExecutionRepository]:
    """Executions as their owners change them."""
    assert settings.database_url is not None
    opened = ExecutionRepository(settings.database_url, settings.schema)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def shared_worker(settings: Settings) -> Iterator[WorkerProcess]:
    """One worker of two processes for all tests of the module; not to be killed."""
    with WorkerProcess.start(settings, slots=2) as worker:
        yield worker


@pytest.fixture
def untraced() -> Iterator[None]:
    """Let the test run without the measurement of coverage, which would take longest.

    For what measures time, or repeats what other tests have covered.
    """
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A file outside the database in which actions note that they ran."""
    path = tmp_path / "ledger"
    path.touch()
    return path


def remove_stack(stack: LocalStack, home: Path) -> None:
    """Remove the data of a stack once its servers have stopped.

    For root, PostgreSQL's lies outside the home: it runs under another account.
    """
    servers = [server for server in (stack.postgres, stack.valkey) if server]
    for server in servers:
        keeper = Path(f"/proc/{server.keeper_pid}")
        wait_until(lambda k=keeper: not k.exists(), what="a server to stop")  # type: ignore[misc]  # bound to this round
        shutil.rmtree(server.data.parent)
    shutil.rmtree(home, ignore_errors=True)
