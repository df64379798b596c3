"""`plans actions`, and `plans validate` beside a catalogue."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from execution import ExecutionEngine, Settings
from execution.actions import ActionRegistry
from execution.cli.app import app
from execution.cli.exits import ExitCode
from execution.liveness import LivenessRecords
from tests.integration.test_protocol import register
from tests.worker_process import build_environment

Call = Callable[..., Result]


def add(left: int, right: int = 1, **others: float) -> int:
    """Add [two] numbers.

    And some more.
    """
    return left + right


def leave(count) -> None:  # type: ignore[no-untyped-def]  # as users write
    return None


@pytest.fixture(scope="module", autouse=True)
def published(settings: Settings, liveness: LivenessRecords) -> str:
    """Actions of a worker that is only a row."""
    actions = ActionRegistry()
    actions.add("math.add", add, "90s")
    actions.add("math.leave", leave, None)
    return register(liveness, settings, actions=actions.to_json())


@pytest.fixture(scope="module")
def environment(settings: Settings) -> Mapping[str, str]:
    return build_environment(settings)


@pytest.fixture
def call(environment: Mapping[str, str]) -> Call:
    def run(*arguments: str, **variables: str | None) -> Result:
        return CliRunner().invoke(app, arguments, env={**environment, **variables})

    return run


@pytest.fixture
def plan_file(tmp_path: Path) -> Path:
    path = tmp_path / "sums.yaml"
    path.write_text(
        "format: 1\n"
        "name: sums\n"
        "defaults: {timeout: 1m}\n"
        "steps:\n"
        "  - {id: one, action: math.add, with: {left: two}}\n"
        "  - {id: two, action: math.ad}\n"
    )
    return path


FAULTS = """\
{path}:5:40: E001 unfit-input steps[0].with.left: must be of type integer, and is "two"
{path}:6:15: E001 unknown-action steps[1].action: no worker has published "math.ad"; \
did you mean "math.add"?
"""


def test_actions_are_listed(call: Call) -> None:
    answer = call("actions")

    (row,) = [line for line in answer.output.splitlines() if "math.add" in line]
    for expected in ("left, [right], …", "90 s", " 1 ", "Add [two] numbers."):
        assert expected in row
    assert "And some more" not in answer.output


def test_one_action_is_shown_whole(call: Call) -> None:
    answer = call("actions", "math.add")

    assert answer.exit_code == ExitCode.OK
    for expected in (
        "by by-hand",
        "left: int\n",
        "right: int = 1\n",
        '{"type": "integer"}',
        "… others\n",
        "returns\n",
        "And some more.",
    ):
        assert expected in answer.output


def test_what_is_not_known_of_an_action_is_shown_as_anything(call: Call) -> None:
    assert "count\n    anything" in call("actions", "math.leave").output


def test_json_of_actions_has_the_documented_keys(call: Call) -> None:
    listed = json.loads(call("actions", "--json").output)
    one = json.loads(call("actions", "math.add", "--json").output)

    assert list(listed) == ["items"]
    assert one in listed["items"]
    assert list(one) == [
        "name",
        "doc",
        "signature",
        "timeout_seconds",
        "published_by",
        "published_at",
        "uses",
        "workers",
    ]
    assert list(one["signature"]) == ["parameters", "others", "result"]
    assert one["signature"]["parameters"][1] == {
        "name": "right",
        "is_required": False,
        "hint": "int",
        "has_default": True,
        "default": 1,
        "schema": {"type": "integer"},
    }


def test_an_action_that_is_not_there_ends_with_3(call: Call) -> None:
    answer = call("actions", "math.leaf")

    assert answer.exit_code == ExitCode.NOT_FOUND
    assert answer.stderr == (
        "plans: no worker has published an action 'math.leaf';"
        ' did you mean "math.leave"?\n'
    )


def test_a_submit_of_a_file_names_line_and_column(call: Call, plan_file: Path) -> None:
    answer = call("submit", str(plan_file))

    assert answer.exit_code == ExitCode.FAILED
    assert answer.stdout == ""
    assert "plans: steps[0].with.left (line 5, column 40): must be" in answer.stderr


def test_validate_compares_with_the_catalogue(call: Call, plan_file: Path) -> None:
    answer = call("validate", str(plan_file))
    as_json: Any = json.loads(call("validate", str(plan_file), "--json").output)

    assert answer.exit_code == ExitCode.FAILED
    assert answer.output == FAULTS.format(path=plan_file)
    assert as_json["valid"] is False
    assert [fault["line"] for fault in as_json["faults"]] == [5, 6]


@pytest.mark.parametrize(
    ("options", "endless"),
    [([], ["rest"]), (["--no-catalogue"], ["sum", "rest"])],
    ids=["asked", "not asked"],
)
def test_an_action_with_a_timeout_of_its_own_needs_none(
    call: Call, tmp_path: Path, options: list[str], endless: list[str]
) -> None:
    path = tmp_path / "sums.yaml"
    path.write_text(
        "format: 1\n"
        "name: sums\n"
        "steps:\n"
        "  - {id: sum, action: math.add, with: {left: 2}}\n"
        "  - {id: rest, action: math.leave, with: {count: 1}}\n"
    )

    answer = call("validate", str(path), *options)
    as_json: Any = json.loads(call("validate", str(path), *options, "--json").output)

    message = f"steps without a timeout can run for ever: {', '.join(endless)}"
    assert answer.exit_code == ExitCode.OK
    assert answer.stdout.splitlines()[0] == f"{path}: W001 no-timeout: {message}"
    assert as_json["warnings"] == [{"rule": "no-timeout", "message": message}]


@pytest.mark.parametrize(
    ("options", "variables"),
    [
        (["--no-catalogue"], {}),
        ([], {"PLANS_CHECK": "off"}),
        ([], {"PLANS_DATABASE_URL": None}),
    ],
    ids=["told not to", "switched off", "no database"],
)
def test_validate_works_without_the_catalogue(
    call: Call, plan_file: Path, options: list[str], variables: dict[str, Any]
) -> None:
    answer = call("validate", str(plan_file), *options, **variables)

    assert answer.exit_code == ExitCode.OK
    assert answer.stderr == ""
    assert "has no faults" in answer.stdout


@pytest.mark.parametrize(
    "variables",
    [
        {"PLANS_DATABASE_URL": "postgresql://a@/b?host=/nowhere"},
        {"PLANS_SCHEMA": "not_there"},
    ],
    ids=["no server", "no schema"],
)
def test_a_catalogue_that_does_not_answer_is_a_warning(
    call: Call, plan_file: Path, variables: dict[str, Any]
) -> None:
    answer = call("validate", str(plan_file), **variables)

    assert answer.exit_code == ExitCode.OK
    assert answer.stderr.startswith("warning: actions were not checked: ")
    assert "has no faults" in answer.stdout


def test_an_engine_and_the_command_tell_the_same(
    call: Call, engine: ExecutionEngine
) -> None:
    listed = json.loads(call("actions", "--json").output)["items"]

    assert [item["name"] for item in listed] == [a.name for a in engine.list_actions()]
