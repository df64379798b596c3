"""`plans logs`, on an execution whose steps are played by hand."""

import io
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from execution import ExecutionEngine, Settings
from execution.cli.app import app
from execution.cli.exits import ExitCode
from execution.cli.logs import _print_line
from execution.liveness import LivenessRecords
from execution.observations import LineLevel
from execution.records import StepRecords
from tests.integration.test_logs import PLAN, Teller
from tests.integration.test_protocol import register
from tests.worker_process import build_environment


@pytest.fixture
def teller(
    engine: ExecutionEngine,
    settings: Settings,
    records: StepRecords,
    liveness: LivenessRecords,
) -> Teller:
    """An execution whose first step has told three lines."""
    worker_id = register(liveness, settings)
    told = Teller(engine, records, worker_id, engine.submit(PLAN))
    ctx = told.begin()
    ctx.log.info("parsed [red]%d[/red]", 900)
    ctx.log.error("\x1b[31mno\x1b[0m\nway\x07")
    ctx.lines.write(LineLevel.INFO, "stdout", "printed\n")
    told.end(ctx)
    return told


def call(settings: Settings, *arguments: str) -> Result:
    environment = build_environment(settings)
    return CliRunner().invoke(app, ["logs", *arguments], env=environment)


def without_time(text: str) -> list[str]:
    return [
        re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} ", "", line)
        for line in text.splitlines()
    ]


def finish(teller: Teller) -> None:
    ctx = teller.begin(1)
    ctx.log.info("the last")
    teller.end(ctx)
    teller.engine._finish(teller.execution_id)


def test_lines_are_printed_plainly_into_a_pipe(
    settings: Settings, teller: Teller
) -> None:
    answer = call(settings, teller.execution_id)

    assert answer.exit_code == ExitCode.OK
    assert without_time(answer.stdout) == [
        "info     first ctx.log: parsed [red]900[/red]",
        "error    first ctx.log: no",
        "    way\N{REPLACEMENT CHARACTER}",
        "info     first stdout: printed",
    ]


def test_a_terminal_is_shown_levels_in_colour(teller: Teller) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=80)

    for line in teller.engine.list_logs(teller.execution_id):
        _print_line(console, line)

    written = shown.getvalue()
    assert "\x1b[31mno" in written
    assert "\x1b[31m    way" in written
    assert "\x07" not in written


def test_json_is_one_object_with_every_line(settings: Settings, teller: Teller) -> None:
    answer = call(settings, teller.execution_id, "--json")

    items = json.loads(answer.stdout)["items"]
    assert list(items[0]) == [
        "id",
        "execution_id",
        "step",
        "attempt",
        "number",
        "level",
        "source",
        "message",
        "at",
    ]
    assert [item["number"] for item in items] == [1, 2, 3]


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (["--level", "error"], [2]),
        (["--step", "first"], [1, 2, 3]),
        (["--step", "last"], []),
        # an item is there only later
        (["--step", "first[7]"], []),
    ],
)
def test_lines_are_chosen(
    settings: Settings, teller: Teller, options: list[str], numbers: list[int]
) -> None:
    answer = call(settings, teller.execution_id, "--json", *options)

    assert [item["number"] for item in json.loads(answer.stdout)["items"]] == numbers


def test_that_there_are_no_lines_is_said_beside_the_output(
    settings: Settings, teller: Teller
) -> None:
    answer = call(settings, teller.execution_id, "--step", "last")

    assert (answer.exit_code, answer.stdout) == (ExitCode.OK, "")
    assert answer.stderr == "no step has logged or printed such lines\n"


def test_lines_go_on_after_one_that_is_known(
    settings: Settings, teller: Teller
) -> None:
    first = teller.engine.list_logs(teller.execution_id)[0]

    answer = call(settings, teller.execution_id, "--json", "--since-id", str(first.id))

    assert [item["number"] for item in json.loads(answer.stdout)["items"]] == [2, 3]


def test_following_prints_a_json_object_for_each_line(
    settings: Settings, teller: Teller
) -> None:
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(
            call, settings, teller.execution_id, "--follow", "--json"
        )
        finish(teller)
        answer = following.result(timeout=20)

    assert answer.exit_code == ExitCode.OK
    lines = [json.loads(line) for line in answer.stdout.splitlines()]
    assert [line["number"] for line in lines] == [1, 2, 3, 1]


def test_following_ends_as_the_execution_does(
    settings: Settings, teller: Teller
) -> None:
    teller.engine.cancel(teller.execution_id)

    answer = call(settings, teller.execution_id, "-f")

    assert answer.exit_code == ExitCode.FAILED
    assert len(without_time(answer.stdout)) == 4


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_nothing_is_printed_of_an_execution_that_told_nothing(
    settings: Settings, engine: ExecutionEngine, as_json: list[str]
) -> None:
    answer = call(settings, engine.submit(PLAN), *as_json)

    assert answer.exit_code == ExitCode.OK
    assert answer.stdout == ('{\n  "items": []\n}\n' if as_json else "")


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["no-id"], ExitCode.NOT_FOUND, "there is no execution 'no-id'"),
        (["no-id", "-f"], ExitCode.NOT_FOUND, "there is no execution 'no-id'"),
        (
            ["ID", "--step", "frist"],
            ExitCode.USAGE,
            "no step 'frist'; it has first, last",
        ),
        (["ID", "--level", "loud"], ExitCode.USAGE, "loud"),
        (["ID", "--since-id", "-1"], ExitCode.USAGE, "greater than"),
    ],
)
def test_what_cannot_be_shown_says_why(
    settings: Settings, teller: Teller, arguments: list[str], code: int, complaint: str
) -> None:
    given = [teller.execution_id if one == "ID" else one for one in arguments]

    answer = call(settings, *given)

    assert answer.exit_code == code
    assert complaint in answer.stderr
    assert answer.stdout == ""
