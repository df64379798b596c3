"""`plans demo` as its audience runs it: once to the end, once interrupted."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from execution.cli.exits import ExitCode
from tests.integration.test_cli_up import await_end, clear_up, find_servers

PLANS = str(Path(sys.executable).with_name("plans"))
MOST_SECONDS = 120


@dataclass(frozen=True)
class Shown:
    """What a demo came to."""

    code: int
    output: str
    complaint: str
    folder: Path


def start_demo(folder: Path, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [PLANS, "demo", *options],
        cwd=folder,
        # servers of the user's, and a misspelt name: none of the demo's business
        env={
            **os.environ,
            "PLANS_DATABASE_URL": "postgresql+psycopg2://127.0.0.1:1/users_own",
            "PLANS_BROKER_URL": "redis://127.0.0.1:1/0",
            "PLANS_DATABSE_URL": "x",
            "PLANS_HOME": "",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="plans-demo-"))
    # what the user works on must not be taken for what the demo needs
    (path / "stdlib_census.py").write_text("raise SystemExit('not ours')")
    yield path
    clear_up(path / ".plans" / "demo")
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def shown(folder: Path) -> Shown:
    with start_demo(folder, "--keep-output", "out") as demo:
        output, complaint = demo.communicate(timeout=MOST_SECONDS)
    return Shown(demo.returncode, output, complaint, folder)


def test_demo_succeeds_and_complains_of_nothing(shown: Shown) -> None:
    assert shown.code == ExitCode.OK, shown.output + shown.complaint
    assert shown.complaint == ""


def test_a_worker_is_killed_after_a_step_is_done_and_its_steps_run_again(
    shown: Shown,
) -> None:
    order = re.findall(
        r"(step\.completed parse_|kill -9|step\.lost parse_|\(attempt 2; host)",
        shown.output,
    )

    assert order[0] == "step.completed parse_"
    assert order.index("kill -9") < order.index("step.lost parse_")
    assert order.index("step.lost parse_") < order.index("(attempt 2; host")


def test_the_record_shows_that_nothing_was_lost(shown: Shown) -> None:
    assert "each of 11 steps has exactly one success" in shown.output
    assert re.search(r"parse_\d was lost with its worker; attempt 2", shown.output)
    assert re.search(r"numbered from 1 to \d+ without a gap", shown.output)


def test_the_report_lies_where_it_was_asked_for(shown: Shown) -> None:
    report = shown.folder / "out" / "census.md"

    assert f"report  {report}" in shown.output
    assert "standard library" in report.read_text()
    assert report.with_suffix(".svg").exists()


def test_a_pipe_gets_no_control_sequences(shown: Shown) -> None:
    assert "\x1b" not in shown.output


def test_interrupted_demo_leaves_nothing_running_and_none_runs_beside_it(
    shown: Shown,
) -> None:
    with start_demo(shown.folder) as demo:
        assert demo.stdout is not None
        seen = iter(demo.stdout.readline, "")
        assert any("starting PostgreSQL" in line for line in seen)
        # on a busy machine it would end before another is refused
        demo.send_signal(signal.SIGSTOP)
        with start_demo(shown.folder) as other:
            _, complaint = other.communicate(timeout=MOST_SECONDS)
        demo.send_signal(signal.SIGCONT)
        assert any("step.started parse_" in line for line in seen)
        family = psutil.Process(demo.pid).children(recursive=True)
        family += find_servers(shown.folder / ".plans" / "demo")
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=MOST_SECONDS)

    assert other.returncode == ExitCode.USAGE
    assert "another demo runs" in complaint
    assert demo.returncode == ExitCode.INTERRUPTED
    await_end(family)
