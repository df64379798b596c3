"""`plans bulk` and `plans batch`: what they say, ask and end with."""

import json
from collections.abc import Iterator

import pytest

from execution.cli.exits import ExitCode
from tests.integration.test_cli import Project, open_project


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    """A folder with a published plan, and a database that no worker looks at."""
    with open_project() as opened:
        assert opened.call("db", "upgrade").code == 0
        assert opened.call("publish", opened.file("adding.yaml")).code == 0
        yield opened


def submit(project: Project, tag: str) -> str:
    answer = project.call("submit", "adding", "-p", "n=1", "--tag", tag)
    return answer.output.strip()


def test_a_dry_run_says_how_many_and_begins_nothing(project: Project) -> None:
    ids = [submit(project, "dry"), submit(project, "dry")]

    answer = project.call("bulk", "pause", "--tag", "dry", "--dry-run")

    first, *named = answer.output.splitlines()
    assert (answer.code, first) == (0, "2 executions to be paused: 2 pending")
    assert sorted(line.strip() for line in named) == sorted(ids)
    listed = project.call("batch", "list", "--json")
    assert json.loads(listed.output)["items"] == []


def test_nobody_is_asked_where_nobody_is(project: Project) -> None:
    submit(project, "asked")

    answer = project.call("bulk", "pause", "--tag", "asked")

    assert answer.code == ExitCode.USAGE
    assert "look with --dry-run, then --yes" in answer.complaint


def test_all_executions_have_to_be_meant(project: Project) -> None:
    answer = project.call("bulk", "cancel", "--yes")

    assert answer.code == ExitCode.USAGE
    assert "say that all are meant: --all" in answer.complaint


def test_nothing_found_says_so(project: Project) -> None:
    answer = project.call("bulk", "resume", "--tag", "nobodys", "--yes")

    assert answer.code == ExitCode.NOT_FOUND
    assert "no execution that these filters find and that can be resumed" in (
        answer.complaint
    )


def test_a_batch_is_shown_with_who_asked_and_why(project: Project) -> None:
    submit(project, "shown")

    answer = project.call(
        *("bulk", "cancel", "--tag", "shown", "--yes", "--rate", "30/m"),
        *("--stop-after", "50%", "--by", "ann", "--reason", "sent twice"),
    )

    text = answer.output
    assert answer.code == 0
    assert "cancel 1 execution: 0 done, 0 refused, 0 failed, 1 to go" in text
    assert "sent twice" in text
    assert "asked by ann at" in text
    assert "rate: 0.5 a second" in text
    assert "stops after 1 failure" in text
    (batch_id,) = [
        one["id"]
        for one in json.loads(project.call("batch", "list", "--json").output)["items"]
        if one["reason"] == "sent twice"
    ]
    ended = project.call("batch", "cancel", batch_id, "--reason", "a mistake")
    assert "running -> cancelled" in ended.output
    assert project.call("batch", "wait", batch_id).code == ExitCode.FAILED


def test_what_a_retry_would_cost_is_said_by_step(project: Project) -> None:
    execution_id = submit(project, "costly")
    project.call("cancel", execution_id)

    answer = project.call("bulk", "retry", "--tag", "costly", "--dry-run")

    assert answer.output.startswith("1 execution to be retried: 1 cancelled")
    assert "1 times, new, 0 attempts, 0.0 s" in answer.output
    assert "in all 0 repeats, 0.0 s" in answer.output
