"""The plugin as users' projects meet it: in a pytest of theirs, within this one."""

import os
import re
import time
from pathlib import Path

import psycopg2
import pytest

from execution.local import LocalStack
from tests.conftest import remove_stack

pytest_plugins = "pytester"

ROOT = Path(__file__).parent.parent.parent

_OURS = ("-p", "no:cov", "-p", "no:hypothesispytest", "-p", "no:timeout")
"""What else this environment would load, which takes longest."""
ONE_STEP = """
PLAN = {
    "format": 1,
    "name": "one",
    "steps": [{"id": "only", "action": "own.act", "with": {"n": 1}}],
    "result": "${steps.only.result}",
}
"""
PASSES = f"""
{ONE_STEP}
def test_plan(plans):
    plans.fake("own.act", lambda n: n + 1)
    assert plans.run(PLAN).result == 2
"""


@pytest.fixture
def url(stack: LocalStack) -> str:
    """Where the tests of the project find PostgreSQL."""
    return str(stack.urls.database_url)


@pytest.fixture
def project(
    pytester: pytest.Pytester, url: str, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """A project whose tests use the servers of this run."""
    monkeypatch.setenv("PLANS_TEST_DATABASE_URL", url)
    # by which this run's own processes know each other
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    return pytester


def _list_schemas(url: str) -> set[str]:
    connection = psycopg2.connect(url.replace("+psycopg2", ""))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'plans_test%'"
        )
        found = {row[0] for row in cursor}
    connection.close()
    return found


def test_plan_runs_without_broker_and_workers(project: pytest.Pytester) -> None:
    project.makepyfile(PASSES)

    project.runpytest_inprocess().assert_outcomes(passed=1)


def test_nothing_of_a_session_is_left_in_the_database(
    project: pytest.Pytester, url: str
) -> None:
    project.makepyfile(PASSES)

    project.runpytest_inprocess().assert_outcomes(passed=1)

    assert _list_schemas(url) == set()


def test_sessions_of_xdist_do_not_see_each_other(project: pytest.Pytester) -> None:
    project.makepyfile(
        ONE_STEP
        + """
import pytest

@pytest.mark.parametrize("number", range(6))
def test_plan(plans, number):
    plans.fake("own.act", lambda n: number)
    plans.publish(PLAN)
    assert plans.run("one", idempotency_key="same").result == number
    assert len(plans.engine.list_executions().items) == 1
"""
    )

    project.runpytest_subprocess("-n", "2", *_OURS).assert_outcomes(passed=6)


def test_test_that_fails_shows_how_its_plans_went(project: pytest.Pytester) -> None:
    project.makepyfile(
        ONE_STEP
        + """
def test_plan(plans):
    plans.fake("own.act", raises=ValueError("out of stock"))
    run = plans.run(PLAN)
    assert run.status == "completed"
"""
    )

    result = project.runpytest_inprocess()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*'failed'*",
            "*- plans -*",
            "error: E0*ValueError: out of stock",
            "*only*started*",
        ]
    )


def test_start_of_pytest_loads_neither_sqlalchemy_nor_celery(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(
        """
import sys

def test_modules():
    assert not {"sqlalchemy", "celery", "psycopg2", "pydantic"} & set(sys.modules)
"""
    )

    project.runpytest_subprocess("-p", "no:cov").assert_outcomes(passed=1)


def test_actions_are_imported_that_the_project_names(project: pytest.Pytester) -> None:
    project.makepyfile(
        own_actions="""
from execution import action

@action("own.act")
def act(n: int) -> int:
    return 40 + n
""",
        test_it=ONE_STEP
        + """
def test_plan(plans):
    assert plans.run(PLAN).result == 41
""",
    )
    project.makeini("[pytest]\nplans_imports = own_actions\npythonpath = .\n")

    project.runpytest_inprocess().assert_outcomes(passed=1)


def test_package_execution_of_the_project_stays_its_own(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(
        **{
            "src/execution/__init__": "OWNER = 'theirs'",
            "src/own_actions": """
from celery_plans import action

@action("own.act")
def act(n: int) -> int:
    return 40 + n
""",
            "test_it": ONE_STEP
            + """
import execution
import own_actions

def test_plan(plans):
    assert execution.OWNER == "theirs"
    assert plans.run(PLAN).result == 41
""",
        }
    )
    project.makeini("[pytest]\npythonpath = src\n")

    project.runpytest_subprocess(*_OURS).assert_outcomes(passed=1)


def test_report_is_made_though_the_server_went_away(project: pytest.Pytester) -> None:
    project.makepyfile(
        ONE_STEP
        + """
def test_plan(plans, plans_ground):
    plans.fake("own.act")
    run = plans.run(PLAN)
    plans_ground.raw.close()
    assert run.status == "completed"
"""
    )

    result = project.runpytest_inprocess()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*- plans -*", "<PlanRun *> cannot be read: *"])


def test_database_that_is_away_is_named_in_the_error(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANS_TEST_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/x")
    project.makepyfile(PASSES)

    result = project.runpytest_inprocess()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*RehearsalError: PostgreSQL does not let tests*"])


def test_server_is_started_where_none_is_named(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PLANS_TEST_DATABASE_URL", raising=False)
    pytester.makepyfile(PASSES)

    pytester.runpytest_subprocess(*_OURS).assert_outcomes(passed=1)

    # the next session finds its data there
    ended_at = time.time()
    home = pytester.path / ".pytest_cache/d/celery-plans"
    with LocalStack.start(home, valkey=False) as stack:
        assert stack.postgres is not None
        assert (stack.postgres.data / "PG_VERSION").stat().st_mtime < ended_at
    remove_stack(stack, home)


def test_the_shown_tests_pass(project: pytest.Pytester) -> None:
    page = (ROOT / "docs/testing.md").read_text("utf-8")
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    [plan] = [text for language, text in blocks if language == "yaml"]
    [ini] = [text for language, text in blocks if language == "toml"]
    actions, *tests = [text for language, text in blocks if language == "python"]
    project.makefile(".yaml", checkout=plan)
    project.makepyfile(shop=actions)
    project.makepyfile(**{f"test_{n}": text for n, text in enumerate(tests)})
    project.makepyprojecttoml(
        "".join(line for line in ini.splitlines(True) if "database_url" not in line)
    )
    project.syspathinsert()

    result = project.runpytest_inprocess()

    result.assert_outcomes(passed=len(re.findall(r"^def test_", page, re.M)) + 1)


def test_tests_of_the_saga_pass(project: pytest.Pytester) -> None:
    result = project.runpytest_subprocess(
        *_OURS, "-c", os.devnull, str(ROOT / "examples/order_saga/test_order_saga.py")
    )

    result.assert_outcomes(passed=8)


def test_a_fixture_of_the_projects_own_by_our_name_is_let_alone(
    project: pytest.Pytester,
) -> None:
    project.makepyfile("""
        import pytest

        class Subscription:
            @property
            def runs(self):
                raise RuntimeError("only in a session")

        @pytest.fixture
        def plans():
            return Subscription()

        def test_that_fails(plans):
            assert plans is None
    """)

    outcome = project.runpytest_inprocess()

    outcome.assert_outcomes(failed=1)
    outcome.stdout.no_fnmatch_line("*INTERNALERROR*")
