"""`plans flower` as a process: what it shows, keeps and survives, and how it ends."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event

import psutil
import pytest
from typer.testing import CliRunner, Result

from execution import ExecutionEngine, Plan, Step
from execution.cli.app import app
from execution.cli.exits import ExitCode
from execution.local import LocalStack
from execution.settings import Settings
from tests.flower_process import LOGIN, PLANS, FlowerProcess
from tests.polling import wait_until
from tests.proxy import Fate, Proxy
from tests.worker_process import WorkerProcess, build_environment

CANARY = "canary-of-flower-27182"
MOST_TASKS = 40


@pytest.fixture(scope="module")
def proxy(stack: LocalStack) -> Iterator[Proxy]:
    """The broker, as Flower reaches it."""
    assert stack.valkey is not None
    with Proxy(str(stack.valkey.socket)) as opened:
        yield opened


@pytest.fixture(scope="module")
def flower(settings: Settings, proxy: Proxy) -> Iterator[FlowerProcess]:
    """Flower of a host's app, with few tasks, before a broker that may go away."""
    near = replace(settings, broker_url=f"redis://127.0.0.1:{proxy.port}/0")
    options = ("-A", "tests.shop.app", f"--max-tasks={MOST_TASKS}")
    with FlowerProcess.start(near, *options) as started:
        yield started


@pytest.fixture(scope="module")
def worker(settings: Settings) -> Iterator[WorkerProcess]:
    """A worker that knows a secret."""
    variables = {"PLANS_SECRET_CANARY": CANARY}
    with WorkerProcess.start(settings, slots=1, environment=variables) as started:
        yield started


@pytest.fixture(scope="module")
def shown() -> list[str]:
    """The ids of executions that were watched, whatever Flower still knows of them."""
    return []


@pytest.fixture
def watched(
    engine: ExecutionEngine,
    worker: WorkerProcess,
    flower: FlowerProcess,
    shown: list[str],
) -> str:
    """The id of an execution all of whose steps Flower has heard of.

    The worker runs first, so that it is there when Flower asks for events.
    """
    plan = Plan(
        "watched",
        steps=[
            Step("first", "test.nothing"),
            Step("secret", "test.echo", {"value": "secret://CANARY"}),
            Step("last", "test.nothing"),
        ],
    )

    def run() -> str:
        # a worker hears late that it is watched, and shows it to its child at a beat
        execution_id = engine.submit(plan)
        engine.wait(execution_id, timeout_seconds=60)
        return execution_id

    def is_shown(execution_id: str) -> bool:
        found = flower.find_tasks(execution_id).values()
        return len(found) == 3 and all("attempt" in task["args"] for task in found)

    def find() -> str | None:
        execution_id = run()
        try:
            wait_until(
                lambda: is_shown(execution_id), what="its steps", timeout_seconds=1
            )
        except AssertionError:
            return None
        return execution_id

    if not shown or not is_shown(shown[-1]):
        found = wait_until(find, what="Flower to show every step", timeout_seconds=60)
        shown.append(str(found))
    return shown[-1]


def test_each_step_is_named_by_its_action_and_found_by_its_ids(
    flower: FlowerProcess, watched: str
) -> None:
    tasks = flower.find_tasks(watched).values()
    of_step = flower.find_tasks(f"{watched}:secret").values()

    assert {task["args"]: task["name"] for task in tasks} == {
        f"watched/first of {watched}, attempt 1": "test.nothing",
        f"watched/secret of {watched}, attempt 1": "test.echo",
        f"watched/last of {watched}, attempt 1": "test.nothing",
    }
    assert {task["state"] for task in tasks} == {"SUCCESS"}
    assert [task["name"] for task in of_step] == ["test.echo"]
    # the first has a message, and the others rode with it
    assert len({task["root_id"] for task in tasks}) == 1


def test_a_step_that_failed_is_shown_as_failed(
    engine: ExecutionEngine, flower: FlowerProcess, watched: str
) -> None:
    del watched
    steps = [Step("no", "test.refuse")]
    execution_id = engine.submit(Plan("refused", steps=steps))
    engine.wait(execution_id, timeout_seconds=60)

    def find() -> list[str]:
        found = flower.find_tasks(execution_id).values()
        return [t["exception"] for t in found if t["state"] == "FAILURE"]

    (said,) = wait_until(find, what="the failure to be shown")
    assert "no such customer" in said


def test_no_page_shows_a_secret(flower: FlowerProcess, watched: str) -> None:
    task_id = next(iter(flower.find_tasks(f"{watched}:secret")))
    texts = [
        flower.ask(path)[1]
        for path in ("/api/tasks", f"/task/{task_id}", "/metrics", "/api/workers")
    ]

    assert "secret://CANARY" in texts[0]
    assert [CANARY in text for text in texts] == [False] * len(texts)


def test_metrics_count_by_action_and_name_no_step(
    flower: FlowerProcess, watched: str
) -> None:
    _, text = flower.ask("/metrics")

    assert 'task="test.nothing",type="task-succeeded"' in text
    assert watched not in text


def test_old_tasks_go_where_there_is_no_room(
    engine: ExecutionEngine, flower: FlowerProcess, watched: str
) -> None:
    steps = [Step(f"s{n}", "test.nothing") for n in range(MOST_TASKS)]
    execution_id = engine.submit(Plan("many", steps=steps))
    assert engine.wait(execution_id, timeout_seconds=60).is_success

    wait_until(
        lambda: len(flower.find_tasks(execution_id)) == MOST_TASKS,
        what="the newest to be shown",
    )
    assert len(flower.find_tasks()) == MOST_TASKS
    assert flower.find_tasks(watched) == {}


def test_it_listens_on_the_loopback_and_its_password_is_in_no_list_of_processes(
    flower: FlowerProcess,
) -> None:
    process = psutil.Process(flower.process.pid)
    listening = {
        c.laddr.ip
        for c in process.net_connections("inet")
        if c.status == psutil.CONN_LISTEN
    }

    assert listening == {"127.0.0.1"}
    password = LOGIN.partition(":")[2]
    assert password not in " ".join(process.cmdline())
    assert password not in str(process.environ())
    assert password not in flower.log.read_text()


def test_pages_go_on_without_the_broker_and_steps_are_shown_when_it_is_back(
    engine: ExecutionEngine,
    flower: FlowerProcess,
    proxy: Proxy,
    watched: str,
) -> None:
    proxy.refuse()
    wait_until(lambda: "is away" in flower.log.read_text(), what="Flower to notice")
    pages = [flower.ask(path)[0] for path in ("/", "/tasks", "/metrics", "/api/tasks")]
    proxy.admit()
    wait_until(lambda: "is back" in flower.log.read_text(), what="Flower to be back")

    def is_shown() -> bool:
        execution_id = engine.submit(Plan("again", steps=[Step("s", "test.nothing")]))
        engine.wait(execution_id, timeout_seconds=60)
        return bool(flower.find_tasks(execution_id))

    assert pages == [200] * 4
    wait_until(is_shown, what="new steps to be shown")
    assert flower.log.read_text().count("is away") == 1
    assert "Traceback" not in flower.log.read_text()


def test_a_port_that_is_taken_ends_with_2_and_says_so(
    flower: FlowerProcess, settings: Settings
) -> None:
    done = subprocess.run(
        [str(PLANS), "flower", "--unauthenticated", f"--port={flower.port}"],
        env=build_environment(settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == ExitCode.USAGE
    assert f"on 127.0.0.1:{flower.port}: Address already in use" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_sigterm_ends_it_well_though_postgresql_is_silent(
    settings: Settings, stack: LocalStack
) -> None:
    assert stack.postgres is not None
    asked = Event()
    with Proxy(str(stack.postgres.socket)) as postgres:

        def be_silent(request: bytes) -> Fate:
            postgres.swallow()
            asked.set()
            return Fate.SPARE

        url = f"postgresql://plans@127.0.0.1:{postgres.port}/plans"
        with (
            FlowerProcess.start(replace(settings, database_url=url)) as flower,
            ThreadPoolExecutor() as threads,
        ):
            assert flower.ask("/executions")[0] == 200
            postgres.judge(be_silent)
            page = threads.submit(flower.ask, "/executions")
            assert asked.wait(60)

            code = flower.stop()

            assert isinstance(page.exception(60), OSError)
            said = flower.log.read_text()

    assert code == ExitCode.OK
    assert "Flower was told to stop" in said
    assert "Traceback" not in said


def test_it_starts_without_any_server_and_ends_on_ctrl_c(settings: Settings) -> None:
    away = replace(
        settings,
        database_url="postgresql://ann:hunter2@127.0.0.1:1/none",
        broker_url="redis://:hunter2@127.0.0.1:1/0",
    )
    with FlowerProcess.start(away) as flower:
        pages = [flower.ask(path)[0] for path in ("/", "/tasks", "/broker")]
        tab, text = flower.ask("/executions")
        health = flower.ask("/healthcheck", login=None)
        code = flower.stop(signal.SIGINT)
        said = flower.log.read_text()

    assert (tab, "PostgreSQL" in text) == (503, True)
    assert (pages, health) == ([200, 200, 200], (200, "OK"))
    assert code == ExitCode.OK
    assert "hunter2" not in said
    assert "Traceback" not in said


def test_without_flower_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = ("execution.flower.", "flower.")
    for name in [each for each in sys.modules if each.startswith(loaded)]:
        monkeypatch.delitem(sys.modules, name)
    # as if it were not there, for the import system
    monkeypatch.setitem(sys.modules, "flower", None)

    result = call("flower --unauthenticated")

    assert result.exit_code == ExitCode.USAGE
    assert "Flower 2.2 is not installed; pip install 'celery-plans[flower]'" in (
        result.stderr
    )
    assert len(result.stderr.splitlines()) == 1


def call(line: str, **variables: str) -> Result:
    return CliRunner().invoke(app, line.split(), env=variables)


@pytest.mark.usefixtures("own_flower_options")
@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("flower", "write user:password into a file"),
        ("flower --unauthenticated --address 0.0.0.0", "is for the loopback alone"),
        ("flower --unauthenticated --address example.com", "is for the loopback"),
        ("flower --unauthenticated --logins good", "and --unauthenticated"),
        ("flower --logins missing", "cannot be read: No such file"),
        ("flower --logins empty", "holds no login"),
        ("flower --logins faulty", "line 2 of"),
        ("flower --logins foreign", "line 1 of"),
        ("flower --logins binary", "are not UTF-8 text"),
    ],
)
def test_logins_that_are_none_end_with_2_and_are_not_repeated(
    line: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good").write_text("ann:hunter2")
    (tmp_path / "empty").write_text("# nobody yet\n\n")
    (tmp_path / "faulty").write_text("ann:hunter2\nhunter2\n")
    (tmp_path / "foreign").write_text("ann:hünter2\n", "utf-8")
    (tmp_path / "binary").write_bytes(b"ann:hunter2\xff\n")

    result = call(line)

    assert result.exit_code == ExitCode.USAGE, result.output
    assert complaint in result.stderr
    assert "nter2" not in result.stderr
