"""docker-compose.yml, carried out: its services as processes, scaled under load.

No engine of containers is here. tests/containers.py says what is tried all the same,
and tests/unit/test_containers.py reads the rest.
"""

import os
import re
import shlex
import shutil
import subprocess
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from kombu.connection import Connection

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step
from execution.installation import Installation
from tests.acceptance.test_rabbitmq import RABBITMQ, has_rabbitmq
from tests.composing import USUAL, WITH_RABBITMQ, read_project
from tests.confinement import can_confine
from tests.containers import Containers, list_lines
from tests.pages import read_page
from tests.polling import wait_until
from tests.worker_process import ROOT

pytestmark = pytest.mark.timeout(600)
ACTIONS = """
from pathlib import Path
from execution import Context, action

@action("shop.note")
def note(ctx: Context, ledger: str) -> None:
    with Path(ledger).open("a") as file:
        file.write(f"{ctx.execution_id} {ctx.step}\\n")
"""
"""A folder of somebody's own actions."""
BATCH = 12
PAGE = "docs/howto/deploying.md"
SECRETS = "deploy/compose/make-secrets.sh"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with secrets and actions."""
    home = tmp_path_factory.mktemp("compose")
    shutil.copytree(ROOT / "deploy/compose/actions", home / "actions")
    (home / "actions/shop.py").write_text(ACTIONS)
    subprocess.run([ROOT / SECRETS, home / "secrets"], check=True)
    return home


def read(home: Path, files: tuple[Path, ...], **variables: str) -> dict[str, Any]:
    return read_project(
        files,
        {
            "SECRETS_FOLDER": str(home / "secrets"),
            "ACTIONS_FOLDER": str(home / "actions"),
            "PLANS_IMPORTS": "shop,greetings",
            "WORKER_CONCURRENCY": "1",
            "IO_CONCURRENCY": "4",
            **variables,
        },
    )


@contextmanager
def run(project: dict[str, Any], folder: Path) -> Iterator[Containers]:
    """Run a project, and end it."""
    folder.mkdir()
    containers = Containers(project, folder)
    try:
        containers.start_all()
        yield containers
        containers.stop_all()
    except BaseException:
        print(*list_lines(containers), sep="\n")  # noqa: T201  # shown with the failure
        containers.kill_all()
        raise


@contextmanager
def connect(containers: Containers, queue: str) -> Iterator[ExecutionEngine]:
    """Open an engine as the service `plans` does."""
    given = containers.services["plans"]["environment"]
    broker = given["PLANS_BROKER_URL_FILE"].rpartition("/")[2]
    settings = Settings(
        database_url=containers.read_secret("producer_database_url"),
        broker_url=containers.read_secret(broker),
        redis_url=containers.read_secret("producer_redis_url"),
        queue=queue,
    )
    with ExecutionEngine(Installation(settings, None)) as engine:
        yield engine


@pytest.fixture(scope="module")
def containers(home: Path) -> Iterator[Containers]:
    """The services of docker-compose.yml."""
    with run(read(home, USUAL), home / "usual") as containers:
        yield containers


def build_plan(ledger: Path, io: str) -> Plan:
    """A plan whose steps go from one queue to the other and back."""
    inputs = {"ledger": str(ledger)}
    return Plan(
        "noted",
        steps=[
            Step("first", action="shop.note", with_=inputs),
            Step("second", action="shop.note", with_=inputs, queue=io),
            Step("third", action="shop.note", with_=inputs),
        ],
    )


def submit(engine: ExecutionEngine, plan: Plan) -> list[str]:
    return [engine.submit(plan) for _ in range(BATCH)]


def check_each_ran_once(
    engine: ExecutionEngine, submitted: list[str], ledger: Path
) -> None:
    ended = {i: engine.wait(i, timeout_seconds=120).status for i in submitted}
    assert set(ended.values()) == {ExecutionStatus.COMPLETED}
    noted = Counter(ledger.read_text().splitlines())
    steps = ("first", "second", "third")
    assert noted == Counter(f"{i} {step}" for i in submitted for step in steps)


def list_typed() -> list[str]:
    """Return the lines that the page has typed where containers are."""
    blocks = [block for block in read_page(PAGE) if "docker" in block.words]
    return [line for block in blocks for line in block.text.splitlines()]


def carry_out(containers: Containers, line: str) -> str:
    """Do what a line of `docker compose` says; return what it shows."""
    docker, compose, command, *words = shlex.split(line)
    assert (docker, compose) == ("docker", "compose")
    if command in {"exec", "run"}:
        return carry_out_within(containers, command, words)
    options = {word for word in words if word.startswith("--")}
    match command:
        case "up":
            assert options <= {"--detach", "--wait", "--scale"}
            containers.start_all()
            for scaled in (word for word in words if "=" in word):
                name, count = scaled.split("=")
                containers.scale(name, int(count))
        case "stop":
            for name in words:
                containers.scale(name, 0)
        case "build":
            assert all("build" in containers.services[name] for name in words)
        case "logs":
            assert containers.running[words[-1]]
        case _:
            raise AssertionError(line)
    return ""


def carry_out_within(containers: Containers, command: str, words: list[str]) -> str:
    """Do what is done by a program in a container; return what it writes."""
    folder = containers.find_volume("payloads").parent
    into, out_of = (
        [folder / w[1:] for w in words if w.startswith(mark)] for mark in (">", "<")
    )
    words = [word for word in words if not word.startswith((">", "<"))]
    options: dict[str, str] = {}
    if out_of:
        options["input"] = out_of[0].read_text("utf-8")
    while words[0].startswith("-"):
        if words.pop(0) == "--entrypoint":
            options["entrypoint"] = words.pop(0)
    name, *arguments = words
    act = containers.execute if command == "exec" else containers.run
    done = act(name, arguments, **options)
    # the doctor finds that this PostgreSQL, made for a test, has `fsync` off
    is_told = "doctor" in arguments and "postgres-not-durable" in done.stdout
    assert done.returncode == 0 or is_told, f"{words} {done.stdout} {done.stderr}"
    for file in into:
        file.write_text(done.stdout, "utf-8")
    return done.stdout


def test_no_step_is_lost_or_repeated_while_workers_come_and_go(
    containers: Containers,
) -> None:
    more, fewer = (line for line in list_typed() if "--scale" in line)
    ledger = containers.find_volume("payloads") / "ledger"
    plan = build_plan(ledger, "io")
    with connect(containers, "plans") as engine:
        submitted = submit(engine, plan)
        carry_out(containers, more)
        submitted += submit(engine, plan)
        wait_until(
            lambda: count_workers(engine) == 9,
            what="8 workers and that of io",
            timeout_seconds=120,
        )
        submitted += submit(engine, plan)
        carry_out(containers, fewer)
        submitted += submit(engine, plan)

        check_each_ran_once(engine, submitted, ledger)
        assert count_workers(engine) == 2


def count_workers(engine: ExecutionEngine) -> int:
    return len(engine.list_workers())


def test_a_service_runs_without_rights_on_a_root_that_is_read_only(
    containers: Containers,
) -> None:
    if not can_confine():
        # nothing that could be installed changes that
        pytest.skip("this user may not have mounts of a process's own")
    for name in ("redis", "worker", "worker-io", "flower"):
        (container, *_) = containers.running[name]
        process = Path(f"/proc/{container.process.pid}")
        status = (process / "status").read_text()

        assert "CapEff:\t0000000000000000\n" in status, name
        assert "NoNewPrivs:\t1\n" in status, name
        mounts = [
            line.split() for line in (process / "mounts").read_text().splitlines()
        ]
        assert {m[3].split(",")[0] for m in mounts if m[1] == "/"} == {"ro"}, name


def test_what_the_page_types_can_be_done(containers: Containers) -> None:
    made, *lines = list_typed()
    usual = [line for line in lines if "-f" not in shlex.split(line)]

    shown = [carry_out(containers, line) for line in usual if "--scale" not in line]

    assert made == SECRETS
    assert '"Hello, Ann!"\n' in shown
    assert len(usual) >= 10
    folder = containers.find_volume("payloads").parent
    # backed up, and restored since
    assert "CREATE TABLE celery_plans.executions" in (folder / "plans.sql").read_text()
    assert (folder / "payloads.tar").stat().st_size > 0


def test_the_files_that_the_page_names_fit_each_other() -> None:
    texts = [b.text for b in read_page(PAGE) if "COMPOSE_FILE=" in b.text]
    named = [line for text in texts for line in re.findall("COMPOSE_FILE=(.+)", text)]

    assert len(named) == 2
    for line in named:
        assert read_project([ROOT / file for file in line.split(":")], {})["services"]


def test_an_image_of_ones_own_is_what_the_workers_run() -> None:
    usual = read_project(USUAL, {})["services"]
    shop = read_project((*USUAL, ROOT / "deploy/compose/shop.yml"), {})["services"]
    folder = ROOT / shop["worker"]["build"]["context"]
    text = (folder / "Dockerfile").read_text("utf-8")

    assert f"\nARG PLANS_IMAGE={usual['worker']['image']}\n" in text
    assert text.rstrip().endswith("USER 10001:10001")
    sources = re.findall(r"^COPY (\S+)", text, re.MULTILINE)
    assert sources
    assert all((folder / source).exists() for source in sources)
    for name in ("worker", "worker-io", "flower", "plans"):
        changed = {k for k, v in shop[name].items() if v != usual[name].get(k)}
        assert changed == {"image", "build", "working_dir"}
        assert f"\nWORKDIR {shop[name]['working_dir']}\n" in text


def test_the_secrets_that_are_there_are_kept(home: Path) -> None:
    folder = home / "secrets"
    before = {file.name: file.read_text() for file in folder.iterdir()}
    (folder / "flower_logins").unlink()
    (folder / "worker_redis_url").write_text("redis://of an older password")

    subprocess.run([ROOT / SECRETS, folder], check=True)

    assert {file.name: file.read_text() for file in folder.iterdir()} == before
    assert folder.stat().st_mode & 0o777 == 0o700
    assert len({text for name, text in before.items() if "password" in name}) == sum(
        "password" in name for name in before
    )


@pytest.fixture
def queues() -> Iterator[tuple[str, str]]:
    """Two queues of RabbitMQ that nobody else has, removed in the end."""
    if not has_rabbitmq():
        reason = f"no RabbitMQ answers at {RABBITMQ[0]}:{RABBITMQ[1]}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    names = (f"plans-test-{uuid.uuid4()}", f"plans-test-{uuid.uuid4()}")
    yield names
    with (
        Connection("amqp://guest:guest@127.0.0.1//") as connection,  # type: ignore[no-untyped-call]  # kombu ships no types
        closing(connection.channel()) as channel,
    ):
        for name in names:
            channel.queue_delete(name)


def test_with_rabbitmq_as_the_broker_each_step_runs_once(
    home: Path, queues: Sequence[str]
) -> None:
    usual, io = queues
    project = read(home, WITH_RABBITMQ, PLANS_QUEUE=usual, IO_QUEUE=io)
    with (
        run(project, home / "rabbitmq") as containers,
        connect(containers, usual) as engine,
    ):
        ledger = containers.find_volume("payloads") / "ledger"
        submitted = submit(engine, build_plan(ledger, io))

        check_each_ran_once(engine, submitted, ledger)
        said = "".join(list_lines(containers))
        assert "transport:   amqp://guest:**@127.0.0.1:5672" in said
