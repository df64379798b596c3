"""The pages are true: what they show runs, and what they list is what there is."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from execution import ExecutionEngine, Plan, Settings, Step
from execution.database import Database
from execution.errors import ErrorCode
from execution.liveness import LivenessRecords
from execution.records import StepRecords
from execution.results import ErrorRecord
from execution.states import StepStatus
from tests.integration.test_protocol import claim, register
from tests.sweeping import look
from tests.worker_process import ROOT, WorkerProcess, build_environment

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


def read_blocks(page: str, language: str) -> list[str]:
    """Return the fenced blocks of one language in a page."""
    text = (ROOT / page).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run_plans(
    arguments: list[str], directory: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run the command `plans` as a user would."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("plans")), *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def list_test_names() -> set[str]:
    return {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef)
    }


def test_derived_pages_are_up_to_date() -> None:
    command = [sys.executable, "docs/generate.py", "--check"]

    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8"))

    local = [target for target in targets if "://" not in target]
    assert [t for t in local if not (page.parent / t).exists()] == []


def test_each_promise_names_a_test_that_there_is() -> None:
    page = (ROOT / "docs/guarantees.md").read_text("utf-8")

    named = set(re.findall(r"`(test_\w+)`", page))

    assert len(named) > 15
    assert named - list_test_names() == set()


def test_the_architecture_lists_every_module() -> None:
    page = (ROOT / "docs/architecture.md").read_text("utf-8")
    listed = re.findall(r"^\| [a-zA-Z ]+ \| `(\w+)` \|", page, re.MULTILINE)

    there = {path.stem for path in (ROOT / "execution").glob("[a-z]*.py")}
    there |= {path.parent.name for path in (ROOT / "execution").glob("*/__init__.py")}

    assert set(listed) - {"workers", "celery_plans", "celery_plans_pytest"} == there - {
        "_assets"
    }
    assert len(listed) == len(set(listed))


def test_every_module_has_a_layer() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contract = project["tool"]["importlinter"]["contracts"][0]
    layered = set(re.findall(r"execution\.(\w+)", " ".join(contract["layers"])))

    there = {path.stem for path in (ROOT / "execution").glob("[a-z]*.py")}
    there |= {path.parent.name for path in (ROOT / "execution").glob("*/__init__.py")}

    assert layered == there - {"_assets"}


def play_out(engine: ExecutionEngine, settings: Settings) -> None:
    """Leave executions that run, failed, were cancelled, and lost an attempt."""
    assert settings.database_url is not None
    database = Database(settings.database_url, settings.schema)
    records, liveness = StepRecords(database), LivenessRecords(database)
    plan = Plan("hello", steps=[Step("s", action="test.nothing")])
    living, dying = register(liveness, settings), register(liveness, settings)
    claim(records, living, engine.submit(plan), 0)
    failed = engine.submit(plan)
    held = claim(records, living, failed, 0).held
    error = ErrorRecord(
        ErrorCode.RETRY_EXHAUSTED, "no", "s", datetime.now(UTC), recoverable=True
    )
    records.complete(
        held, StepStatus.FAILED, error=json.dumps(error.to_json()), epoch=1
    )
    engine._finish(failed)
    claim(records, dying, engine.submit(plan), 0)
    liveness.end_worker(dying)
    for lost in look(liveness).lost_steps:
        liveness.take_lost(lost, is_patient=True)
    engine.cancel(engine.submit(plan), by="ann")
    database.close()


def test_example_queries_find_something(
    engine: ExecutionEngine, settings: Settings
) -> None:
    play_out(engine, settings)
    assert settings.database_url is not None
    connecting = sa.create_engine(settings.database_url, poolclass=sa.NullPool)

    queries = read_blocks("docs/models.md", "sql")

    assert len(queries) >= 6
    with connecting.connect() as connection:
        connection.exec_driver_sql(f"SET search_path TO {settings.schema}")
        for query in queries:
            assert connection.exec_driver_sql(query).all(), query


def test_shown_plans_are_valid() -> None:
    pages = ("docs/plans.md", "docs/plan_tools.md", "README.md")
    shown = [text for page in pages for text in read_blocks(page, "yaml")]

    assert shown
    for text in shown:
        Plan.from_text(text)


def test_the_shown_tools_print_what_is_shown(tmp_path: Path) -> None:
    (plan,) = read_blocks("README.md", "yaml")
    for text in (*read_blocks("docs/plan_tools.md", "yaml"), plan):
        (tmp_path / f"{Plan.from_text(text).name}.yaml").write_text(text)
    page = (ROOT / "docs/plan_tools.md").read_text("utf-8")
    pairs = re.findall(
        r"^```sh\n(.*?)^```$(?:\n+^```(?:text|mermaid|json)\n(.*?)^```$)?",
        page,
        re.MULTILINE | re.DOTALL,
    )
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}

    assert pairs
    for typed, shown in pairs:
        done = subprocess.run(
            ["sh", "-c", typed],  # noqa: S607  # the shell of whoever reads the page
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout, done.stderr) == (shown, ""), typed


def test_shown_faults_are_what_the_command_prints(tmp_path: Path) -> None:
    (text,) = read_blocks("docs/plans.md", "yaml faulty")
    (shown,) = read_blocks("docs/plans.md", "text")
    (tmp_path / "plan.yaml").write_text(text)

    done = run_plans(["validate", "plan.yaml"], tmp_path, dict(os.environ))

    assert done.stdout == shown
    assert done.returncode == 1


def test_the_shown_use_of_the_key_reaches_the_service() -> None:
    (code,) = read_blocks("docs/guarantees.md", "python")
    use = """
from types import SimpleNamespace as N
payments = N(charge=lambda amount, **options: {"paid": amount, **options})
print(charge(N(idempotency_key="e:s"), 5))
"""

    done = subprocess.run(
        [sys.executable, "-c", code + use],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == "{'paid': 5, 'idempotency_key': 'e:s'}\n", done.stderr


def test_the_plan_shown_in_python_is_valid() -> None:
    (code,) = read_blocks("docs/plans.md", "python")

    exec(compile(code, "docs/plans.md", "exec"), {})  # noqa: S102  # our own page


def test_the_shown_submits_join_a_transaction(
    engine: ExecutionEngine,
    liveness: LivenessRecords,
    settings: Settings,
    tmp_path: Path,
) -> None:
    (code,) = read_blocks("docs/submitting.md", "python")
    (query,) = read_blocks("docs/submitting.md", "sql")
    (plan,) = read_blocks("README.md", "yaml")
    path = tmp_path / "hello.yaml"
    path.write_text(plan)
    shown: dict[str, Any] = {}
    exec(code.replace("hello.yaml", str(path)), shown)  # noqa: S102  # our own page
    greetings = json.dumps([{"name": f"greet.{name}"} for name in ("compose", "shout")])
    liveness.end_worker(register(liveness, settings, actions=greetings))
    engine.publish(shown["PLAN"])
    assert settings.database_url is not None
    connecting = sa.create_engine(settings.database_url, poolclass=sa.NullPool)
    with connecting.begin() as connection:
        # pages that other tests follow have made one of their own kind
        connection.exec_driver_sql("DROP TABLE IF EXISTS orders")
        connection.exec_driver_sql("CREATE TABLE orders (name text)")

    ordered = shown["place_order"](engine, connecting, "Ann")
    with connecting.begin() as connection:
        statement = query.replace("celery_plans", settings.schema)
        by_sql = str(connection.exec_driver_sql(statement).scalar_one())

    for execution_id in (ordered, by_sql):
        assert engine.get_status(execution_id).parameters == {"name": "Ann"}


def test_the_shown_action_is_published_and_compared_as_the_page_says(
    settings: Settings, tmp_path: Path
) -> None:
    code, scanning, yielding, strategy = read_blocks("docs/actions.md", "python")
    (plan,) = read_blocks("docs/actions.md", "yaml faulty")
    (shown,) = read_blocks("docs/actions.md", "text")
    (tmp_path / "packing.py").write_text(code)
    (tmp_path / "scanning.py").write_text(scanning)
    (tmp_path / "yielding.py").write_text(yielding)
    (tmp_path / "strategy.py").write_text(strategy)
    (tmp_path / "pack.yaml").write_text(plan)
    fit = plan.replace("pac\n", "pack\n").replace("xl", "l")
    fit = fit.replace("action: orders.pack\n  -", "action: test.nothing\n  -")
    (tmp_path / "fit.yaml").write_text(
        fit.replace("{box: l}", "{box: l, order: {number: 5}}")
    )
    with WorkerProcess.start(
        settings,
        environment={
            "PLANS_IMPORTS": "packing,scanning,yielding,strategy,tests.actions",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}",
        },
    ) as worker:
        refused = run_plans(["validate", "pack.yaml"], tmp_path, worker.environment)
        ran = run_plans(["run", "fit.yaml"], tmp_path, worker.environment)
        one = run_plans(["actions", "orders.pack"], tmp_path, worker.environment)

    assert refused.stdout == shown
    assert json.loads(ran.stdout) == {"number": 5, "box": "l"}, ran.stderr
    assert "The box is chosen by the plan." in one.stdout


def test_the_readme_shows_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")

    assert "make demo" in readme
    assert "make test" in readme


LOST = """
from shop import charge, reserve
canvas = chain(
    reserve.s("tea").set(expires=60), charge.s(2).set(link_error=[reserve.si("x")])
)
try:
    Plan.from_canvas(canvas, name="lost")
except PlanValidationError as error:
    print(error)
print(Plan.from_canvas(canvas, name="lost", lossy=True).warnings[-1])
"""


def test_the_shown_tasks_run(settings: Settings, tmp_path: Path) -> None:
    page = "docs/existing_tasks.md"
    tasks, canvas = read_blocks(page, "python")
    (plan,) = read_blocks(page, "yaml")
    (typed,) = read_blocks(page, "sh")
    (tmp_path / "shop.py").write_text(tasks)
    (tmp_path / "order.yaml").write_text(plan)
    paths = f"{ROOT}{os.pathsep}{tmp_path}"
    with WorkerProcess.start(
        settings,
        app="shop",
        options=["-Q", f"{settings.queue},fees"],
        environment={"PYTHONPATH": paths},
    ) as worker:
        line = shlex.split(typed.splitlines()[1], comments=True)[1:]
        ran = run_plans(line, tmp_path, worker.environment)
        run = f"""{canvas}
from execution import ExecutionEngine
with ExecutionEngine.connect() as engine:
    print(engine.execute(plan, timeout_seconds=60).unwrap())
"""
        done = subprocess.run(
            [sys.executable, "-c", run],
            env=worker.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    assert ran.stdout == "40\n", ran.stderr
    assert done.stdout == "[60, 3]\n", done.stderr


def test_the_shown_losses_are_what_is_said(settings: Settings, tmp_path: Path) -> None:
    page = "docs/existing_tasks.md"
    (tmp_path / "shop.py").write_text(read_blocks(page, "python")[0])
    imports = "from celery import chain; from execution import Plan;"
    code = f"{imports} from execution.errors import PlanValidationError\n{LOST}"

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**build_environment(settings), "PYTHONPATH": f"{ROOT}:{tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
    )

    (shown,) = read_blocks(page, "text")
    assert done.stdout == shown + shown.splitlines()[1] + "\n", done.stderr


def test_the_readme_lists_every_setting() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    listed = re.findall(r"^\| `PLANS_(\w+)` \|", readme, re.MULTILINE)

    assert sorted(listed) == sorted(f.name.upper() for f in fields(Settings))
