"""Commands and their servers: missing, unfit, upgraded, or of the local stack."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from execution.cli.exits import ExitCode
from tests.integration.test_cli import Project, open_project
from tests.integration.test_cli_up import clear_up


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    with open_project() as opened:
        yield opened


def test_server_that_is_not_there_ends_with_4_and_keeps_its_password(
    project: Project,
) -> None:
    url = "postgresql+psycopg2://ann:hunter2@127.0.0.1:1/nowhere"

    answer = project.call("list", PLANS_DATABASE_URL=url)

    assert answer.code == ExitCode.UNAVAILABLE
    assert "PostgreSQL is not available" in answer.complaint
    assert "hunter2" not in answer.complaint


def test_database_without_the_schema_ends_with_2_and_names_the_command(
    project: Project,
) -> None:
    answer = project.call("list", PLANS_SCHEMA="cli_missing")

    assert answer.code == ExitCode.USAGE
    assert "plans db upgrade" in answer.complaint


def test_schema_goes_up_is_checked_and_goes_down_again(project: Project) -> None:
    schema = {"PLANS_SCHEMA": "cli_up_and_down"}

    before = project.call("db", "check", **schema)
    up = project.call("db", "upgrade", **schema)
    fits = project.call("db", "check", **schema)
    down = project.call("db", "downgrade", "base", "--yes", **schema)
    after = project.call("db", "check", **schema)

    codes = [answer.code for answer in (before, up, fits, down, after)]
    assert codes == [ExitCode.FAILED, 0, 0, 0, ExitCode.FAILED]
    assert before.output == "there is no schema cli_up_and_down\n"
    assert "fits this release" in fits.output
    assert "the tables are at revision None" in after.output


def test_downgrade_without_a_yes_changes_nothing(project: Project) -> None:
    schema = {"PLANS_SCHEMA": "cli_kept"}
    project.call("db", "upgrade", **schema)

    answer = project.call("db", "downgrade", "base", **schema)

    assert answer.code == ExitCode.FAILED
    assert "will be lost" in answer.complaint
    assert project.call("db", "check", **schema).code == ExitCode.OK


def test_downgrade_to_an_unknown_revision_ends_with_2(project: Project) -> None:
    schema = {"PLANS_SCHEMA": "cli_unknown"}
    project.call("db", "upgrade", **schema)

    answer = project.call("db", "downgrade", "nowhere", "--yes", **schema)

    assert answer.code == ExitCode.USAGE
    assert "nowhere" in answer.complaint


def test_worker_takes_the_local_stack_over_and_ends_on_sigterm(
    tmp_path: Path, project: Project
) -> None:
    local = Project(
        project.folder,
        {"PLANS_HOME": str(tmp_path / "home"), "PLANS_IMPORTS": "own_actions"},
    )
    with local.spawn("worker", "--local", "-c", "1", "--pool", "solo") as worker:
        with local.spawn("--local", "run", "adding.yaml", "-p", "n=5") as run:
            output, complaint = run.communicate(timeout=60)
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=60)

    assert run.returncode == 0, complaint
    assert json.loads(output)["sum"] == 16
    assert worker.returncode == 0
    # the servers stop with their last user, so this ends
    clear_up(tmp_path / "home")
