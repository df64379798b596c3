"""What the command line makes of values: JSON, lines, the demo's verdict and victim."""

import io
import json
import re
import socket
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from execution.cli.children import build_environment, celery_command
from execution.cli.display import (
    build_executions_table,
    build_steps_table,
    build_summary,
    describe_event,
)
from execution.cli.exits import UsageError
from execution.cli.flower import build_flower, choose_port
from execution.cli.following import LinesView, draw_bar, open_view
from execution.cli.output import to_json
from execution.cli.record import Record
from execution.cli.staging import choose_victim
from execution.cli.supervision import choose_pause_seconds
from execution.cli.verdict import Repeat, judge
from execution.errors import ErrorCode
from execution.results import (
    ErrorRecord,
    Event,
    ExecutionProgress,
    ExecutionSummary,
    StepSummary,
)
from execution.settings import Settings
from execution.states import ExecutionStatus, StepStatus
from execution.updates import ExecutionUpdate

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
EXECUTION = ExecutionSummary(
    id="e",
    plan="p",
    version=None,
    status=ExecutionStatus.COMPLETED,
    reason="result",
    epoch=1,
    last_seq=4,
    open_steps=0,
    total_steps=1,
    tags=("t",),
    parameters={},
    variables={},
    result={"n": 1},
    error=None,
    created_at=NOW,
    started_at=NOW,
    ended_at=NOW,
)
STEP = StepSummary(
    position=0,
    name="parse",
    action="census.parse",
    queue="plans",
    status=StepStatus.COMPLETED,
    reason=None,
    attempt=2,
    failures=0,
    losses=1,
    progress=None,
    progress_message=None,
    worker_id="w2",
    claimed_at=NOW,
    ended_at=NOW,
    error=None,
)


def event(seq: int, type_: str, step: str | None = None, **data: object) -> Event:
    return Event("e", seq, type_, step, data, NOW + timedelta(seconds=seq))


KEPT = Record(
    EXECUTION,
    (STEP,),
    (),
    (),
    (
        event(1, "execution.started"),
        event(2, "step.lost", "parse"),
        event(3, "step.completed", "parse"),
        event(4, "execution.completed"),
    ),
)


def test_values_become_json_types_field_by_field() -> None:
    error = ErrorRecord(ErrorCode.TIMEOUT, "late", "s", NOW, True, {"a": (1, 2)})

    shape = to_json(replace(EXECUTION, error=error, status=ExecutionStatus.FAILED))

    assert shape["status"] == "failed"
    assert shape["created_at"] == "2026-11-21T08:00:00+00:00"
    assert shape["tags"] == ["t"]
    assert shape["error"]["code"] == "E002"
    assert shape["error"]["context"] == {"a": [1, 2]}
    assert json.loads(json.dumps(shape)) == shape


def test_record_without_a_fault_is_judged_as_kept() -> None:
    verdict = judge(KEPT)

    assert verdict.faults == ()
    assert verdict.repeats == (Repeat("parse", losses=1, attempt=2),)
    assert (verdict.steps, verdict.last_seq) == (1, 4)


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        (
            replace(KEPT, execution=replace(EXECUTION, status=ExecutionStatus.FAILED)),
            "the execution is failed",
        ),
        (
            replace(KEPT, steps=(replace(STEP, status=StepStatus.SKIPPED),)),
            "step parse is skipped with 1 successes",
        ),
        (
            replace(
                KEPT,
                execution=replace(EXECUTION, last_seq=5),
                events=(*KEPT.events, event(5, "step.completed", "parse")),
            ),
            "step parse is completed with 2 successes",
        ),
        (
            replace(KEPT, events=KEPT.events[:3]),
            "the timeline is not numbered from 1 to 4",
        ),
        (
            replace(
                KEPT,
                events=(
                    KEPT.events[0],
                    event(2, "step.ready", "parse"),
                    *KEPT.events[2:],
                ),
            ),
            "the kill cost no step: nothing had to be repeated",
        ),
        (
            replace(KEPT, steps=(replace(STEP, attempt=1),)),
            "step parse was lost 1 times, yet its success is attempt 1",
        ),
    ],
    ids=["failed", "no success", "two successes", "gap", "no loss", "same attempt"],
)
def test_each_broken_promise_is_named(record: Record, fault: str) -> None:
    assert judge(record).faults == (fault,)


def running(name: str, worker_id: str, progress: float | None) -> StepSummary:
    return replace(
        STEP,
        name=name,
        status=StepStatus.RUNNING,
        worker_id=worker_id,
        progress=progress,
    )


@pytest.mark.parametrize(
    ("steps", "finished", "victim"),
    [
        ([STEP, running("b", "w1", 20)], {"parse"}, "w1"),
        ([STEP, running("b", "w1", 20)], {"scan"}, None),
        ([STEP, running("b", "w1", None), running("c", "w2", 95)], {"parse"}, None),
        ([STEP, running("b", "w1", 95), running("c", "w2", 10)], {"parse"}, "w2"),
        ([STEP], {"parse"}, None),
    ],
    ids=["midway", "none done", "too early or late", "the younger", "nothing runs"],
)
def test_victim_is_in_the_middle_of_a_step_when_another_is_done(
    steps: Sequence[StepSummary], finished: set[str | None], victim: str | None
) -> None:
    assert choose_victim(steps, finished) == victim


def test_pause_between_starts_grows_until_it_is_given_up() -> None:
    pauses = [choose_pause_seconds(deaths) for deaths in range(1, 6)]

    assert pauses == [1.0, 2.0, 4.0, 8.0, None]


@pytest.mark.parametrize(
    ("described", "line"),
    [
        (event(1, "step.started", "s", attempt=2, host="w@h", worker="x"),
         "step.started s (attempt 2; host w@h)"),
        (event(1, "step.progress", "s", percent=4.2e-5, message="be\x1b[1mgun"),
         "step.progress s (0 %; be�[1mgun)"),
        (event(1, "execution.failed", None, error={"code": "E005", "message": "no"}),
         "execution.failed (E005 no)"),
        (event(1, "step.waiting", "s", attempt=2, iteration=7),
         "step.waiting s (attempt 2; iteration 7)"),
        (event(1, "step.waiting", "s", attempt=1, child="c"),
         "step.waiting s (attempt 1; runs as c)"),
        (event(1, "step.cached", "s", attempt=1, age_seconds=61.4,
               **{"from": {"execution_id": "e", "step": "t[0]"}}),
         "step.cached s (attempt 1; from e t[0]; 61 s old)"),
        (event(1, "step.ready", "[red]s"), "step.ready [red]s"),
    ],
    ids=["started", "progress", "failed", "iteration", "within", "cached", "markup"],
)  # fmt: skip
def test_event_is_one_line_and_nothing_in_it_is_obeyed(
    described: Event, line: str
) -> None:
    assert describe_event(described).plain == line


def test_lines_carry_the_time_since_the_first_event_and_hide_what_is_unimportant(
    capsys: pytest.CaptureFixture[str],
) -> None:
    view = LinesView(Console(width=200), hidden={"step.ready"})
    progress = ExecutionProgress(0, 0, 1, (), "running", None, None)

    for events in (KEPT.events[:1], (event(2, "step.ready", "s"), KEPT.events[3])):
        view.show(ExecutionUpdate("e", ExecutionStatus.RUNNING, progress, events, 1))

    assert capsys.readouterr().out.splitlines() == [
        "    0.0 s  execution.started",
        "    3.0 s  execution.completed",
    ]


def test_picture_on_a_terminal_moves_and_says_what_is_told_above_it() -> None:
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=100)
    progress = ExecutionProgress(40, 2, 5, ("parse", "scan"), "running", None, 9)
    update = ExecutionUpdate("e", ExecutionStatus.RUNNING, progress, KEPT.events, 4)

    with open_view(console, draw_bar, told={"step.lost"}) as view:
        view.say("watch this")
        view.show(update)

    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert "watch this" in shown
    assert "step.lost parse" in shown
    assert "step.completed" not in shown
    assert "2/5" in shown
    assert "9 s left parse, scan" in shown


def many(percent: float, kind: str, seq: int) -> ExecutionUpdate:
    """Return an update of an execution with a thousand steps."""
    done = int(percent * 10)
    progress = ExecutionProgress(percent, done, 1_000, (), "running", None, None, 8)
    events = (event(seq, kind, f"s{seq}"),)
    return ExecutionUpdate("e", ExecutionStatus.RUNNING, progress, events, seq)


def test_of_many_steps_what_is_routine_is_folded_into_how_far_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    view = LinesView(Console(width=200))

    view.show(many(0, "execution.started", 0))
    for number in range(1, 101):
        view.show(many(number / 10, "step.completed", number))
    view.show(many(10, "step.failed", 101))

    lines = capsys.readouterr().out.splitlines()
    assert [line.split("s  ", 1)[1] for line in lines] == [
        "execution.started s0",
        "50 of 1,000 steps ended, 8 run",
        "100 of 1,000 steps ended, 8 run",
        "step.failed s101",
    ]


def test_of_what_goes_wrong_often_twenty_are_told_and_the_rest_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    view = LinesView(Console(width=200))

    for number in range(1, 100):
        view.show(many(0, "step.failed", number))
    view.show(many(7, "step.completed", 100))

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 21
    assert lines[-1].endswith("70 of 1,000 steps ended, 8 run, 99 step.failed")


def test_steps_table_names_the_worker_where_it_is_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Console(width=200).print(build_steps_table([STEP], {"w2": "demo-2@vm"}))

    assert "demo-2@vm" in capsys.readouterr().out


@pytest.mark.parametrize(("begun", "told"), [(1, "1 iteration "), (1000, "1,000 iter")])
def test_steps_table_says_how_far_a_loop_has_come(
    capsys: pytest.CaptureFixture[str], begun: int, told: str
) -> None:
    Console(width=200).print(
        build_steps_table([replace(STEP, losses=0, iterations=begun)])
    )

    assert told in capsys.readouterr().out


def test_who_waits_for_a_key_is_shown_as_such(
    capsys: pytest.CaptureFixture[str],
) -> None:
    held = replace(
        EXECUTION,
        status=ExecutionStatus.PENDING,
        reason=None,
        ended_at=None,
        concurrency_key="eu-\x1b[31macme",
    )
    begun = replace(held, admitted_at=NOW)
    console = Console(width=200)

    for execution in (held, begun):
        console.print(build_executions_table([execution]), build_summary(execution))

    shown = capsys.readouterr().out
    assert shown.count("pending, waits for its key eu-\N{REPLACEMENT CHARACTER}") == 2
    assert shown.count("pending") == 4


def test_child_gets_exactly_the_settings_and_no_others() -> None:
    settings = Settings(
        database_url="postgresql:///x",
        broker_url="redis:///y",
        imports=("a", "b"),
        home=Path("/home/of/plans"),
        local=True,
        lease_seconds=3.0,
    )

    environment = build_environment(
        settings, {"PLANS_REDIS_URL": "old", "FLOWER_PORT": "1", "PATH": "/bin"}
    )

    assert environment == {
        "PATH": "/bin",
        "PLANS_DATABASE_URL": "postgresql:///x",
        "PLANS_BROKER_URL": "redis:///y",
        "PLANS_SCHEMA": "celery_plans",
        "PLANS_IMPORTS": "a,b",
        "PLANS_HOME": "/home/of/plans",
        "PLANS_QUEUE": "plans",
        "PLANS_LEASE_SECONDS": "3",
        "PLANS_DRAIN_SECONDS": "20",
        "PLANS_CANCEL_GRACE_SECONDS": "30",
        "PLANS_RIDE": "1",
        "PLANS_CHECK": "known",
        "PLANS_CAPTURE": "logging:info,output",
    }


def test_a_child_is_told_the_file_of_a_url_and_not_the_url(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql://a:hunter2@localhost/x")
    inherited = {"PLANS_DATABASE_URL_FILE": str(file)}

    environment = build_environment(Settings.from_environment(inherited), inherited)

    assert environment["PLANS_DATABASE_URL_FILE"] == str(file)
    assert "hunter2" not in str(environment)


def test_workers_get_the_secrets_and_flower_does_not() -> None:
    settings = Settings(database_url="postgresql:///x", secret_resolver="a:b")  # noqa: S106  # its name
    inherited = {"PLANS_SECRET_TOKEN": "t", "PLANS_SECRET_RESOLVER": "old:one"}

    environment = build_environment(settings, inherited)
    flower, _ = build_flower(5555, environment, Path("log"))

    secrets = {n: v for n, v in environment.items() if "SECRET" in n}
    assert secrets == {"PLANS_SECRET_TOKEN": "t", "PLANS_SECRET_RESOLVER": "a:b"}
    assert {n for n in flower.environment if "SECRET" in n} == set()
    assert flower.environment["PLANS_DATABASE_URL"] == "postgresql:///x"


def test_celery_is_not_looked_for_in_the_working_directory() -> None:
    assert "-P" in celery_command("worker")


def test_flowers_password_is_new_each_time_and_in_no_command_line() -> None:
    flower, login = build_flower(5555, {}, Path("log"))
    _, other = build_flower(5555, {}, Path("log"))

    assert login.password != other.password
    assert login.password not in " ".join(flower.command)
    assert login.password not in repr(login)
    assert "--address=127.0.0.1" in flower.command


def test_port_that_is_taken_is_refused_where_it_was_wanted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]

        with pytest.raises(UsageError, match=f"port {taken} cannot be used"):
            choose_port(taken)


def test_some_free_port_is_chosen_where_none_was_wanted() -> None:
    assert choose_port(None) > 0
