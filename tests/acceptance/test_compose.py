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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import redis
from kombu.connection import Connection
from redis.backoff import NoBackoff
from redis.retry import Retry

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step
from execution.installation import Installation
from tests.acceptance.test_rabbitmq import RABBITMQ, has_rabbitmq
from tests.composing import USUAL, WITH_RABBITMQ, read_project
from tests.confinement import can_confine
from tests.containers import Containers, list_lines
from tests.pages import read_page
from tests.polling import wait_until
from tests.worker_process import ROOT

pytestmark = pytest.mark.timeout(1200)
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
MANY = 8
"""Workers to which the page scales."""
PAGE = "docs/howto/deploying.md"
SECRETS = "deploy/compose/make-secrets.sh"
URLS = (
    *("worker_database_url", "producer_database_url", "operator_database_url"),
    *("worker_redis_url", "producer_redis_url", "flower_redis_url"),
)
"""Of the passwords that the page replaces."""


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
    """Do what a line of the page says; return what it shows."""
    if line.startswith(SECRETS):
        make_secrets(containers, *shlex.split(line)[1:])
        return ""
    docker, compose, command, *words = shlex.split(line)
    assert (docker, compose) == ("docker", "compose")
    if command in {"exec", "run"}:
        return carry_out_within(containers, command, words)
    match command:
        case "up":
            bring_up(containers, words)
        case "stop" | "restart":
            getattr(containers, command)(*words)
        case "build":
            assert all("build" in containers.services[name] for name in words)
        case "logs":
            assert containers.running[words[-1]]
        case _:
            raise AssertionError(line)
    return ""


def bring_up(containers: Containers, words: Sequence[str]) -> None:
    """Do as `docker compose up` with these words."""
    options = {word for word in words if word.startswith("--")}
    assert options <= {"--detach", "--wait", "--scale"}
    scaled = [word.split("=") for word in words if "=" in word]
    names = [word for word in words if word in containers.services]
    if names:
        # their secrets are the same files
        assert all(containers.running[name] for name in names)
    else:
        containers.start_all()
    for name, count in scaled:
        containers.scale(name, int(count))


def make_secrets(containers: Containers, *options: str) -> None:
    """Make secrets anew; containers see what is in the files that they have."""
    folder = containers.find_secret("worker_password").parent
    inodes = {file.name: file.stat().st_ino for file in folder.iterdir()}
    subprocess.run([ROOT / SECRETS, *options, folder], check=True)
    # a file in the place of another one would not be seen in a container
    kept = {file.name: file.stat().st_ino for file in folder.iterdir()}
    assert inodes.items() <= kept.items()
    containers.take_secrets()


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
            lambda: count_workers(engine) == MANY + 1,
            what="many workers and that of io",
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
    usual = [line for line in list_typed() if "-f" not in shlex.split(line)]
    before = {name: containers.read_secret(name) for name in URLS}

    shown = [
        carry_out(containers, line)
        for line, following in zip(usual, [*usual[1:], ""], strict=True)
        # what the next line stops need not be started
        if "--scale" not in line and not ("up" in line and " stop " in following)
    ]

    assert usual[0] == SECRETS
    assert_replaced(containers, before)
    assert '"Hello, Ann!"\n' in shown
    assert len(usual) >= 10
    folder = containers.find_volume("payloads").parent
    # backed up, and restored since
    assert "CREATE TABLE celery_plans.executions" in (folder / "plans.sql").read_text()
    assert (folder / "payloads.tar").stat().st_size > 0


def assert_replaced(containers: Containers, before: Mapping[str, str]) -> None:
    """See that nobody enters with a password of before, and that the new ones do."""
    for name in URLS:
        url = containers.read_secret(name)
        assert url != before[name]
        assert can_enter(url), name
        assert not can_enter(before[name]), name


def can_enter(url: str) -> bool:
    try:
        if url.startswith("redis"):
            once = Retry(NoBackoff(), 0)
            with redis.Redis.from_url(url, retry=once) as client:
                return bool(client.ping())
        psycopg2.connect(url).close()
    except (redis.AuthenticationError, psycopg2.OperationalError):
        return False
    return True


def read_block(file: str) -> str:
    """Return what the page has in a file."""
    (block,) = (block for block in read_page(PAGE) if block.file == file)
    return block.text


def test_the_queue_that_the_page_adds_is_served(
    containers: Containers, home: Path
) -> None:
    file = home / "reports.yml"
    file.write_text(read_block(file.name))
    usual = read(home, USUAL)["services"]
    services = read(home, (*USUAL, file), MORE_QUEUES="reports")["services"]

    assert set(services) - set(usual) == {"worker-reports"}
    added = services["worker-reports"]
    changed = {k for k, v in added.items() if v != usual["worker-io"].get(k)}
    assert changed == {"command"}
    assert added["command"][:3] == ["worker", "--queues", "reports"]
    queues = services["redis"]["environment"]["PLANS_QUEUES"]
    assert queues.split() == ["plans", "io", "reports"]


def test_an_application_as_the_page_shows_it_submits(
    containers: Containers, home: Path
) -> None:
    file = home / "shop.yml"
    file.write_text(read_block("shop/compose.yml"))
    theirs = read_project([file], {"PLANS_SECRETS": str(home / "secrets")})
    ours = read_project(USUAL, {})
    shop, plans = theirs["services"]["shop"], ours["services"]["plans"]

    assert shop["networks"] == ["default", "plans"]
    assert theirs["networks"]["plans"]["name"] == f"{ours['name']}_servers"
    assert theirs["volumes"]["payloads"]["name"] == f"{ours['name']}_payloads"
    assert set(shop["volumes"]) <= set(plans["volumes"])
    given = {**plans["environment"], "PLANS_IMPORTS": "shop.actions"}
    assert shop["environment"].items() <= given.items()
    # as it is, but for the folder of its image
    imports = {"PLANS_IMPORTS": plans["environment"]["PLANS_IMPORTS"]}
    containers.services["shop"] = {
        **containers.services["plans"],
        "environment": shop["environment"] | imports,
        "secrets": shop["secrets"],
    }
    done = containers.run("shop", ["run", "hello.yaml"])
    assert (done.returncode, "Hello" in done.stdout) == (0, True), done.stderr


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
    newer = read_project(
        (*USUAL, ROOT / "deploy/compose/shop.yml"), {"PLANS_IMAGE": "plans:2"}
    )["services"]
    assert newer["migrate"]["image"] == "plans:2"
    assert newer["worker"]["build"]["args"] == {"PLANS_IMAGE": "plans:2"}
    assert text.rstrip().endswith("USER 10001:10001")
    sources = re.findall(r"^COPY (\S+)", text, re.MULTILINE)
    assert sources
    assert all((folder / source).exists() for source in sources)
    for name in ("worker", "worker-io", "flower", "plans", "operator"):
        changed = {k for k, v in shop[name].items() if v != usual[name].get(k)}
        assert changed == {"image", "build", "working_dir"}
        assert f"\nWORKDIR {shop[name]['working_dir']}\n" in text


def read_all(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_the_secrets_that_are_there_are_kept(tmp_path: Path) -> None:
    subprocess.run([ROOT / SECRETS, tmp_path], check=True)
    before = read_all(tmp_path)
    (tmp_path / "flower_logins").unlink()
    (tmp_path / "worker_redis_url").write_text("redis://of an older password")

    subprocess.run([ROOT / SECRETS, tmp_path], check=True)

    assert read_all(tmp_path) == before
    assert tmp_path.stat().st_mode & 0o777 == 0o700
    drawn = [text for name, text in before.items() if name.endswith("_password")]
    assert len(set(drawn)) == len(drawn) >= 9


def test_a_third_password_waits_until_the_first_is_gone(tmp_path: Path) -> None:
    def make(*options: str) -> int:
        command = [str(ROOT / SECRETS), *options, str(tmp_path)]
        return subprocess.run(command, check=False).returncode

    assert (make(), make("--renew")) == (0, 0)
    two = read_all(tmp_path)
    assert two["worker_password"] != two["worker_password_b"]
    assert two["worker_password_b"].strip() in two["worker_database_url"]

    assert make("--renew") == 1
    assert read_all(tmp_path) == two

    assert (make("--retire"), read_all(tmp_path)["worker_password"]) == (0, "")
    assert make("--renew") == 0
    third = read_all(tmp_path)
    assert third["worker_password"].strip() in third["worker_database_url"]
    assert third["worker_password_b"] == two["worker_password_b"]


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
