"""The fixtures that pytest finds, in every project that has celery-plans.

pytest imports this at each start, before it knows where the project's modules lie. So
it stands by itself, and loads nothing until a test asks for `plans`: under which name
our code goes is decided then, beside a package `execution` of the project's.

It must not know how plans are run.
"""

import importlib
import os
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from execution.settings import Settings
    from execution.testing import Rehearsal
    from execution.testing.ground import Ground

_URL_VARIABLE = "PLANS_TEST_DATABASE_URL"
# a project may have a fixture `plans` of its own, of which nothing is known here
_REHEARSAL: pytest.StashKey["Rehearsal"] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a project name its database and its actions."""
    parser.addini(
        "plans_database_url",
        "PostgreSQL for the tests of plans, where nothing is ever committed; by default"
        f" {_URL_VARIABLE}, or else one that is started for the tests",
    )
    parser.addini(
        "plans_imports", "modules that register actions", type="args", default=[]
    )


@pytest.fixture(scope="session")
def plans_database_url(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Where PostgreSQL is: the project's own, or one that is started for the tests."""
    named = os.environ.get(_URL_VARIABLE) or pytestconfig.getini("plans_database_url")
    if named:
        yield named
        return
    home = _find_home(pytestconfig, tmp_path_factory)
    with _load("local").LocalStack.start(home, valkey=False) as stack:
        yield stack.urls.database_url


@pytest.fixture(scope="session")
def plans_ground(
    pytestconfig: pytest.Config, plans_database_url: str
) -> Iterator["Ground"]:
    """Open a transaction with a schema of its own, which is never committed."""
    _load("actions").import_actions(pytestconfig.getini("plans_imports"))
    ground = _load("testing.ground").Ground(plans_database_url)
    yield ground
    ground.close()


@pytest.fixture
def plans_settings(plans_ground: "Ground", tmp_path: Path) -> "Settings":
    """Return those of the environment, without its servers.

    A project may have a fixture of this name that changes them.
    """
    found: Settings = replace(
        _load("settings").Settings.from_environment(),
        database_url=plans_ground.url,
        broker_url=None,
        redis_url=None,
        schema=plans_ground.schema,
        home=tmp_path / "plans",
        payloads=None,
    )
    return found


@pytest.fixture
def plans(
    request: pytest.FixtureRequest,
    plans_ground: "Ground",
    plans_settings: "Settings",
) -> Iterator["Rehearsal"]:
    """Run plans in this process; what they write is forgotten after the test."""
    play = _load("testing").Rehearsal.play
    with plans_ground.apart(), play(plans_ground, plans_settings) as played:
        request.node.stash[_REHEARSAL] = played
        yield played


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show how the plans of a test went that has failed."""
    report = yield
    rehearsal = item.stash.get(_REHEARSAL, None)
    if rehearsal is not None and report.failed and report.when == "call":
        report.sections.extend(("plans", _describe(run)) for run in rehearsal.runs)
    return report


def _describe(run: object) -> str:
    try:
        return str(run)
    except Exception as error:  # noqa: BLE001  # a report must not fail with its database
        return f"{run!r} cannot be read: {error}"


def _load(module: str) -> Any:
    """Return a module of ours, whatever our package goes by in this project."""
    return importlib.import_module(f"celery_plans.{module}")


def _find_home(config: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the server of the tests keeps its data.

    In pytest's cache, where the next session finds it made.
    """
    cache = getattr(config, "cache", None)
    if cache is None:
        return tmp_path_factory.mktemp("plans")
    return Path(cache.mkdir("celery-plans"))
