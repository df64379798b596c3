"""What every command prints with `--json` is what is documented, and nothing else."""

import json
import os
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from execution.cli.exits import ExitCode
from execution.cli.shapes import SHAPES
from execution.health import HealthState, WorkerHealth, write_health
from tests.integration.test_cli import Project, open_project
from tests.worker_process import ROOT

SCHEMA = json.loads((ROOT / "docs" / "command_line.schema.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    """A folder with plans, one of them published, and a database with the schema."""
    with open_project() as opened:
        assert opened.call("db", "upgrade").code == 0
        assert opened.call("publish", opened.file("adding.yaml")).code == 0
        yield opened


def begin(project: Project) -> str:
    """Begin an execution that nobody runs, and return its id."""
    return project.call("submit", "adding", "-p", "n=1", "--tag", "t").output.strip()


def end(project: Project) -> str:
    """Return the id of an execution that has ended, with an error."""
    execution_id = begin(project)
    assert project.call("cancel", execution_id, "--reason", "a look").code == 0
    return execution_id


def awaiting(project: Project) -> str:
    """Return the id of an execution that waits for an approval."""
    path = project.folder / "waiting.yaml"
    path.write_text(
        "format: 1\nname: waiting\nsteps: [{id: approve, wait_for: approval}]\n"
    )
    return project.call("submit", str(path)).output.strip()


COMMANDS: dict[str, list[Callable[[Project], list[str]]]] = {
    "publish": [lambda p: ["publish", p.file("adding.yaml")]],
    "submit": [
        lambda _: ["submit", "adding", "-p", "n=1"],
        lambda p: ["submit", "adding", "--many", write_lines(p)],
        lambda _: ["submit", "adding", "-p", "n=1", "--in", "2h"],
    ],
    "run": [lambda p: ["run", "adding", "-p", "n=1", "--key", keyed(p)]],
    "list": [lambda p: ["list", "--parent", begin(p)], lambda _: ["list", "--count"]],
    "show": [lambda p: ["show", begin(p)], lambda p: ["show", end(p), "--events"]],
    "watch": [lambda p: ["watch", end(p)]],
    "logs": [lambda p: ["logs", end(p)]],
    "pause": [
        lambda p: ["pause", begin(p)],
        lambda _: ["pause", "--tag", "eu"],
        lambda _: ["pause", "--uses", f"d{uuid.uuid4()}"],
    ],
    "resume": [
        lambda p: ["resume", paused(p)],
        lambda p: ["resume", *held(p)],
        lambda p: ["resume", *unused(p)],
    ],
    "dependency list": [lambda p: [guarded(p) and "dependency", "list"]],
    "dependency guard": [
        lambda _: ["dependency", "guard", "stripe", "--pause-at", "0.5", "--on", "E002"]
    ],
    "dependency unguard": [lambda p: ["dependency", "unguard", guarded(p)]],
    "pauses": [lambda p: ["pauses", *held(p)[2:]]],
    "cancel": [lambda p: ["cancel", begin(p)]],
    "retry": [
        lambda p: ["retry", end(p)],
        lambda p: ["retry", end(p), "--dry-run"],
    ],
    "signal": [lambda p: ["signal", awaiting(p), "approval", '{"approved": true}']],
    "skip": [lambda p: ["skip", end(p), "one"]],
    "force": [lambda p: ["force", end(p), "one", "7"]],
    "why": [lambda p: ["why", begin(p)]],
    "bulk": [
        lambda p: ["bulk", "pause", "--tag", tagged(p), "--yes"],
        lambda p: ["bulk", "cancel", "--tag", tagged(p), "--dry-run"],
    ],
    "batch list": [lambda p: [batched(p) and "batch", "list"]],
    "batch show": [lambda p: ["batch", "show", batched(p)]],
    "batch items": [lambda p: ["batch", "items", batched(p)]],
    "batch pause": [lambda p: ["batch", "pause", batched(p)]],
    "batch resume": [lambda p: ["batch", "resume", batched(p, "pause")]],
    "batch cancel": [lambda p: ["batch", "cancel", batched(p)]],
    "schedule create": [lambda _: create_schedule()],
    "schedule update": [
        lambda p: ["schedule", "update", scheduled(p), "--every", "2h"]
    ],
    "schedule list": [lambda p: [scheduled(p) and "schedule", "list"]],
    "schedule show": [lambda p: ["schedule", "show", scheduled(p)]],
    "schedule next": [
        lambda p: ["schedule", "next", scheduled(p)],
        lambda _: ["schedule", "next", "--cron", "0 3 * * *", "--zone", "Asia/Tokyo"],
    ],
    "schedule pause": [lambda p: ["schedule", "pause", scheduled(p)]],
    "schedule resume": [lambda p: ["schedule", "resume", scheduled(p)]],
    "schedule run": [lambda p: ["schedule", "run", scheduled(p)]],
    "schedule delete": [lambda p: ["schedule", "delete", scheduled(p)]],
    "batch wait": [lambda p: ["batch", "wait", batched(p, "cancel")]],
    "workers": [lambda _: ["workers"]],
    "health": [
        lambda p: ["health", "--file", write_health_file(p)],
        lambda _: ["health", "--live", "--file", "none"],
    ],
    "actions": [lambda _: ["actions"]],
    "validate": [
        lambda p: ["validate", p.file("adding.yaml")],
        lambda p: ["validate", p.file("adding.yaml"), write_fault(p)],
    ],
    "explain": [
        lambda p: ["explain", p.file("adding.yaml")],
        lambda p: ["explain", "adding", "-p", "n=1"],
    ],
    "versions": [lambda _: ["versions", "adding"]],
    "diff": [lambda p: ["diff", "adding", p.file("failing.yaml")]],
    "inspect-app": [lambda p: ["inspect-app", write_app(p)]],
    "doctor": [lambda _: ["doctor"], lambda _: ["doctor", "--fix"]],
    "db check": [lambda _: ["db", "check"]],
}
CASES = [(name, number) for name in COMMANDS for number in range(len(COMMANDS[name]))]


def write_lines(project: Project) -> str:
    path = project.folder / "many.jsonl"
    path.write_text('{"n": 1}\n{"n": 2}\n')
    return str(path)


def write_fault(project: Project) -> str:
    path = project.folder / "faulty.yaml"
    path.write_text("format: 1\nname: x\nsteps: 7\n")
    return str(path)


def write_health_file(project: Project) -> str:
    path = project.folder / "health"
    worker = WorkerHealth(HealthState.READY, datetime.now(UTC), os.getpid(), None, "w")
    write_health(path, worker)
    return str(path)


def write_app(project: Project) -> str:
    path = project.folder / "host_app.py"
    path.write_text(
        "from celery import Celery\n"
        "app = Celery(broker='memory://', set_as_current=False)\n"
        "app.conf.task_acks_late = False\n"
    )
    return "host_app:app"


def keyed(project: Project) -> str:
    """Return the key of an execution that has ended, so that nobody waits."""
    answer = project.call("submit", "adding", "-p", "n=1", "--key", "ended")
    project.call("cancel", answer.output.strip())
    return "ended"


def paused(project: Project) -> str:
    execution_id = begin(project)
    project.call("pause", execution_id)
    return execution_id


def guarded(project: Project) -> str:
    """Return the name of a dependency that is guarded."""
    project.call("dependency", "guard", "stripe", "--pause-at", "0.5")
    return "stripe"


def unused(project: Project) -> list[str]:
    """Return the option for a dependency that is paused."""
    option = ["--uses", f"d{uuid.uuid4()}"]
    project.call("pause", *option)
    return option


def tagged(project: Project) -> str:
    """Return a tag of an execution that nobody runs."""
    tag = f"tag {uuid.uuid4()}"
    project.call("submit", "adding", "-p", "n=1", "--tag", tag)
    return tag


def create_schedule() -> list[str]:
    """Return how to store a schedule of a name of its own."""
    name = f"s-{uuid.uuid4()}"
    arguments = f"schedule create {name} --plan adding -p n=1 --every 1h --reason x"
    return arguments.split()


def scheduled(project: Project) -> str:
    """Return the name of a schedule that has had a run."""
    arguments = create_schedule()
    project.call(*arguments)
    project.call("schedule", "run", arguments[2])
    return arguments[2]


def batched(project: Project, act: str | None = None) -> str:
    """Return the id of a batch that nobody carries out, after an act on it."""
    answer = project.call("bulk", "pause", "--tag", tagged(project), "--yes", "--json")
    batch_id = str(json.loads(answer.output)["id"])
    if act is not None:
        project.call("batch", act, batch_id)
    return batch_id


def held(project: Project) -> list[str]:
    """Return what names a tag that is paused."""
    project.call("pause", "--tag", "us", "--reason", "a look")
    return ["--tag", "us"]


def close(shape: Any) -> Any:
    """Return a schema that allows no key beside those that it names."""
    if isinstance(shape, list):
        return [close(each) for each in shape]
    if not isinstance(shape, dict):
        return shape
    closed = {name: close(each) for name, each in shape.items()}
    if isinstance(shape.get("properties"), dict):
        closed["additionalProperties"] = False
    return closed


@pytest.mark.parametrize(("name", "number"), CASES)
def test_json_has_the_documented_shape(
    project: Project, name: str, number: int
) -> None:
    arguments = COMMANDS[name][number](project)
    shape = {**SCHEMA["properties"][name], "$defs": SCHEMA["$defs"]}
    validator = Draft202012Validator(close(shape), format_checker=FormatChecker())

    if name == "inspect-app":
        # in a process of its own, for it imports what is in the folder
        with project.spawn(*arguments, "--json") as process:
            output, complaint = process.communicate(timeout=60)
    else:
        answer = project.call(*arguments, "--json")
        output, complaint = answer.output, answer.complaint

    assert output, complaint
    is_lines = name == "watch"
    texts = output.splitlines() if is_lines else [output]
    for text in texts:
        validator.validate(json.loads(text))


def test_every_command_that_prints_json_is_documented() -> None:
    assert set(SHAPES) == set(COMMANDS) == set(SCHEMA["properties"])


@pytest.mark.parametrize(
    "line",
    [
        "versions nobodys",
        "explain nobodys",
        "diff nobodys adding",
        "publish nobodys@1",
        "submit adding@9",
        "run nobodys",
        "actions nobodys.action",
        "list --parent 019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1",
        "batch show 019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1",
        "schedule show nothing",
        "schedule run nothing",
        "batch wait 019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1",
        "bulk cancel --tag nobodys --yes",
    ],
)
def test_a_name_that_nothing_has_ends_with_3(project: Project, line: str) -> None:
    answer = project.call(*line.split(), "--json")

    assert (answer.code, answer.output) == (ExitCode.NOT_FOUND, "")
    assert answer.complaint.startswith("plans: ")


def test_a_signal_says_what_became_of_it(project: Project) -> None:
    execution_id = awaiting(project)

    answer = project.call("signal", execution_id, "approval", "1", "--by", "ann")
    shown = project.call("show", execution_id)

    assert answer.output == "approval is kept: no step waits for it yet\n"
    assert "ann" in shown.output


@pytest.mark.parametrize(
    ("words", "complaint", "code"),
    [
        (["signal", "approval", "yes"], "PAYLOAD is no JSON", ExitCode.USAGE),
        (
            ["signal", "aproval"],
            "waits for signal 'aproval'; there are approval",
            ExitCode.NOT_FOUND,
        ),
        (["skip", "z"], "no step 'z'", ExitCode.NOT_FOUND),
        (["why", "z"], "no step 'z'", ExitCode.NOT_FOUND),
    ],
)
def test_a_wrong_name_or_payload_ends_with_its_code(
    project: Project, words: list[str], complaint: str, code: ExitCode
) -> None:
    command, *others = words
    answer = project.call(command, awaiting(project), *others)

    assert answer.code == code
    assert complaint in answer.complaint
