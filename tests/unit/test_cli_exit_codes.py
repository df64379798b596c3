"""The exit code of every command for what is wrong outside of it: usage, servers."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from execution.cli.app import _COMMANDS, app
from execution.cli.exits import ExitCode

ID = "019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1"
PLAN = "format: 1\nname: tiny\nsteps:\n  - {id: one, action: a.b, timeout: 1s}\n"
AWAY = {
    "PLANS_DATABASE_URL": "postgresql://ann:hunter2@127.0.0.1:1/none",
    "PLANS_BROKER_URL": "redis://127.0.0.1:1",
}
ASKING = (
    *("list", "list --where plan=='a'", "workers", "actions", "versions tiny"),
    *(f"{command} {ID}" for command in ("show", "watch", "logs", "why", "graph")),
    *(f"{command} {ID}" for command in ("pause", "resume", "cancel", "retry")),
    *("pauses", "pause --queue q", "pause --plan p", "resume --tag t"),
    *(f"skip {ID} a", f"force {ID} a 1", f"signal {ID} a 1"),
    *("pause --uses stripe", "resume --uses stripe --at-once", "dependency list"),
    *("dependency guard s3 --pause-at 0.5 --window 1m", "dependency unguard s3"),
    *(f"bulk {act} --tag t --yes" for act in ("pause", "resume", "cancel")),
    *("bulk cancel --all --dry-run", "batch list", f"batch items {ID}"),
    *("schedule list", "schedule next --every 1h", "schedule update s --every 2h"),
    *("schedule create s --plan p --every 1h",),
    *(f"schedule {act} s" for act in ("show", "pause", "resume", "run", "delete")),
    *(f"batch {act} {ID}" for act in ("show", "pause", "resume", "cancel", "wait")),
    *("watch", "submit tiny", "run tiny", "explain tiny", "diff tiny tiny@2"),
    *("submit tiny.yaml", "run tiny.yaml", "publish tiny.yaml", "publish tiny@1"),
    *("db upgrade", "db check", "db downgrade base --yes"),
)
"""Commands that ask a server."""
ALONE = (
    *("validate tiny.yaml", "explain tiny.yaml", "graph tiny.yaml", "schema"),
    "diff tiny.yaml tiny.yaml",
)
"""Commands that need none."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work where a plan lies."""
    (tmp_path / "tiny.yaml").write_text(PLAN)
    monkeypatch.chdir(tmp_path)


def call(line: str, **variables: str) -> Result:
    return CliRunner().invoke(app, line.split(), env=variables)


@pytest.mark.parametrize("line", ASKING)
def test_a_server_that_is_away_ends_with_4_in_one_line(line: str) -> None:
    result = call(line, **AWAY)

    assert result.exit_code == ExitCode.UNAVAILABLE, result.output
    (complaint,) = result.stderr.splitlines()
    assert complaint.startswith("plans: PostgreSQL ")
    assert "hunter2" not in complaint
    assert result.stdout == ""


@pytest.mark.parametrize("line", ASKING)
def test_a_server_that_is_not_named_ends_with_2_and_what_to_set(line: str) -> None:
    result = call(line)

    assert result.exit_code == ExitCode.USAGE, result.output
    assert "PLANS_DATABASE_URL" in result.stderr


@pytest.mark.parametrize("line", ALONE)
def test_what_needs_no_server_asks_none(line: str) -> None:
    result = call(line)

    assert result.exit_code == ExitCode.OK, result.output


@pytest.mark.parametrize("name", _COMMANDS)
def test_an_option_that_is_not_there_ends_with_2(name: str) -> None:
    result = call(f"{name} --nonsense")

    assert result.exit_code == ExitCode.USAGE
    assert "No such option" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (
            "list --since yesterday",
            "--since 'yesterday' is no time; write how long ago",
        ),
        ("list --until 0000-00-00", "--until '0000-00-00' is no time"),
        ("list --where plan=1", 'where: holds "=" at character 5'),
        ("list --after nonsense", '"nonsense" is no cursor'),
        ("list --parent nonsense", '"nonsense" is not the id of an execution'),
        (f"list --outer --parent {ID}", "--parent and --outer exclude each other"),
        ("list --watch --count", "--watch has no pages; leave --after and --count"),
        (f"watch {ID} --plan x", "filters are for watching all"),
        ("submit p --at tomorrow", "--at must be a moment with its offset from UTC"),
        ("submit p --in 2", "--in 2: a number needs a unit: 2s, 2m or 2h"),
        ("submit p --at 2100-01-01T00:00:00Z --in 2h", "give --at or --in, and not"),
        ("bulk pause --tag t --rate some", '"some" is no rate; write how many'),
        ("bulk pause --tag t --rate 0", "a rate of 0.0 per second is none"),
        ("bulk pause --tag t --stop-after 0%", 'stop after "0%": give a number'),
        ("bulk pause --tag t --dry-run --wait", "--dry-run begins nothing"),
        ("bulk pause --where plan=1", 'where: holds "=" at character 5'),
        ("schedule create s --every 1h", "name a published plan: --plan NAME"),
        ("schedule next", "give the name of a schedule, or --cron or --every"),
        ("schedule next s --start now", "--start must be a moment with its offset"),
        ("batch list --after nonsense", '"nonsense" is no cursor'),
    ],
)
def test_what_cannot_be_asked_ends_with_2_before_any_server_is(
    line: str, complaint: str
) -> None:
    result = call(line, **AWAY)

    assert result.exit_code == ExitCode.USAGE
    assert complaint in result.stderr
