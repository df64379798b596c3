"""Commands on real terminals and in pipes: Ctrl-C, widths, colours, completion."""

import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager

import pytest
from celery.platforms import EX_FAILURE
from typer.testing import CliRunner, Result

from execution.cli.app import app
from execution.cli.exits import ExitCode
from tests.integration.test_cli import PLANS, Project, open_project
from tests.terminal import Terminal, open_terminal


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    """A folder with plans, one of them published, and a database; nobody works."""
    with open_project() as opened:
        assert opened.call("db", "upgrade").code == ExitCode.OK
        assert opened.call("publish", opened.file("adding.yaml")).code == ExitCode.OK
        yield opened


@pytest.fixture(scope="module")
def pending(project: Project) -> str:
    """The id of an execution that nobody runs."""
    answer = project.call("submit", "adding", "-p", "n=1", "--tag", "looked-at")
    return answer.output.strip()


def start(
    project: Project,
    *arguments: str,
    columns: int = 160,
    term: str = "xterm-256color",
    no_color: str = "",
) -> AbstractContextManager[Terminal]:
    """Start a command on a terminal."""
    environment = {**project.environment, "TERM": term, "NO_COLOR": no_color}
    return open_terminal(
        [PLANS, *arguments], project.folder, environment, columns=columns
    )


# Ctrl-C


@pytest.mark.parametrize(
    "command",
    [["watch"], ["run", "adding", "-p", "n=1"]],
    ids=["watch", "run"],
)
def test_ctrl_c_ends_the_looking_and_says_how_to_go_on(
    project: Project, pending: str, command: list[str]
) -> None:
    ids = [pending] if command == ["watch"] else []
    with start(project, *command, *ids) as terminal:
        terminal.read_until("0/2")
        terminal.press(b"\x03")
        code = terminal.wait()

    assert code == ExitCode.INTERRUPTED
    assert "goes on; follow it with: plans watch " in terminal.words
    assert "Traceback" not in terminal.words
    listed = project.call("list", "--status", "pending", "--json").json["items"]
    assert pending in {item["id"] for item in listed}


@pytest.mark.parametrize("command", ["watch", "list"])
def test_all_that_filters_name_are_shown_while_they_move(
    project: Project, pending: str, command: str
) -> None:
    options = ["--watch"] if command == "list" else []
    with start(project, command, *options, "--tag", f"all-{command}") as terminal:
        terminal.read_until("nothing has moved yet")
        begun = project.call("submit", "adding", "-p", "n=1", "--tag", f"all-{command}")
        terminal.read_until(begun.output.strip())
        project.call("pause", begun.output.strip())
        terminal.read_until("execution.paused")
        terminal.press(b"\x03")
        code = terminal.wait()

    assert code == ExitCode.INTERRUPTED
    assert "Traceback" not in terminal.words
    assert pending not in terminal.words


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["lines", "json"])
def test_all_that_filters_name_come_as_lines_into_a_pipe(
    project: Project, options: list[str]
) -> None:
    tag = f"piped{len(options)}"
    with project.spawn("watch", "--tag", tag, *options) as watch:
        assert watch.stderr is not None
        assert watch.stdout is not None
        assert "following" in watch.stderr.readline()
        begun = project.call("submit", "adding", "-p", "n=1", "--tag", tag)
        line = watch.stdout.readline()
        watch.send_signal(signal.SIGINT)
        _, complaint = watch.communicate(timeout=60)
    execution_id = begun.output.strip()

    if options:
        assert json.loads(line)["execution_id"] == execution_id
    else:
        assert line.startswith(f"{execution_id}  execution.")
    assert (watch.returncode, complaint) == (ExitCode.INTERRUPTED, "")


def test_ctrl_c_ends_a_worker_that_is_idle_with_celerys_own_code(
    project: Project,
) -> None:
    with start(project, "worker", "--queues", "idle", "--pool", "solo") as terminal:
        terminal.read_until("ready.")
        terminal.press(b"\x03")
        code = terminal.wait()

    # 1, as `celery worker` answers Ctrl-C; SIGTERM it answers by 0
    assert code == EX_FAILURE
    assert "Traceback" not in terminal.words


# widths and colours


@pytest.mark.parametrize("columns", [80, 160])
def test_ids_are_whole_on_a_terminal(
    project: Project, pending: str, columns: int
) -> None:
    with start(project, "list", "--tag", "looked-at", columns=columns) as terminal:
        code = terminal.wait()

    lines = terminal.words.splitlines()
    assert code == ExitCode.OK
    # a state that is pending is dim
    assert "\x1b[2mpending" in terminal.drawn
    assert any(pending in line and "0/2" in line for line in lines)
    assert max(map(len, lines)) <= columns
    assert ("created" in terminal.words) is (columns == 160)


@pytest.mark.parametrize(
    ("options", "no_color", "is_coloured"),
    [([], "", True), ([], "1", False), (["--no-color"], "", False)],
    ids=["usual", "NO_COLOR", "--no-color"],
)
def test_colours_are_left_out_where_they_are_not_wanted(
    project: Project, options: list[str], no_color: str, is_coloured: bool
) -> None:
    begun = project.call("submit", "adding", "-p", "n=1", "--tag", "held")
    project.call("pause", begun.output.strip())

    with start(
        project, *options, "list", "--tag", "held", no_color=no_color
    ) as terminal:
        terminal.wait()

    assert "paused" in terminal.words
    assert ("\x1b[33mpaused" in terminal.drawn) is is_coloured


def test_a_dumb_terminal_gets_lines(project: Project, pending: str) -> None:
    with start(project, "watch", pending, term="dumb") as terminal:
        terminal.read_until("step.ready one")
        terminal.press(b"\x03")
        terminal.wait()

    assert "\x1b" not in terminal.drawn


def test_a_pipe_gets_a_line_for_each_row_and_no_box(
    project: Project, pending: str
) -> None:
    tag = "t" * 200
    project.call("submit", "adding", "-p", "n=1", "--tag", tag, "--tag", "long")

    answer = project.call("list", "--tag", "long", COLUMNS="60")
    head, *rows = answer.output.splitlines()

    assert head.split() == ["id", "plan", "state", "steps", "created", "time", "tags"]
    assert len(rows) == 1
    assert rows[0].endswith(f"sums, {tag}, long")
    assert answer.output.isascii()


# completion


def ask_for_words(shell: str, typed: str) -> dict[str, str]:
    """Return the variables by which the shell's script asks for the last word."""
    return {
        "_PLANS_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split(" ")) - 1),
        "_TYPER_COMPLETE_ARGS": typed,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }


def complete(shell: str, typed: str, variables: Mapping[str, str]) -> Result:
    """Ask for the last word of what is typed."""
    environment = {**ask_for_words(shell, typed), **variables}
    return CliRunner().invoke(app, [], prog_name="plans", env=environment)


def test_a_shell_is_answered(project: Project, pending: str) -> None:
    variables = ask_for_words("bash", f"plans show {pending[:30]}")

    with project.spawn(**variables) as process:
        words, complaint = process.communicate(timeout=60)

    assert (pending in words.split(), complaint) == (True, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_ids_of_executions_are_offered(
    project: Project, pending: str, shell: str
) -> None:
    done = complete(shell, f"plans show {pending[:30]}", project.environment)

    assert pending in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("plans wa", "watch"),
        ("plans list --sta", "--status"),
        ("plans list --status pa", "paused"),
        ("plans list --plan ad", "adding"),
        ("plans versions a", "adding"),
        ("plans db up", "upgrade"),
        ("plans graph x --format s", "svg"),
    ],
)
def test_what_can_follow_is_offered(project: Project, typed: str, offered: str) -> None:
    done = complete("bash", typed, project.environment)

    assert offered in done.stdout.split()
    assert done.stderr == ""


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"PLANS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"},
        {"PLANS_LOCAL": "1", "PLANS_HOME": "nowhere"},
        {"PLANS_LEASE_SECONDS": "soon"},
    ],
    ids=["unnamed", "away", "not started", "wrong"],
)
def test_without_a_database_nothing_is_offered_and_nothing_said(
    project: Project, variables: dict[str, str]
) -> None:
    done = complete("bash", "plans show 0", variables)

    assert (done.stdout.strip(), done.stderr) == ("", "")
    assert not (project.folder / "nowhere").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_shown(
    shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the shell that this runs in is not the one to be shown
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")

    done = CliRunner().invoke(app, ["--show-completion", shell], prog_name="plans")

    assert "_PLANS_COMPLETE=complete_" in done.stdout
