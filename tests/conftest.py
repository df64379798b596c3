"""Real servers for every test: one local stack a run, one schema and queue a module."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest
from celery import _state as celery_state
from hypothesis import HealthCheck
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

USUAL_SEEDS = 100
"""How many worlds the simulation plays; `make simulate` has it play many more."""
LEASE_SECONDS = 2.0
"""Short, so that what a lease must run out for is seen within a few seconds."""


# a machine that others use, too, is slow in drawing and in trying examples
_PATIENT = settings_of_hypothesis(
    deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
# the same examples each time; `make simulate` looks for new ones, and many more
settings_of_hypothesis.register_profile(
    "usual", _PATIENT, max_examples=50, derandomize=True
)
settings_of_hypothesis.register_profile("many", _PATIENT, max_examples=2000)
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
def anyio_backend() -> str:
    """Tests that are coroutines run on asyncio."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _share_no_tasks() -> Iterator[None]:
    """Fail the test whose task every later Celery app of this process would be given.

    The test that stumbles over it would be another one, and only in some orders.
    """
    shared = len(celery_state._on_app_finalizers)
    yield
    assert len(celery_state._on_app_finalizers) == shared, "say shared=False"


@pytest.fixture
def own_flower_options() -> Iterator[None]:
    """Give back Flower's options, which are the whole process's, as they were."""
    from flower.options import default_options  # few tests load it

    kept = dict(default_options.items())
    yield
    for name, value in kept.items():
        setattr(default_options, name, value)


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """PostgreSQL and Valkey of this test run's own."""
    home = Path(tempfile.mkdtemp(prefix="plans-test-"))
    with LocalStack.start(home) as started:
        _wait_for_no_disk(started)
        yield started
    remove_stack(started, home)


def _wait_for_no_disk(stack: LocalStack) -> None:
    """Let a commit be what any process can see, be the disk slow or not.

    What a killed server has committed it still finds: only a machine that loses its
    power, which no test takes away, would tell the difference.
    """
    assert stack.urls.database_url is not None
    dsn = stack.urls.database_url.replace("+psycopg2", "")
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("ALTER SYSTEM SET fsync = off")
            cursor.execute("ALTER SYSTEM SET full_page_writes = off")
            cursor.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
def plans_database_url(stack: LocalStack) -> str:
    """Let rehearsals use the servers of this test run, too."""
    return str(stack.urls.database_url)


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
    with _without_trace():  # tests/migration measures it
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


@pytest.fixture(scope="session")
def leaving_workers(stack: LocalStack) -> Iterator[list[WorkerProcess]]:
    """Workers that were told to stop, which takes Celery two seconds of waiting.

    They alone used their schema and their queue: the next module need not await their
    end, the end of the servers must.
    """
    workers: list[WorkerProcess] = []
    yield workers
    for worker in workers:
        worker.process.wait(60)
        worker.log.unlink()


@pytest.fixture(scope="module")
def shared_worker(
    settings: Settings, leaving_workers: list[WorkerProcess]
) -> Iterator[WorkerProcess]:
    """One worker of two processes for all tests of the module; not to be killed."""
    worker = WorkerProcess.start(settings, slots=2, is_measured=True)
    yield worker
    worker.process.terminate()
    leaving_workers.append(worker)


@pytest.fixture
def untraced() -> Iterator[None]:
    """Let the test run without the measurement of coverage, which would take longest.

    For what measures time, or repeats what other tests have covered.
    """
    with _without_trace():
        yield


@contextmanager
def _without_trace() -> Iterator[None]:
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
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
