"""The commands on real servers, with a real worker that `plans worker` became.

Commands that only ask run in this process; those that are about processes, pipes and
signals run in one of their own. The working directory holds packages called
`execution` and `workers` that are not ours, as somebody's project may.
"""

import getpass
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from execution.cli.app import app
from execution.cli.exits import ExitCode
from execution.local import LocalStack
from tests.integration.test_cli_up import clear_up
from tests.polling import wait_until

PLANS = str(Path(sys.executable).with_name("plans"))
ACTIONS = """
import time
from pathlib import Path
# there is an `execution` beside it that is not ours
from celery_plans import action

@action("cli.add")
def add(left: int, right: int = 1) -> int:
    return left + right

@action("cli.fail")
def fail() -> None:
    raise ValueError("out of [red]luck")

@action("cli.hold", timeout="60s")
def hold(gate: str) -> None:
    deadline = time.monotonic() + 30
    while not Path(gate).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
"""
ADDING = """
format: 1
name: adding
tags: [sums]
parameters:
  n: {type: integer, required: true}
  label: {type: string, default: none}
defaults: {timeout: 30s}
steps:
  - {id: one, action: cli.add, with: {left: "${parameters.n}"}}
  - {id: two, action: cli.add, with: {left: "${steps.one.result}", right: 10}}
result: {sum: "${steps.two.result}", label: "${parameters.label}"}
"""
FAILING = """
format: 1
name: failing
steps:
  - {id: bad, action: cli.fail}
"""
HOLDING = """
format: 1
name: holding
parameters:
  gate: {type: string, required: true}
steps:
  - {id: wait, action: cli.hold, with: {gate: "${parameters.gate}"}}
"""
FOREIGN = """
format: 1
name: foreign
steps:
  - {id: one, action: nobodys.action}
"""


@dataclass(frozen=True)
class Answer:
    """What a command came to."""

    code: int
    output: str
    complaint: str

    @property
    def json(self) -> Any:
        return json.loads(self.output)


@dataclass(frozen=True)
class Project:
    """A folder with plans and actions, and the environment that names its servers."""

    folder: Path
    environment: Mapping[str, str]

    def file(self, name: str) -> str:
        return str(self.folder / name)

    def call(self, *arguments: str, **variables: str) -> Answer:
        """Run a command in this process."""
        result = CliRunner().invoke(
            app, arguments, env={**self.environment, **variables}
        )
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Answer(result.exit_code, result.stdout, result.stderr)

    def spawn(self, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
        """Start a command in a process of its own."""
        return subprocess.Popen(
            [PLANS, *arguments],
            cwd=self.folder,
            env={**os.environ, **self.environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@contextmanager
def open_project() -> Iterator[Project]:
    """Make a folder with servers of its own, and clear up behind it."""
    folder = Path(tempfile.mkdtemp(prefix="plans-cli-"))
    for decoy in ("execution", "workers"):
        (folder / decoy).mkdir()
        (folder / decoy / "__init__.py").write_text("raise SystemExit('not ours')")
    (folder / "own_actions.py").write_text(ACTIONS)
    for name, text in (
        ("adding", ADDING),
        ("failing", FAILING),
        ("holding", HOLDING),
        ("foreign", FOREIGN),
    ):
        (folder / f"{name}.yaml").write_text(text)
    with LocalStack.start(folder / "home") as stack:
        urls = stack.urls
        assert urls.database_url is not None
        assert urls.broker_url is not None
        assert urls.redis_url is not None
        environment = {
            "PLANS_DATABASE_URL": urls.database_url,
            "PLANS_BROKER_URL": urls.broker_url,
            "PLANS_REDIS_URL": urls.redis_url,
            "PLANS_IMPORTS": "own_actions",
            "PLANS_HOME": str(folder / "home"),
        }
        yield Project(folder, environment)
    clear_up(folder / "home")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    with open_project() as opened:
        yield opened


@pytest.fixture(scope="module")
def served(project: Project) -> Iterator[Project]:
    """The project with its schema installed and a worker running."""
    assert project.call("db", "upgrade").code == ExitCode.OK
    with project.spawn("worker", "-c", "2", "-l", "INFO") as worker:
        yield project
        # few tests may be over before the command has become a worker
        wait_until(
            lambda: is_becoming_worker(worker.pid),
            what="the worker",
            timeout_seconds=60,
        )
        worker.send_signal(signal.SIGTERM)
        _, log = worker.communicate(timeout=60)
    assert worker.returncode == 0, log


def is_becoming_worker(pid: int) -> bool:
    return b"celery.standalone" in Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc")
def test_a_worker_that_is_told_to_stop_while_it_starts_ends_well(
    project: Project,
) -> None:
    with project.spawn("worker", "-c", "1") as worker:
        wait_until(
            lambda: is_becoming_worker(worker.pid),
            what="the worker",
            timeout_seconds=60,
        )
        worker.send_signal(signal.SIGTERM)
        _, log = worker.communicate(timeout=60)

    assert worker.returncode == 0, log
    assert "Traceback" not in log


@pytest.fixture(scope="module")
def completed(served: Project) -> str:
    """The id of an execution that completed."""
    path = served.file("adding.yaml")
    answer = served.call("run", path, "-p", "n=1", "--tag", "first", "--json")
    assert answer.code == ExitCode.OK, answer.complaint
    return str(answer.json["execution_id"])


@pytest.fixture(scope="module")
def failed(served: Project) -> str:
    """The id of an execution that failed."""
    answer = served.call("run", served.file("failing.yaml"), "--json")
    assert answer.code == ExitCode.FAILED
    return str(answer.json["execution_id"])


# submit and run


def test_submit_prints_the_id_alone(served: Project) -> None:
    answer = served.call("submit", served.file("adding.yaml"), "-p", "n=2")

    assert answer.code == ExitCode.OK
    (execution_id,) = answer.output.splitlines()
    assert served.call("watch", execution_id).code == ExitCode.OK


def test_same_key_gives_the_same_execution_and_another_body_is_refused(
    served: Project,
) -> None:
    path = served.file("adding.yaml")
    first = served.call("submit", path, "-p", "n=1", "--key", "k", "--json")
    again = served.call("submit", path, "-p", "n=1", "--key", "k", "--json")
    other = served.call("submit", path, "-p", "n=2", "--key", "k")

    assert first.json == again.json == {"execution_id": first.json["execution_id"]}
    assert other.code == ExitCode.FAILED
    assert first.json["execution_id"] in other.complaint
    assert other.output == ""


def test_run_prints_the_result_alone_and_the_way_there_aside(served: Project) -> None:
    file = served.folder / "parameters.json"
    file.write_text('{"n": 1, "label": "from the file"}')

    answer = served.call(
        "run",
        served.file("adding.yaml"),
        "--parameters-file",
        str(file),
        "-p",
        "n=30",
    )

    assert answer.code == ExitCode.OK
    assert answer.json == {"sum": 41, "label": "from the file"}
    assert "step.completed two" in answer.complaint
    assert "\x1b" not in answer.complaint


def test_run_of_a_failing_plan_ends_with_1_and_the_error(served: Project) -> None:
    answer = served.call("run", served.file("failing.yaml"))

    assert answer.code == ExitCode.FAILED
    assert answer.output == ""
    last = answer.complaint.splitlines()[-1]
    assert "is failed: E005 in step bad:" in last
    assert "ValueError: out of [red]luck" in last


def test_json_of_a_run_has_the_documented_keys(served: Project) -> None:
    answer = served.call("run", served.file("failing.yaml"), "--json")

    assert list(answer.json) == [
        "execution_id",
        "status",
        "value",
        "error",
        "started_at",
        "ended_at",
    ]
    assert answer.json["status"] == "failed"
    assert answer.json["error"]["code"] == "E005"


def test_parameters_that_do_not_fit_are_all_named_and_nothing_is_submitted(
    served: Project,
) -> None:
    before = served.call("list", "--count", "--json").json["total"]

    answer = served.call(
        "submit", served.file("adding.yaml"), "-p", "n=x", "-p", "lable=y"
    )

    assert answer.code == ExitCode.USAGE
    assert "parameters.n" in answer.complaint
    assert "parameters.lable" in answer.complaint
    assert served.call("list", "--count", "--json").json["total"] == before


def test_interrupted_run_says_that_the_execution_goes_on(
    served: Project, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with served.spawn("run", served.file("holding.yaml"), "-p", f"gate={gate}") as run:
        assert run.stderr is not None
        seen = iter(run.stderr.readline, "")
        line = next(line for line in seen if "step.started wait" in line)
        run.send_signal(signal.SIGINT)
        _, complaint = run.communicate(timeout=60)
    execution_id = complaint.split()[-1]
    gate.touch()

    assert line
    assert run.returncode == ExitCode.INTERRUPTED
    assert f"goes on; follow it with: plans watch {execution_id}" in complaint
    assert "Traceback" not in complaint
    assert served.call("watch", execution_id).code == ExitCode.OK


def test_submit_warns_when_no_worker_will_take_it(project: Project) -> None:
    idle = {"PLANS_SCHEMA": "cli_idle"}
    assert project.call("db", "upgrade", **idle).code == ExitCode.OK

    answer = project.call("submit", project.file("foreign.yaml"), **idle)

    assert answer.code == ExitCode.OK
    assert len(answer.output.splitlines()) == 1
    assert "no worker runs" in answer.complaint
    assert "no worker has ever offered nobodys.action" in answer.complaint


def test_submit_warns_when_nobody_serves_a_queue(served: Project) -> None:
    plan = served.folder / "elsewhere.yaml"
    plan.write_text(ADDING.replace("{id: two,", "{id: two, queue: attic,"))
    wait_until(
        lambda: served.call("workers", "--json").json["items"],
        what="the worker to sign on",
    )

    answer = served.call("submit", str(plan), "-p", "n=1")

    assert answer.code == ExitCode.OK
    assert "no worker serves attic" in answer.complaint
    assert "plans worker -Q attic" in answer.complaint
    assert "PLANS_QUEUE" not in answer.complaint


def test_show_says_that_a_ready_step_waits_for_a_worker(served: Project) -> None:
    plan = served.folder / "attic.yaml"
    plan.write_text(ADDING.replace("{id: one,", "{id: one, queue: attic,"))
    wait_until(
        lambda: served.call("workers", "--json").json["items"],
        what="the worker to sign on",
    )
    execution_id = served.call("submit", str(plan), "-p", "n=1").output.strip()

    shown = served.call("show", execution_id)
    as_json = served.call("show", execution_id, "--json")

    assert "no worker serves attic" in shown.complaint
    assert as_json.complaint == ""


def test_why_tells_people_of_each_step_that_does_not_run(served: Project) -> None:
    execution_id = served.call(
        "submit", served.file("adding.yaml"), "-p", "n=1", PLANS_QUEUE="attic"
    ).output.strip()
    served.call("pause", execution_id, "--by", "ann", "--reason", "a look")

    told = served.call("why", execution_id, "--most", "1").output.splitlines()

    assert told == [
        f"{execution_id} is paused",
        "one is ready",
        "  its execution was paused by ann: a look; see: plans resume " + execution_id,
        (
            "  no living worker serves the queue attic; other queues are served; see:"
            " plans worker -Q attic"
        ),
        "and 1 more, which --most shows",
    ]


def test_submit_to_the_usual_queue_names_the_setting(served: Project) -> None:
    wait_until(
        lambda: served.call("workers", "--json").json["items"],
        what="the worker to sign on",
    )

    answer = served.call(
        "submit", served.file("adding.yaml"), "-p", "n=1", PLANS_QUEUE="attic"
    )

    assert "no worker serves attic" in answer.complaint
    assert "set PLANS_QUEUE" in answer.complaint


# list, show, watch


def test_list_is_newest_first_and_filtered(
    served: Project, completed: str, failed: str
) -> None:
    by_status = served.call("list", "--status", "failed", "--json").json["items"]
    by_tag = served.call("list", "--tag", "first", "--json").json["items"]
    by_plan = served.call("list", "--plan", "adding", "--json").json["items"]
    times = [item["created_at"] for item in by_plan]

    assert {item["plan"] for item in by_status} == {"failing"}
    assert failed in {item["id"] for item in by_status}
    assert [item["id"] for item in by_tag] == [completed]
    assert by_tag[0]["tags"] == ["sums", "first"]
    assert times == sorted(times, reverse=True)


def test_a_published_plan_is_run_by_its_name(served: Project) -> None:
    published = served.call("publish", served.file("adding.yaml"), "--json")
    answer = served.call("run", "adding", "-p", "n=2")

    assert published.json["plan"] == "adding"
    assert json.loads(answer.output)["sum"] == 13


def test_a_name_that_nothing_was_published_under_says_what_to_do(
    served: Project,
) -> None:
    answer = served.call("submit", "nobodys")

    assert answer.code == ExitCode.NOT_FOUND
    assert answer.complaint == (
        "plans: no plan 'nobodys' is published; publish it: plans publish FILE\n"
    )


def test_a_path_is_never_taken_for_a_name(served: Project) -> None:
    answer = served.call("submit", "missing.yaml")

    assert answer.code == ExitCode.USAGE
    assert "missing.yaml is not a file" in answer.complaint


def test_workers_and_what_they_mended_are_listed(served: Project) -> None:
    def list_that_told() -> list[dict[str, Any]]:
        items = served.call("workers", "--json").json["items"]
        return [item for item in items if item["deeds"]]

    (worker,) = wait_until(list_that_told, what="a worker to tell of its rounds")
    shown = served.call("workers").output

    assert worker["slots"] == 2
    assert worker["deeds"].keys() >= {"lost_steps", "resent_steps"}
    assert str(worker["pid"]) in shown


def test_list_comes_in_pages(served: Project, completed: str, failed: str) -> None:
    first = served.call("list", "--page-size", "1", "--json").json
    after = ("--after", first["next_cursor"])
    second = served.call("list", "--page-size", "1", *after, "--json").json
    shown = served.call("list", "--page-size", "1", "--count")

    assert list(first) == ["items", "next_cursor"]
    assert first["items"][0]["id"] != second["items"][0]["id"]
    assert f"more: --after {first['next_cursor']}\n" in shown.output
    assert " in all\n" in shown.output


def test_list_for_people_shows_whole_ids_in_a_pipe(
    served: Project, completed: str
) -> None:
    answer = served.call("list", "--tag", "first")

    assert completed in answer.output
    assert "more:" not in answer.output


def test_show_for_people_has_steps_history_and_result(
    served: Project, completed: str
) -> None:
    answer = served.call("show", completed)

    assert answer.code == ExitCode.OK
    for expected in ("cli.add", "completed (result)", "history", '"sum": 12'):
        assert expected in answer.output
    assert "step.started" not in answer.output


def test_show_with_events_has_the_timeline(served: Project, completed: str) -> None:
    assert "step.started one" in served.call("show", completed, "--events").output


def test_show_of_a_failed_execution_has_its_error(served: Project, failed: str) -> None:
    assert "error E005 in step bad" in served.call("show", failed).output


def test_json_of_show_has_the_documented_keys(served: Project, completed: str) -> None:
    plain = served.call("show", completed, "--json").json
    full = served.call("show", completed, "--events", "--json").json

    assert list(plain) == ["execution", "steps", "history", "signals"]
    assert set(full) == {*plain, "events"}
    assert plain["execution"]["result"] == {"sum": 12, "label": "none"}
    assert [step["name"] for step in plain["steps"]] == ["one", "two"]
    assert [change["to_status"] for change in plain["history"]] == [
        "pending",
        "running",
        "ending",
        "completed",
    ]
    sequence = [event["seq"] for event in full["events"]]
    assert sequence == list(range(1, plain["execution"]["last_seq"] + 1))


def test_an_execution_is_paused_resumed_and_cancelled(
    served: Project, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    begun = served.call("submit", served.file("holding.yaml"), "-p", f"gate={gate}")
    execution_id = begun.output.strip()

    def runs() -> bool:
        steps = served.call("show", execution_id, "--json").json["steps"]
        return bool(steps[0]["status"] == "running")

    wait_until(runs, what="the step to run")
    paused = served.call("pause", execution_id, "--by", "ann", "--reason", "a look")
    assert paused.output == f"{execution_id} is paused; still running: wait\n"
    resumed = served.call("resume", execution_id)
    assert resumed.output == f"{execution_id} is running\n"
    served.call("pause", execution_id, "--by", "ann", "--reason", "a look")
    resumed_again = served.call("resume", execution_id, "--json").json
    (running,) = resumed_again.pop("running_steps")
    assert resumed_again == {"execution_id": execution_id, "status": "running"}
    assert (running["execution_id"], running["name"]) == (execution_id, "wait")
    assert running["cut_at"] is None
    assert served.call("cancel", execution_id).output.startswith(
        f"{execution_id} is ending; still running: wait; cut at "
    )
    gate.touch()
    assert served.call("watch", execution_id).code == ExitCode.FAILED

    again = served.call("pause", execution_id)
    assert (again.code, "an execution that is cancelled" in again.complaint) == (
        1,
        True,
    )
    history = served.call("show", execution_id, "--json").json["history"]
    acts = {change["to_status"]: change for change in history}
    assert (acts["paused"]["by"], acts["paused"]["reason"]) == ("ann", "a look")
    assert acts["ending"]["by"] == getpass.getuser()


def test_what_is_cancelled_is_given_another_time(
    served: Project, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    begun = served.call("submit", served.file("holding.yaml"), "-p", f"gate={gate}")
    execution_id = begun.output.strip()

    def runs() -> bool:
        steps = served.call("show", execution_id, "--json").json["steps"]
        return bool(steps[0]["status"] == "running")

    wait_until(runs, what="the step to run")
    served.call("cancel", execution_id)
    refused = served.call("cancel", execution_id, "--grace", "soon")
    assert (refused.code, "--grace soon" in refused.complaint) == (ExitCode.USAGE, True)

    served.call("cancel", execution_id, "--grace", "10m", "--by", "ann")

    *_, last = served.call("show", execution_id, "--json").json["history"]
    assert (last["from_status"], last["by"]) == ("ending", "ann")
    gate.touch()
    assert served.call("watch", execution_id).code == ExitCode.FAILED


@pytest.mark.parametrize(
    "command", ["show", "watch", "logs", "graph", "pause", "resume", "cancel"]
)
@pytest.mark.parametrize(
    "execution_id", ["nonsense", "01a1fc5f-ecfd-7f66-aad4-cad5b7662969"]
)
def test_unknown_execution_ends_with_3(
    served: Project, command: str, execution_id: str
) -> None:
    answer = served.call(command, execution_id)

    assert answer.code == ExitCode.NOT_FOUND
    assert answer.output == ""
    assert execution_id in answer.complaint


def test_watch_follows_until_the_end_in_json_lines(
    served: Project, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    execution_id = served.call(
        "submit", served.file("holding.yaml"), "-p", f"gate={gate}"
    ).output.strip()
    with served.spawn("watch", execution_id, "--json") as watch:
        assert watch.stdout is not None
        lines = []
        for line in watch.stdout:
            lines.append(json.loads(line))
            if any(e["type"] == "step.started" for e in lines[-1]["events"]):
                gate.touch()
    sequence = [event["seq"] for update in lines for event in update["events"]]

    assert watch.returncode == ExitCode.OK
    assert sequence == list(range(1, len(sequence) + 1))
    assert lines[-1]["status"] == "completed"
    assert lines[-1]["progress"]["percentage"] == 100


def test_watch_of_a_failed_execution_ends_with_1(served: Project, failed: str) -> None:
    answer = served.call("watch", failed)

    assert answer.code == ExitCode.FAILED
    assert "execution.failed" in answer.output
    assert "E005" in answer.complaint


@pytest.mark.parametrize(
    "arguments", [["list"], ["show", "--events"], ["watch", "--json"]], ids=" ".join
)
def test_reader_that_went_away_is_no_error(
    served: Project, completed: str, arguments: list[str]
) -> None:
    name, *options = arguments
    ids = [] if name == "list" else [completed]
    with served.spawn(name, *ids, *options) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        complaint = process.stderr.read()

    assert complaint == ""


def test_a_queue_is_paused_and_resumed_as_a_whole(served: Project) -> None:
    execution_id = served.call("submit", served.file("adding.yaml"), "-p", "n=1")
    assert execution_id.code == 0

    paused = served.call(
        "pause", "--queue", "elsewhere", "--by", "ann", "--reason", "a look"
    )
    again = served.call("pause", "--queue", "elsewhere")
    listed = served.call("pauses")
    resumed = served.call("resume", "--queue", "elsewhere")
    resumed_again = served.call("resume", "--queue", "elsewhere")

    assert paused.output == "queue elsewhere is paused\n"
    assert "no worker serves queue 'elsewhere'" in paused.complaint
    assert (again.code, again.output) == (ExitCode.FAILED, "")
    assert "queue elsewhere is paused already by ann since" in again.complaint
    assert "a look" in listed.output
    assert resumed.output == "queue elsewhere goes on\n"
    assert (resumed_again.code, resumed_again.complaint) == (
        ExitCode.FAILED,
        "queue elsewhere is not paused\n",
    )


def test_an_execution_of_a_paused_plan_says_so(served: Project) -> None:
    served.call("submit", served.file("adding.yaml"), "-p", "n=1")
    served.call("pause", "--plan", "adding", "--by", "ann", "--reason", "a look")
    begun = served.call("submit", served.file("adding.yaml"), "-p", "n=2")
    execution_id = begun.output.strip()

    shown = served.call("show", execution_id)
    listed = served.call("list", "--json").json["items"]

    assert "plan adding by ann since" in shown.output
    assert [hold["by"] for hold in listed[0]["holds"]] == ["ann"]
    served.call("resume", "--plan", "adding")
    assert served.call("watch", execution_id).code == ExitCode.OK


@pytest.mark.parametrize(
    "line", ["pause", "resume", "pause --plan a --tag b", "pause x --queue io"]
)
def test_a_pause_is_of_one_thing(served: Project, line: str) -> None:
    answer = served.call(*line.split())

    assert answer.code == ExitCode.USAGE
    assert "one execution, or one --plan, --tag, --queue or --uses" in answer.complaint


def test_an_unknown_plan_is_not_paused(served: Project) -> None:
    served.call("submit", served.file("adding.yaml"), "-p", "n=1")

    answer = served.call("pause", "--plan", "addin")

    assert answer.code == ExitCode.NOT_FOUND
    assert 'did you mean "adding"' in answer.complaint


def test_a_pause_of_what_nothing_uses_says_so(served: Project) -> None:
    paused = served.call("pause", "--uses", "strype", "--by", "ann")
    served.call("resume", "--uses", "strype", "--by", "ann")

    assert (paused.code, paused.output) == (0, "dependency strype is paused\n")
    assert "plans: warning: no plan and no action is known to use" in paused.complaint


def test_the_next_times_of_a_paused_schedule_say_that_it_is_paused(
    served: Project,
) -> None:
    served.call("publish", served.file("adding.yaml"))
    create = "schedule create hourly --plan adding -p n=1 --every 1h"
    served.call(*create.split())
    before = served.call("schedule", "next", "hourly")
    served.call("schedule", "pause", "hourly", "--by", "ann")

    answer = served.call("schedule", "next", "hourly")

    assert before.complaint == ""
    assert answer.output == before.output
    assert answer.complaint.startswith("plans: warning: hourly is paused since ")


def test_what_steps_use_is_paused_listed_and_resumed(served: Project) -> None:
    paused = served.call(
        "pause", "--uses", "stripe", "--by", "ann", "--reason", "it is down"
    )
    listed = served.call("dependency", "list")
    again = served.call("pause", "--uses", "stripe")
    pauses = served.call("pauses")
    resumed = served.call("resume", "--uses", "stripe", "--by", "ann")
    guarded = served.call("dependency", "guard", "stripe", "--pause-at", "0.5")

    assert (paused.code, paused.output) == (0, "dependency stripe is paused\n")
    assert "ann: it is down" in listed.output
    assert again.code == 1
    assert "dependency stripe" in pauses.output
    assert (resumed.code, resumed.output) == (0, "dependency stripe goes on\n")
    assert "when 50% of its last 20 attempts have failed" in guarded.output
