"""The frame of the command line: the list of commands, exit codes, masked passwords."""

import subprocess
import sys

import pytest
import typer.main
from typer.testing import CliRunner

from execution.cli.app import app
from execution.cli.exits import ExitCode, UsageError, exit_code, printable
from execution.errors import (
    BatchNotFoundError,
    DatabaseError,
    ExecutionNotFoundError,
    Fault,
    LocalStackError,
    ParameterError,
    PlansError,
    PlanValidationError,
    ScheduleNotFoundError,
    SchemaMismatchError,
    SettingsError,
    SignalNotAwaitedError,
    StepNotFoundError,
    SubmissionConflictError,
)
from execution.masking import mask

COMMANDS = (
    "demo",
    "up",
    "worker",
    "publish",
    "submit",
    "run",
    "list",
    "show",
    "watch",
    "pause",
    "resume",
    "cancel",
    "actions",
    "validate",
    "schema",
    "graph",
    "explain",
    "versions",
    "diff",
    "db",
)
FAULTS = (Fault("name", "is missing", rule="missing-field"),)


@pytest.mark.parametrize("name", COMMANDS)
def test_line_in_the_list_is_the_first_line_of_the_commands_own_help(name: str) -> None:
    group = typer.main.get_command(app)
    context = typer.Context(group)
    line = group.get_command(context, name).help  # type: ignore[attr-defined]  # it is a group

    _, command, _ = group.resolve_command(context, [name])  # type: ignore[attr-defined]

    assert command.help.splitlines()[0] == line


def test_help_names_every_command_and_exit_code() -> None:
    result = CliRunner().invoke(app, ["--help"])

    assert result.exit_code == ExitCode.OK
    assert all(f" {name} " in result.stdout for name in COMMANDS)
    assert all(str(code.value) in result.stdout for code in ExitCode)


def test_help_imports_neither_engine_nor_celery() -> None:
    program = (
        "import sys\n"
        "from execution.cli import main\n"
        "sys.argv = ['plans', '--help']\n"
        "try:\n    main()\n"
        "except SystemExit:\n"
        "    heavy = {'celery', 'sqlalchemy', 'pydantic', 'redis', 'alembic'}\n"
        "    sys.exit(sorted(heavy & set(sys.modules)) or None)\n"
    )

    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert process.returncode == 0, process.stderr


def test_version_is_printed() -> None:
    result = CliRunner().invoke(app, ["--version"])

    assert result.exit_code == ExitCode.OK
    assert result.stdout.startswith("plans ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["show"],
        ["list", "--page-size", "0"],
        ["list", "--status", "nice"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == ExitCode.USAGE
    assert "Traceback" not in result.stderr


def test_a_slip_in_a_command_is_guessed() -> None:
    result = CliRunner().invoke(app, ["lst"])

    assert result.exit_code == ExitCode.USAGE
    assert "Did you mean 'list'?" in result.stderr


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "PLANS_DATABASE_URL and PLANS_BROKER_URL not set"),
        ({"PLANS_DATABSE_URL": "x"}, "did you mean PLANS_DATABASE_URL?"),
        ({"PLANS_LEASE_SECONDS": "soon"}, "is not a number of seconds"),
    ],
    ids=["missing", "misspelt", "malformed"],
)
def test_wrong_settings_end_with_2_and_say_what_to_set(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PLANS_DATABASE_URL", "PLANS_BROKER_URL", "PLANS_LOCAL"):
        monkeypatch.delenv(name, raising=False)

    result = CliRunner().invoke(app, ["list"], env=variables)

    assert result.exit_code == ExitCode.USAGE
    assert expected in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ExecutionNotFoundError("x"), ExitCode.NOT_FOUND),
        (StepNotFoundError("x"), ExitCode.NOT_FOUND),
        (SignalNotAwaitedError("x"), ExitCode.NOT_FOUND),
        (ScheduleNotFoundError("x"), ExitCode.NOT_FOUND),
        (BatchNotFoundError("x"), ExitCode.NOT_FOUND),
        (DatabaseError("x"), ExitCode.UNAVAILABLE),
        (LocalStackError("x"), ExitCode.UNAVAILABLE),
        (SettingsError("x"), ExitCode.USAGE),
        (SchemaMismatchError("x"), ExitCode.USAGE),
        (UsageError("x"), ExitCode.USAGE),
        (ParameterError(FAULTS), ExitCode.USAGE),
        (PlanValidationError(FAULTS), ExitCode.FAILED),
        (SubmissionConflictError("x"), ExitCode.FAILED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_kind_of_error_decides_the_exit_code(error: PlansError, code: ExitCode) -> None:
    assert exit_code(error) is code


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at postgresql://ann:secret@host/db", "at postgresql://ann:***@host/db"),
        ("redis://:secret@host:6379/0 down", "redis://:***@host:6379/0 down"),
        ("amqp://u:se@cr:et@host//", "amqp://u:***@host//"),
        ("postgresql:///db?password=secret&x=1", "postgresql:///db?password=***&x=1"),
        ("postgresql:///db?password=a'secret", "postgresql:///db?password=***"),
        ("host=h password='sec\\' ret' port=1", "host=h password=*** port=1"),
        ("host=h Password = secret", "host=h Password = ***"),
        ("dsn 'user=ann password=secret'", "dsn 'user=ann password=***'"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("postgresql://ann@host:5432/db", "postgresql://ann@host:5432/db"),
    ],
)
def test_passwords_are_masked_and_nothing_else(text: str, expected: str) -> None:
    assert mask(text) == expected


def test_what_a_terminal_would_obey_is_made_visible() -> None:
    assert printable("a\x1b[31m\tb\nc\x9b") == "a�[31m�b c�"
