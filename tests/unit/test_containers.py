"""The container files: valid, and as closed as they say they are.

No container engine is needed here: the files are read. What they start is run by
tests/acceptance/test_compose.py, as processes.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema.validators import validator_for
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from execution.settings import Settings
from tests.composing import (
    USUAL,
    WITH_RABBITMQ,
    list_in_order,
    list_secrets,
    read_project,
    read_seconds,
)
from tests.worker_process import ROOT

SCHEMA = ROOT / "tests/schemas/compose-spec.json"
DOCKERFILES = [ROOT / "Dockerfile", *sorted(ROOT.glob("deploy/**/*Dockerfile"))]
GIVING_BACK_SECONDS = 15
"""What a worker may take beyond its drain: docs/operations/workers.md."""
SERVICES = read_project(WITH_RABBITMQ, {})["services"]
CAN_BE_PULLED = r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}"
PASSWORD = re.compile(r"password|secret|token|://[^/]*:[^/]*@", re.IGNORECASE)
every_service = pytest.mark.parametrize("name", sorted(SERVICES))


@pytest.mark.parametrize("file", WITH_RABBITMQ, ids=lambda file: file.name)
def test_the_file_is_what_the_specification_allows(file: Path) -> None:
    schema = json.loads(SCHEMA.read_text("utf-8"))
    document = yaml.safe_load(file.read_text("utf-8"))

    faults = validator_for(schema)(schema).iter_errors(document)

    assert [f"{fault.json_path}: {fault.message}" for fault in faults] == []


def test_the_schema_is_the_one_that_its_page_names() -> None:
    page = SCHEMA.with_name("README.md").read_text("utf-8")

    assert hashlib.sha256(SCHEMA.read_bytes()).hexdigest() in page


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_the_linter_has_nothing_to_say(file: Path) -> None:
    linter = Path(sys.executable).with_name("hadolint")

    done = subprocess.run(
        [linter, "--no-color", file], capture_output=True, text=True, check=False
    )

    assert (done.stdout + done.stderr, done.returncode) == ("", 0)
    assert "hadolint ignore" not in file.read_text("utf-8")


@every_service
def test_a_service_can_do_no_more_than_it_must(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert "cap_add" not in service
    assert "privileged" not in service
    assert not is_ours(service) or "user" not in service, "the image has one"
    assert is_ours(service) or service["user"] == "999:999"


@every_service
def test_a_service_has_limits(name: str) -> None:
    limits = SERVICES[name]["deploy"]["resources"]["limits"]

    assert set(limits) == {"cpus", "memory", "pids"}
    assert SERVICES[name]["logging"]["options"]["max-size"]


@every_service
def test_a_service_comes_back_and_says_how_it_is(name: str) -> None:
    service = SERVICES[name]
    runs_once = service.get("healthcheck") == {"disable": True}

    assert runs_once == (name in {"migrate", "plans", "operator"})
    assert (service["restart"] == "unless-stopped") == (not runs_once)
    assert runs_once or service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}


@every_service
def test_no_password_stands_in_a_service(name: str) -> None:
    service = SERVICES[name]
    environment = service.get("environment", {})
    said = [str(value) for value in environment.values()]
    said += service.get("command", [])

    # the folder, or a file in it
    given = {"/run/secrets", *(path for _, path in list_secrets(service))}
    suspicious = {text for text in said if PASSWORD.search(text)}
    assert suspicious <= given
    for variable, value in environment.items():
        assert not PASSWORD.search(variable) or value in given, variable


def test_what_is_read_from_a_secret_is_handed_to_the_service() -> None:
    secrets = read_project(WITH_RABBITMQ, {})["secrets"]
    used = set()
    for name, service in SERVICES.items():
        given = dict(list_secrets(service))
        used |= set(given)
        asked = set(re.findall(r"/run/secrets/\w+", json.dumps(service)))
        assert asked <= set(given.values()), name

    assert used == set(secrets)


def test_ports_are_open_on_this_host_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("name", ["postgres", "redis", "rabbitmq"])
def test_a_server_is_reached_by_the_services_alone(name: str) -> None:
    networks = read_project(USUAL, {})["networks"]

    assert SERVICES[name]["networks"] == ["servers"]
    assert networks["servers"]["internal"] is True
    assert "ports" not in SERVICES[name]


@pytest.mark.parametrize("name", ["postgres", "redis", "rabbitmq", "worker"])
def test_what_must_last_lies_in_a_volume_with_a_name(name: str) -> None:
    volumes = read_project(WITH_RABBITMQ, {})["volumes"]
    mounts = [mount.split(":")[0] for mount in SERVICES[name]["volumes"]]

    assert [mount for mount in mounts if mount in volumes]
    assert [m for m in mounts if m not in volumes and not m.startswith("./")] == []


@every_service
def test_an_image_is_built_here_or_named_by_its_digest(name: str) -> None:
    service = SERVICES[name]

    if not is_ours(service):
        assert re.fullmatch(CAN_BE_PULLED, service["image"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert not is_ours(service) or service["image"] == (
        f"celery-plans:{project['version']}"
    )


@pytest.mark.parametrize(
    "name", [n for n in sorted(SERVICES) if "build" in SERVICES[n]]
)
def test_the_settings_of_a_service_are_accepted(name: str, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    subprocess.run([ROOT / "deploy/compose/make-secrets.sh", secrets], check=True)
    given = SERVICES[name]["environment"].items()

    settings = Settings.from_environment(
        {k: v.replace("/run/secrets", str(secrets)) for k, v in given}
    )

    assert "@postgres:5432/plans" in str(settings.database_url)
    is_sender = name != "migrate"
    assert not is_sender or str(settings.broker_url).startswith("amqp://plans:")
    assert not is_sender or "@redis:6379/0" in str(settings.events_url)


def test_workers_have_more_time_to_stop_than_they_take() -> None:
    for name in ("worker", "worker-io"):
        drain = float(SERVICES[name]["environment"]["PLANS_DRAIN_SECONDS"])

        assert read_seconds(SERVICES[name]["stop_grace_period"]) >= (
            drain + GIVING_BACK_SECONDS
        )


def test_workers_can_be_scaled() -> None:
    for name in ("worker", "worker-io"):
        assert not {"container_name", "hostname", "ports"} & set(SERVICES[name])


def test_nothing_works_before_the_schema_is_there() -> None:
    for name, service in SERVICES.items():
        if is_ours(service) and name != "migrate":
            conditions = {k: v["condition"] for k, v in service["depends_on"].items()}
            assert conditions["migrate"] == "service_completed_successfully"
            assert conditions["redis"] == "service_healthy"
    order = list_in_order(read_project(USUAL, {}))
    assert order.index("postgres") < order.index("migrate") < order.index("worker")


def test_redis_keeps_what_it_has_and_throws_nothing_away() -> None:
    command = SERVICES["redis"]["command"]
    starting, server, *words = command
    options = dict(zip(words[::2], words[1::2], strict=True))

    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
    # which gives it `--aclfile`
    assert (starting, server) == ("/etc/celery-plans/start.sh", "redis-server")


@pytest.mark.parametrize("password", ["\n", None])
def test_redis_does_not_start_with_a_password_that_it_cannot_read(
    tmp_path: Path, password: str | None
) -> None:
    file = tmp_path / "redis_worker_password"
    if password is None:
        # there, and of some size, but nothing that could be read
        file.mkdir()
    else:
        file.write_text(password)
    made = tmp_path / "users.acl"

    done = subprocess.run(
        ["/bin/sh", ROOT / "deploy" / "redis" / "start.sh", "true"],
        env={
            **os.environ,
            "PLANS_PASSWORDS": str(tmp_path),
            "PLANS_ACL": str(made),
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert str(file) in done.stderr
    assert not made.exists()


def test_with_rabbitmq_redis_carries_the_hints_alone() -> None:
    for name, service in SERVICES.items():
        settings = service.get("environment", {})
        if "PLANS_BROKER_URL_FILE" in settings:
            assert settings["PLANS_BROKER_URL_FILE"] == "/run/secrets/rabbitmq_url"
            assert settings["PLANS_REDIS_URL_FILE"].endswith("_redis_url"), name
            assert "rabbitmq" in service["depends_on"]


def test_the_image_has_the_versions_that_development_has() -> None:
    image, development = (
        read_locked("requirements.txt"),
        read_locked("requirements-dev.txt"),
    )

    assert set(image.items()) <= set(development.items())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["flower"]]
    names = {canonicalize_name(Requirement(line).name) for line in wanted}
    assert names <= set(image)


def read_locked(file: str) -> dict[str, str]:
    lines = (ROOT / file).read_text("utf-8").splitlines()
    pinned = (line.split(" ")[0].split("==") for line in lines if "==" in line)
    return {name: version for name, version in pinned if not name.startswith("#")}


def test_every_version_in_the_image_has_its_hashes() -> None:
    text = (ROOT / "requirements.txt").read_text("utf-8")

    assert len(re.findall(r"^[\w-]+==.* \\\n    --hash=sha256:", text, re.M)) == len(
        re.findall(r"^[\w-]+==", text, re.M)
    )


def test_the_wheel_is_made_of_what_the_image_copies(tmp_path: Path) -> None:
    context, wheels = tmp_path / "context", tmp_path / "wheels"
    for source in list_copied():
        assert f"!{source}" in (ROOT / ".dockerignore").read_text().splitlines()
        copy(ROOT / source, context / source)

    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(wheels), str(context)]
    subprocess.run(command, check=True, cwd=tmp_path)

    (wheel,) = wheels.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "execution/_assets/celeryconfig.py" in names
    assert "execution/_assets/stdlib_census/plan.yaml" in names


def list_copied() -> list[str]:
    """Return what the image takes from the checkout."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    return [source for line in lines for source in line.split()]


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, target, ignore=ignored)
    else:
        shutil.copy(source, target)


def test_the_image_runs_under_an_account_of_its_own() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    *_, last = text.split("\nFROM ")

    assert "\nUSER 10001:10001\n" in last
    assert last.index("USER 10001") < last.index("ENTRYPOINT")
    assert "RUN" not in last[last.index("USER 10001") :]
    assert re.search(
        rf"^FROM python:\S+@{CAN_BE_PULLED.split('@')[1]} AS base$", text, re.M
    )
    assert "org.opencontainers.image.licenses" in last


def is_ours(service: dict[str, Any]) -> bool:
    return "build" in service
