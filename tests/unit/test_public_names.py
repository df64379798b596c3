"""The names that programs import, and what importing them must not load."""

import importlib
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cached_property

import pytest

import execution
from tests.worker_process import ROOT

FOR_PRODUCERS = {
    *("sqlalchemy", "alembic", "pydantic", "typer", "rich"),
    *(
        "execution.models",
        "execution.language.document",
        "execution.language.yaml_reader",
    ),
}
"""What only producers and tools need; each costs a worker's process megabytes."""
SERVERS = {
    "PLANS_DATABASE_URL": "postgresql+psycopg2://nobody@/none?host=/nowhere",
    "PLANS_BROKER_URL": "redis+socket:///nowhere.sock",
}


def modules_after(
    statement: str, environment: Mapping[str, str] | None = None
) -> set[str]:
    """Return the modules that a fresh process has loaded after `statement`."""
    script = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    ours = {k: v for k, v in os.environ.items() if not k.startswith("PLANS_")}
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=ROOT,
        env={**ours, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert finished.returncode == 0, finished.stderr
    return set(json.loads(finished.stdout))


@pytest.mark.parametrize("name", execution.__all__)
def test_a_public_name_can_be_imported(name: str) -> None:
    value = getattr(execution, name)

    assert value.__name__ == name


@pytest.mark.parametrize("name", execution.__all__)
def test_a_public_name_lives_where_it_is_said_to(name: str) -> None:
    home = importlib.import_module(f"execution.{execution._HOMES[name]}")

    assert getattr(execution, name) is getattr(home, name)


@pytest.mark.parametrize("name", execution.__all__)
def test_a_public_name_says_what_it_is_for(name: str) -> None:
    value = getattr(execution, name)
    said = {name: value.__doc__}
    if inspect.isclass(value):
        said |= {member: inspect.getdoc(part) for member, part in _list_parts(value)}

    assert [member for member, text in said.items() if not text] == []


def _list_parts(value: type) -> Iterator[tuple[str, object]]:
    """Yield the public methods and properties of a class that are our own."""
    for owner in value.__mro__:
        if owner.__module__.startswith("execution"):
            for name, part in vars(owner).items():
                if not name.startswith("_") and _is_told_of(part):
                    yield name, part


def _is_told_of(part: object) -> bool:
    return inspect.isroutine(part) or isinstance(part, property | cached_property)


def test_every_public_name_has_a_home() -> None:
    assert sorted(execution._HOMES) == sorted(execution.__all__)


def test_the_public_names_are_these() -> None:
    assert dir(execution) == sorted(execution.__all__)


def test_any_other_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'execution' has no attribute 'Plane'"):
        execution.Plane  # noqa: B018  # the look-up is what is tested


@pytest.mark.parametrize(
    "statement",
    [
        "import execution",
        "from execution import action",
        "from execution import action, Context",
        "import execution.actions, execution.runner, execution.reconciler",
    ],
)
def test_an_action_module_loads_nothing_of_the_producers(statement: str) -> None:
    assert modules_after(statement) & FOR_PRODUCERS == set()


def test_a_worker_loads_nothing_of_the_producers() -> None:
    statement = "import workers.app, execution.runner"

    assert modules_after(statement, SERVERS) & FOR_PRODUCERS == set()


def test_a_worker_loads_no_store_of_large_values() -> None:
    loaded = modules_after("import workers.app, execution.runner", SERVERS)

    assert "execution.payloads" in loaded
    assert "fsspec" not in loaded


def test_a_worker_loads_no_other_command_of_celery() -> None:
    statement = (
        "import contextlib, execution.celery.standalone as s\n"
        "with contextlib.redirect_stdout(None):\n"
        "    assert s.run_command(s.build_app(), ['worker', '--help']) == 0"
    )
    loaded = modules_after(statement, SERVERS)

    assert "celery.bin.worker" in loaded
    assert loaded.isdisjoint({"celery.bin.celery", "flower", "prompt_toolkit"})


def test_importing_the_package_loads_no_server_library() -> None:
    loaded = modules_after("import execution")

    assert loaded.isdisjoint({"celery", "kombu", "psycopg2", "redis", "tenacity"})


@pytest.mark.parametrize(
    "name", ["ExecutionEngine", "Plan", "ExecutionRepository", "ExecutionTaskRunner"]
)
def test_a_name_can_be_the_first_that_is_imported(name: str) -> None:
    assert "execution" in modules_after(f"from execution import {name}")


def test_an_action_without_models_is_published_and_called_without_pydantic() -> None:
    statement = (
        "from dataclasses import dataclass\n"
        "from execution.actions import ActionRegistry\n"
        "@dataclass\n"
        "class Part:\n    size: int\n"
        "def count(x: int, parts: list[Part]) -> list[str]:\n    return []\n"
        "action = ActionRegistry().add('count', count, None)\n"
        "action.describe()\n"
        "action.call(None, {'x': 1, 'parts': []})\n"
    )

    assert not FOR_PRODUCERS & modules_after(statement)


def test_an_engine_loads_nothing_that_changes_tables() -> None:
    assert "alembic" not in modules_after("import execution.engine, execution.schema")
