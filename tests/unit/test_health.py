"""What follows from the file in which a worker says how it does."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from execution.celery.vitals import Vitals
from execution.cli.app import app
from execution.cli.quick import answer
from execution.database import DatabaseUnavailableError
from execution.errors import SettingsError, SetupError
from execution.health import (
    HealthState,
    WorkerHealth,
    identify_process,
    judge_file,
    read_health,
    write_health,
)
from execution.settings import Settings
from tests.polling import wait_until


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of a worker."""
    return tmp_path / "health"


def our_health() -> WorkerHealth:
    """Return what this process would say, were it a worker."""
    pid = os.getpid()
    now = datetime.now(UTC)
    return WorkerHealth(HealthState.READY, now, pid, identify_process(pid), "w@host")


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def test_what_is_written_is_read(file: Path) -> None:
    health = replace(
        our_health(), reasons=("none",), at=datetime(2026, 1, 1, tzinfo=UTC)
    )

    write_health(file, health)

    assert read_health(file) == health
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(
    ("change", "is_live", "is_ready"),
    [
        ({}, True, True),
        ({"state": HealthState.WAITING, "reasons": ("a server",)}, True, False),
        ({"state": HealthState.STARTING}, True, False),
        ({"state": HealthState.DRAINING}, True, False),
        ({"at": 31}, False, False),
        ({"at": 31, "quiet_until": -60}, True, True),
        ({"at": 31, "quiet_until": 1}, False, False),
        # the clock was set back
        ({"at": -1000}, False, False),
        # another process, to whom the number was given
        ({"process": "1"}, False, False),
        ({"pid": 2**22 + 1}, False, False),
        # a system that tells no process from another of its number
        ({"process": None}, True, True),
    ],
)
def test_who_lives_and_who_is_ready(
    file: Path, change: Mapping[str, Any], is_live: bool, is_ready: bool
) -> None:
    # how long ago: the tests begin long after this list was made
    moments = {
        name: ago(change[name]) for name in ("at", "quiet_until") if name in change
    }
    write_health(file, replace(our_health(), **{**change, **moments}))

    verdict = judge_file(file, within_seconds=30)

    assert (verdict.is_live, verdict.is_ready) == (is_live, is_ready), verdict.reason


def test_a_process_that_waits_for_its_parent_is_dead(file: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as child:
        process = identify_process(child.pid)
        write_health(file, replace(our_health(), pid=child.pid, process=process))
        is_live = judge_file(file).is_live
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

        verdict = judge_file(file)

    assert is_live
    assert not verdict.is_live
    assert "is gone" in verdict.reason


def test_a_worker_that_has_written_nothing_may_be_starting(file: Path) -> None:
    verdict = judge_file(file)

    assert not verdict.is_live
    assert "its worker is still starting" in verdict.reason


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", "null", '{"state": "well"}', '{"state": []}']
)
def test_a_file_of_something_else_is_no_health(file: Path, text: str) -> None:
    file.write_text(text)

    verdict = judge_file(file)

    assert not verdict.is_live
    assert "cannot be read" in verdict.reason


@pytest.mark.parametrize(
    "line",
    [
        "--live",
        "--ready",
        "",
        "--within 5",
        "--live --within=5",
        "--live --ready",
        "--within x",
        "--nonsense",
        "--file",
    ],
)
@pytest.mark.parametrize("seconds", [1, 20, 40])
def test_the_quick_answer_is_that_of_the_command(
    file: Path,
    line: str,
    seconds: int,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    health = replace(our_health(), at=ago(seconds), state=HealthState.WAITING)
    write_health(file, health)
    monkeypatch.setenv("PLANS_HEALTH_FILE", str(file))
    words = ["health", *line.split()]

    code = answer(words)
    said = capfd.readouterr().out
    result = CliRunner().invoke(app, words)

    if code is None:
        assert result.exit_code == 2
    else:
        assert (code, said) == (result.exit_code, result.output)


def test_health_is_told_without_loading_the_command_line(file: Path) -> None:
    write_health(file, our_health())
    code = (
        "import sys; from celery_plans.cli import main\n"
        "try: main()\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, "health", "--live", "--file", str(file)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "ready\n"
    heavy = {"typer", "celery", "sqlalchemy", "psycopg2", "rich", "pydantic", "yaml"}
    assert not heavy & set(done.stderr.split())


@pytest.mark.parametrize(
    "line", ["health", "health --file %n.json", "health --file ''"]
)
def test_who_names_no_file_is_told_to(line: str) -> None:
    result = CliRunner().invoke(app, line.replace("''", "").split())

    assert result.exit_code == 2


def test_a_file_of_another_worker_that_lives_is_refused(file: Path) -> None:
    parent = os.getppid()
    other = replace(our_health(), pid=parent, process=identify_process(parent))
    write_health(file, other)

    with pytest.raises(SettingsError, match="each needs its own: %n"):
        Vitals(Settings(health_file=file)).open("w@host")


@pytest.mark.parametrize(
    "change", [{"pid": 2**22 + 1}, {"state": HealthState.DRAINING}]
)
def test_a_file_that_nobody_needs_is_taken_over(
    file: Path, change: Mapping[str, object]
) -> None:
    parent = os.getppid()
    other = replace(our_health(), pid=parent, process=identify_process(parent))
    write_health(file, replace(other, **change))  # type: ignore[arg-type]  # each of its own type

    vitals = Vitals(Settings(health_file=file.with_name("%n")))
    vitals.open("health@host")

    assert read_health(file).pid == os.getpid()
    vitals.end()
    assert not file.exists()


def test_a_worker_that_gives_way_leaves_the_file_to_its_successor(file: Path) -> None:
    vitals = Vitals(Settings(health_file=file))
    vitals.open("w@host")
    vitals.begin_to_stop()
    assert read_health(file).state is HealthState.DRAINING
    parent = os.getppid()
    other = replace(our_health(), pid=parent, process=identify_process(parent))
    write_health(file, other)
    other = read_health(file)

    vitals.begin_to_stop()
    vitals.end()

    assert read_health(file) == other


def test_a_step_that_runs_a_task_of_celerys_is_excused_to_its_end(file: Path) -> None:
    vitals = Vitals(Settings(health_file=file))
    vitals.open("w@host")
    vitals.work()
    vitals.work()
    vitals.rest()

    within = read_health(file).quiet_until
    vitals.rest()

    assert within is not None
    # said at once: the loop may hang in what comes next
    assert read_health(file).quiet_until is None


def test_an_outage_does_not_mend_a_schema_that_does_not_fit(file: Path) -> None:
    vitals = Vitals(Settings(health_file=file, lease_seconds=0.001))
    vitals.open("w@host")

    def refuse() -> None:
        raise SetupError("the schema is old")

    vitals.begin(refuse)
    wait_until(lambda: not is_fit(vitals), what="the schema to be looked at")
    vitals._settings = replace(vitals._settings, lease_seconds=3600.0)
    with pytest.raises(DatabaseUnavailableError), vitals.hear_beat():
        raise DatabaseUnavailableError("gone")

    assert not is_fit(vitals)


def is_fit(vitals: Vitals) -> bool:
    """Let a worker hear a good beat, and return whether it finds nothing amiss."""
    with vitals.hear_beat():
        pass
    return not vitals._describe().reasons


def test_a_file_that_cannot_be_written_is_refused(file: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be written: No such file"):
        Vitals(Settings(health_file=file / "in" / "none")).open("w@host")
