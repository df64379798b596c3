"""The other door to the package, beside a package `execution` or without."""

import subprocess
import sys
from pathlib import Path

import pytest

import celery_plans
import celery_plans.errors
import execution
import execution.errors


def run(code: str, folder: Path) -> str:
    """Run a program in `folder`, which is not on its path; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with an `execution` that has nothing to do with ours."""
    package = tmp_path / "execution"
    package.mkdir()
    (package / "__init__.py").write_text("OWNER = 'theirs'")
    (package / "errors.py").write_text("class RetryableError(Exception): ...")
    return tmp_path


def test_both_names_lead_to_one_package() -> None:
    assert celery_plans is execution
    assert celery_plans.errors is execution.errors
    assert celery_plans.errors.__spec__.name == "execution.errors"


@pytest.mark.parametrize("first", ["celery_plans", "execution"])
def test_whichever_is_imported_first_there_is_one_registry(
    first: str, tmp_path: Path
) -> None:
    code = (
        f"import {first}\n"
        "from celery_plans.actions import action, registry\n"
        "from execution.actions import registry as other\n"
        "import celery_plans.celery, execution.celery\n"
        "assert registry is other\n"
        "assert celery_plans.celery.register is execution.celery.register\n"
    )

    run(code, tmp_path)


def test_a_module_that_is_not_there_has_no_second_name(tmp_path: Path) -> None:
    code = (
        "import importlib.util, inspect, celery_plans, celery_plans.errors\n"
        "assert importlib.util.find_spec('celery_plans.nothing') is None\n"
        "loader = importlib.util.find_spec('celery_plans.celery.facts').loader\n"
        "assert 'WorkerFacts' in loader.get_source('celery_plans.celery.facts')\n"
        "try:\n    loader.get_code('celery_plans.nothing')\n"
        "except ImportError as error:\n    print(error)\n"
    )

    assert run(code, tmp_path) == "there is no module celery_plans.nothing\n"


def test_beside_a_strangers_package_ours_is_loaded_under_one_name(
    project: Path,
) -> None:
    code = (
        "import celery_plans, sys\n"
        "from celery_plans.celery import register\n"
        "from celery_plans.cli import main\n"
        "assert 'execution' not in sys.modules\n"
        "sys.path.insert(0, '')\n"
        "import execution\n"
        "print(execution.OWNER, register.__module__, celery_plans.action.__module__)\n"
        "print([name for name in sys.modules if name.startswith('execution')])\n"
    )

    assert run(code, project) == (
        "theirs celery_plans.celery.registration celery_plans.actions\n['execution']\n"
    )


def test_a_folder_without_code_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "execution").mkdir()

    run(
        "import celery_plans, execution\nassert celery_plans is execution",
        tmp_path,
    )


def test_a_strangers_package_that_is_loaded_is_left_alone(project: Path) -> None:
    code = (
        "import sys\n"
        "sys.path.insert(0, '')\n"
        "import execution, celery_plans\n"
        "assert execution is not celery_plans\n"
        "assert sys.modules['execution'].OWNER == 'theirs'\n"
    )

    run(code, project)


def test_errors_are_found_by_every_name_that_they_have(project: Path) -> None:
    code = (
        "import sys\n"
        "sys.path.insert(0, '')\n"
        "import execution.errors, celery_plans\n"
        "from celery_plans.retry import RetryPolicy\n"
        "from celery_plans.errors import DatabaseError\n"
        "def means(name, error):\n"
        "    policy = RetryPolicy(max_attempts=2, on=(name,))\n"
        "    return policy.allows(error, failures=1)\n"
        "for name in ('execution.DatabaseError', 'celery_plans.DatabaseError',\n"
        "             'execution.errors.DatabaseError'):\n"
        "    assert means(name, DatabaseError()), name\n"
        "    assert not means(name, ValueError()), name\n"
        "assert means('execution.errors.RetryableError',\n"
        "             execution.errors.RetryableError())\n"
    )

    run(code, project)
