"""`plans up` with real servers, real kills, and nothing left behind."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from execution.cli.exits import ExitCode
from execution.database import Database
from tests.polling import wait_until

PLANS = str(Path(sys.executable).with_name("plans"))
ACTIONS = """
import time
from pathlib import Path
# there is an `execution` beside it that is not ours
from celery_plans import action

@action("up.hold", timeout="60s")
def hold(started: str, gate: str) -> str:
    Path(started).touch()
    deadline = time.monotonic() + 30
    while not Path(gate).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return "let go"
"""
HOLDING = """
format: 1
name: holding
parameters:
  folder: {type: string, required: true}
steps:
  - id: wait
    action: up.hold
    with: {started: "${parameters.folder}/started", gate: "${parameters.folder}/gate"}
"""


@dataclass
class Up:
    """A running `plans up`, and what it has said so far."""

    process: "subprocess.Popen[str]"
    folder: Path
    said: str = ""

    def read_until(self, words: str) -> str:
        """Read on until a line holds `words`, and return that line."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if words in line:
                return line
        raise AssertionError(f"{words!r} was never said in:\n{self.said}")

    def end(self, number: int) -> int:
        """Send a signal, read what is said until the end, return the exit code."""
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=60)
        self.said += output
        return self.process.returncode

    def call(self, *arguments: str) -> str:
        """Run another command on the same servers and return its output."""
        return call_plans(self.folder, "--local", *arguments)

    def hold_a_step(self) -> str:
        """Submit an execution and return its id once its step runs."""
        parameter = f"folder={self.folder}"
        execution_id = self.call("submit", "holding.yaml", "-p", parameter)
        wait_until((self.folder / "started").exists, what="the step to start")
        return execution_id

    def let_go(self) -> None:
        """Let the step that is held end."""
        (self.folder / "gate").touch()

    def find_family(self) -> list[psutil.Process]:
        """Return every process that came of this one, the servers too."""
        return [
            *psutil.Process(self.process.pid).children(recursive=True),
            *find_servers(self.folder / "home"),
        ]

    def find_children(self, subcommand: str) -> list[psutil.Process]:
        """Return the processes that were started as this subcommand of Celery."""
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if subcommand in child.cmdline()]


def call_plans(folder: Path, *arguments: str, **variables: str) -> str:
    process = subprocess.run(
        [PLANS, *arguments],
        cwd=folder,
        env={**build_environment(), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


def build_environment(imports: str = "own_actions") -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PLANS_")}
    return {**kept, "PLANS_HOME": "home", "PLANS_IMPORTS": imports}


def read_statuses(home: Path) -> list[dict[str, str]]:
    return [json.loads(path.read_text()) for path in home.glob("*/status.json")]


def find_servers(home: Path) -> list[psutil.Process]:
    """Return the processes of the local stack in `home` that still run."""
    servers = []
    for status in read_statuses(home):
        for role in ("keeper_pid", "server_pid"):
            with suppress(psutil.NoSuchProcess):
                servers.append(psutil.Process(int(status[role])))
    return servers


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def await_end(processes: list[psutil.Process]) -> None:
    wait_until(
        lambda: all(is_gone(process) for process in processes),
        what=f"the end of {[process.pid for process in processes]}",
    )


def clear_up(home: Path) -> None:
    """Remove the local stack in `home` once its servers have stopped."""
    await_end(find_servers(home))
    for status in read_statuses(home):
        # for root, PostgreSQL's data lies outside its home
        shutil.rmtree(status["data"], ignore_errors=True)
    shutil.rmtree(home)


@contextmanager
def run_up(*options: str, imports: str = "own_actions") -> Iterator[Up]:
    """Run `plans up` in a folder of its own, and clear up behind it."""
    folder = Path(tempfile.mkdtemp(prefix="plans-up-"))
    (folder / "own_actions.py").write_text(ACTIONS)
    (folder / "execution").mkdir()
    (folder / "execution" / "__init__.py").write_text("raise SystemExit('not ours')")
    (folder / "holding.yaml").write_text(HOLDING)
    with subprocess.Popen(
        [PLANS, "up", *options],
        cwd=folder,
        env=build_environment(imports),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            up = Up(process, folder)
            up.read_until("Ctrl-C ends it all")
            yield up
        finally:
            process.kill()
    clear_up(folder / "home")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    """One `plans up` with two workers and Flower, not to be ended."""
    with run_up("--workers", "2", "-c", "1") as running:
        yield running


def test_what_is_submitted_elsewhere_runs(up: Up) -> None:
    up.let_go()

    assert json.loads(up.call("run", "holding.yaml", "-p", f"folder={up.folder}")) == (
        "let go"
    )


def test_lines_to_export_name_the_servers(up: Up) -> None:
    exports = re.findall(r"export (PLANS_\w+)=(.+)", up.said)
    variables = {name: shlex.split(value)[0] for name, value in exports}

    listed = json.loads(call_plans(up.folder, "list", "--json", **variables))

    assert set(variables) == {
        "PLANS_DATABASE_URL",
        "PLANS_BROKER_URL",
        "PLANS_REDIS_URL",
    }
    assert listed["next_cursor"] is None


def test_looking_leaves_the_functions_alone_that_workers_use(up: Up) -> None:
    url = re.findall(r"PostgreSQL +(\S+)", up.said)[0]
    database = Database(url, "celery_plans")
    statement = "SELECT '{schema}.claim_step'::regproc::oid AS id"
    before = database.query(statement)

    up.call("list")

    assert database.query(statement) == before
    database.close()


def test_worker_that_was_killed_is_started_again_and_that_is_said(up: Up) -> None:
    before = wait_until(lambda: up.find_children("worker"), what="workers")
    before[0].kill()

    said = up.read_until("was ended by SIGKILL")

    assert "again in 1 s" in said
    wait_until(lambda: len(up.find_children("worker")) == 2, what="a new worker")


def test_second_one_in_the_same_folder_is_refused(up: Up) -> None:
    second = subprocess.run(
        [PLANS, "up"],
        cwd=up.folder,
        env=build_environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert second.returncode == ExitCode.USAGE
    assert "already" in second.stderr


def fetch(url: str, login: str | None = None) -> int:
    headers = {}
    if login is not None:
        headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
    try:
        with urllib.request.urlopen(  # noqa: S310  # our own address
            urllib.request.Request(url, headers=headers)  # noqa: S310
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except urllib.error.URLError:
        return 0


def test_flower_shows_itself_to_who_has_the_password_alone(up: Up) -> None:
    found = re.search(r"Flower +(\S+) +user (\S+), password (\S+)", up.said)
    assert found is not None
    url, user, password = found.groups()
    wait_until(lambda: fetch(url), what="Flower to answer")

    assert fetch(url) == 401
    assert fetch(url, f"{user}:wrong") == 401
    assert fetch(url, f"{user}:{password}") == 200


def test_flower_listens_on_the_loopback_and_its_password_is_in_no_command_line(
    up: Up,
) -> None:
    password = re.findall(r"password (\S+)", up.said)[0]
    (flower,) = up.find_children("flower")

    def find_addresses() -> set[str]:
        found = flower.net_connections("inet")
        return {c.laddr.ip for c in found if c.status == psutil.CONN_LISTEN}

    assert wait_until(find_addresses, what="Flower to listen") == {"127.0.0.1"}
    family = psutil.Process(up.process.pid).children(recursive=True)
    assert not any(password in " ".join(child.cmdline()) for child in family)


def test_ctrl_c_lets_running_steps_finish_and_leaves_nothing() -> None:
    with run_up("--no-flower", "-c", "1") as up:
        execution_id = up.hold_a_step()
        family = up.find_family()
        up.process.send_signal(signal.SIGINT)
        up.read_until("finishing what runs")
        up.let_go()

        code = up.process.wait(60)

        await_end(family)
        shown = json.loads(up.call("show", execution_id, "--json"))
    assert code == ExitCode.OK
    assert shown["execution"]["status"] == "completed"
    assert shown["steps"][0]["attempt"] == 1


def test_second_ctrl_c_ends_at_once() -> None:
    with run_up("--no-flower", "-c", "1") as up:
        execution_id = up.hold_a_step()
        family = up.find_family()
        up.process.send_signal(signal.SIGINT)
        up.read_until("finishing what runs")

        code = up.end(signal.SIGINT)

        await_end(family)
        shown = json.loads(up.call("show", execution_id, "--json"))
    assert code == ExitCode.INTERRUPTED
    assert "ending at once" in up.said
    # given back: the next worker need not find out that nobody runs it
    assert shown["execution"]["status"] == "running"
    assert shown["steps"][0]["status"] == "ready"


def test_kill_9_leaves_no_orphan() -> None:
    with run_up("-c", "2") as up:
        up.hold_a_step()
        family = up.find_family()

        up.process.kill()

        await_end(family)
    assert len(family) >= 8


def test_worker_that_cannot_start_says_why() -> None:
    with run_up("--no-flower", imports="nowhere_to_be_found") as up:
        said = up.read_until("ended with code 1")

        code = up.end(signal.SIGTERM)

    assert "PLANS_IMPORTS names 'nowhere_to_be_found'" in said
    assert "again in 1 s" in said
    assert code == ExitCode.OK
