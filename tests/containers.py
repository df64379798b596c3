"""The services of a compose project, run as processes of this machine.

What an engine of containers would do is done with the same words: each service's own
command, environment and health check, in the order of `depends_on`, stopped by the
signal and within the grace period of the file. What differs is where things lie: paths
of a container become folders of the test, ports become free ones, and the names of
servers 127.0.0.1. Where the kernel lets this user, a process also has a root that is
read-only but for its volumes and its `/tmp`, and no capabilities. What an engine alone
can do (images, limits, networks) is not tried.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from execution.local.binaries import find_postgres, find_valkey
from execution.local.superuser import ground
from tests.composing import list_in_order, list_secrets, read_seconds
from tests.confinement import can_confine, confine
from tests.postgres_image import choose_account, set_up
from tests.worker_process import ROOT

_START_SECONDS = 300.0
"""For a process to be healthy, on a machine that does much else."""
_PORTS = {"postgres": 5432, "redis": 6379, "flower": 5555}
_RABBITMQ = "amqp://guest:guest@127.0.0.1:5672//"
_ANY_ADDRESS = "0.0.0.0"  # noqa: S104  # it stands in the file
_ELSEWHERE = {"rabbitmq"}
"""Servers that run on this machine already, if at all."""


@dataclass(frozen=True)
class Container:
    """A process that stands for a container, and what it finds there."""

    service: str
    process: subprocess.Popen[bytes]
    log: Path
    paths: Mapping[str, str]
    environment: Mapping[str, str]

    def tell(self) -> str:
        """Return what it has said so far."""
        return f"{self.service}:\n{self.log.read_text()}"


class Containers:
    """A project's services as processes, in a folder."""

    def __init__(self, project: Mapping[str, Any], folder: Path) -> None:
        """Take the project as `read_project` returns it, with secrets in files."""
        self.services = project["services"]
        self.running: dict[str, list[Container]] = {}
        self._folder = folder
        self._ports = {usual: _find_free_port() for usual in _PORTS.values()}
        self._postgres = ground(find_postgres(), folder)
        self._count = 0
        self._secrets: dict[str, Path] = {}
        self._secret_files: dict[str, Path] = {
            name: ROOT / secret["file"] for name, secret in project["secrets"].items()
        }
        self.take_secrets()

    def start_all(self) -> None:
        """Do as `docker compose up --wait`: what no profile keeps back runs."""
        started = []
        for name in list_in_order({"services": self.services}):
            is_wanted = "profiles" not in self.services[name] and name not in _ELSEWHERE
            if is_wanted and not self.running.get(name):
                started.append(self.start(name))
        # the others were healthy when they were started, and each look takes its time
        for container in started:
            self._await_health(container)

    def start(self, name: str) -> Container:
        """Start one container more of a service, after what it depends on."""
        for needed, how in self.services[name].get("depends_on", {}).items():
            self.await_condition(needed, how["condition"])
        self._count += 1
        folder = self._folder / f"{name}-{self._count}"
        folder.mkdir()
        paths = self._place(name, folder)
        environment = self._build_environment(name, paths)
        command = self._prepare(name, environment, paths)
        if name != "postgres" and can_confine():
            command = confine(self.services[name], command, paths)
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=self._choose_directory(name, paths, folder),
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                **(choose_account(self._postgres) if name == "postgres" else {}),
            )
        started = Container(name, process, log, paths, environment)
        self.running.setdefault(name, []).append(started)
        return started

    def scale(self, name: str, count: int) -> None:
        """Do as `docker compose up --scale NAME=COUNT`; the youngest are stopped."""
        containers = self.running[name]
        for started in [self.start(name) for _ in range(count - len(containers))]:
            self._await_health(started)
        leaving = containers[count:]
        del containers[count:]
        self._stop(leaving)

    def run(
        self, name: str, arguments: Sequence[str], entrypoint: str = "", **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Do as `docker compose run --rm NAME ARGUMENTS`."""
        self._count += 1
        folder = self._folder / f"{name}-{self._count}"
        folder.mkdir()
        paths = self._place(name, folder)
        said = arguments or self.services[name]["command"]
        begun = [entrypoint] if entrypoint else self._find_entrypoint()
        command = [*begun, *self._translate(said, paths)]
        return subprocess.run(
            confine(self.services[name], command, paths) if can_confine() else command,
            cwd=self._choose_directory(name, paths, folder),
            env=self._build_environment(name, paths),
            capture_output=True,
            text=True,
            check=False,
            timeout=_START_SECONDS,
            **options,
        )

    def execute(
        self, name: str, command: Sequence[str], **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Do as `docker compose exec -T NAME COMMAND`."""
        container = self.running[name][0]
        # as within the image: by the socket, which lies elsewhere here
        socket = {
            "POSTGRES_USER": "postgres",
            "PGHOST": str(self._postgres.directory),
            "PGPORT": str(self._ports[_PORTS["postgres"]]),
        }
        return subprocess.run(
            self._translate(command, container.paths),
            env={**container.environment, **socket},
            capture_output=True,
            text=True,
            check=False,
            timeout=_START_SECONDS,
            **options,
        )

    def stop(self, *names: str) -> list[Container]:
        """Do as `docker compose stop NAME…`, all at a time; return what is stopped."""
        leaving = [c for name in names for c in self.running.pop(name, [])]
        self._stop(leaving)
        return leaving

    def restart(self, *names: str) -> None:
        """Do as `docker compose restart NAME…`."""
        for container in self.stop(*names):
            self.start(container.service)
        for name in names:
            self.await_condition(name, "service_healthy")

    def await_condition(self, name: str, condition: str) -> None:
        """Wait until a service is as `depends_on` asks."""
        if name in _ELSEWHERE:
            return
        for container in self.running[name]:
            if condition == "service_completed_successfully":
                code = container.process.wait(_START_SECONDS)
                assert code == 0, container.tell()
            else:
                self._await_health(container)

    def _await_health(self, container: Container) -> None:
        """Ask for health as often as the file says, not as often as one can."""
        deadline = time.monotonic() + _START_SECONDS
        while not self.is_healthy(container):
            assert time.monotonic() < deadline, container.tell()
            check = self.services[container.service]["healthcheck"]
            # no longer than it lives; what has ended is told by the next look
            with suppress(subprocess.TimeoutExpired):
                container.process.wait(read_seconds(check["start_interval"]))

    def is_healthy(self, container: Container) -> bool:
        """Say whether the health check of its service succeeds, if it has one."""
        check = self.services[container.service].get("healthcheck", {"disable": True})
        if check.get("disable"):
            return True
        assert container.process.poll() is None, container.tell()
        kind, *words = self._translate(check["test"], container.paths)
        done = subprocess.run(
            ["/bin/sh", "-c", *words] if kind == "CMD-SHELL" else words,
            env=dict(container.environment),
            capture_output=True,
            check=False,
            timeout=_START_SECONDS,
        )
        return done.returncode == 0

    def read_secret(self, name: str) -> str:
        """Return a secret as the services see it."""
        return self._secrets[name].read_text().strip()

    def find_secret(self, name: str) -> Path:
        """Return the file of a secret, as `make-secrets.sh` has made it."""
        return self._secret_files[name]

    def find_volume(self, name: str) -> Path:
        """Return where a named volume lies."""
        return self._folder / f"volume-{name}"

    def stop_all(self) -> None:
        """Do as `docker compose down --volumes`."""
        for name in reversed(list(self.running)):
            self._stop(self.running.pop(name))
        if self._postgres.directory.exists():
            shutil.rmtree(self._postgres.directory)

    def kill_all(self) -> None:
        """End what still runs, after a failure."""
        for containers in self.running.values():
            for container in containers:
                with suppress(ProcessLookupError):
                    container.process.kill()
                container.process.wait(60)
        shutil.rmtree(self._postgres.directory, ignore_errors=True)

    def _stop(self, containers: Sequence[Container]) -> None:
        for container in containers:
            if container.process.poll() is None:
                is_postgres = container.service == "postgres"
                # what the image of PostgreSQL says: others are ended by SIGTERM
                stop = signal.SIGINT if is_postgres else signal.SIGTERM
                container.process.send_signal(stop)
        for container in containers:
            grace = self.services[container.service].get("stop_grace_period", "10s")
            # the file has a machine in mind that does nothing else
            seconds = 5 * read_seconds(grace)
            assert container.process.wait(seconds) == 0, container.tell()

    def take_secrets(self) -> None:
        """Take over what is in the files, which containers see as it changes."""
        for name, file in self._secret_files.items():
            self._secrets[name] = self._copy_secret(name, file)

    def _copy_secret(self, name: str, file: Path) -> Path:
        text = file.read_text("utf-8")
        for host, usual in _PORTS.items():
            text = text.replace(
                f"@{host}:{usual}/", f"@127.0.0.1:{self._ports[usual]}/"
            )
        copy = self._folder / f"secret-{name}"
        copy.write_text(_RABBITMQ if name == "rabbitmq_url" else text)
        return copy

    def _place(self, name: str, folder: Path) -> dict[str, str]:
        """Return where the paths of a container lie on this machine."""
        service = self.services[name]
        secrets = {path: self._secrets[s] for s, path in list_secrets(service)}
        paths = {path: str(file) for path, file in secrets.items()}
        # some look for whichever of them are there
        own = folder / "secrets"
        own.mkdir()
        for path, file in secrets.items():
            (own / Path(path).name).symlink_to(file)
        paths["/run/secrets"] = str(own)
        # what is open to the network of containers is open to this machine alone
        paths[_ANY_ADDRESS] = "127.0.0.1"
        for mount in service.get("tmpfs", ()):
            path = mount.partition(":")[0]
            own = folder / path.strip("/").replace("/", "-")
            own.mkdir()
            paths[path] = str(own)
        for mount in service.get("volumes", ()):
            source, target, *_ = mount.split(":")
            is_named = not source.startswith((".", "/"))
            place = self._folder / f"volume-{source}" if is_named else ROOT / source
            if is_named:
                place.mkdir(exist_ok=True)
            assert place.exists(), mount
            paths[target] = str(place)
        return paths

    def _translate(self, words: Sequence[str], paths: Mapping[str, str]) -> list[str]:
        """Return the words with paths and ports of this machine in them."""
        places = sorted(paths, key=len, reverse=True)
        known = [rf"(?<![\w./]){re.escape(place)}(?![\w-])" for place in places]
        known += [rf"(?<![\w.]){usual}(?!\w)" for usual in self._ports]
        pattern = re.compile("|".join(known))

        def choose(found: re.Match[str]) -> str:
            word = found[0]
            return paths[word] if word in paths else str(self._ports[int(word)])

        return [pattern.sub(choose, word) for word in words]

    def _build_environment(self, name: str, paths: Mapping[str, str]) -> dict[str, str]:
        given = self.services[name].get("environment", {})
        programs = [Path(sys.executable).parent, find_postgres().directory]
        values = dict(zip(given, self._translate(given.values(), paths), strict=True))
        return {
            "PATH": os.pathsep.join([*map(str, programs), "/usr/bin", "/bin"]),
            "HOME": paths.get("/tmp", "/"),  # noqa: S108  # of the container
            "TMPDIR": paths.get("/tmp", "/"),  # noqa: S108
            "PYTHONUNBUFFERED": "1",
            "LC_ALL": "C.UTF-8",
            **values,
        }

    def _choose_directory(
        self, name: str, paths: Mapping[str, str], folder: Path
    ) -> str:
        if name == "postgres":
            return "/"
        inside = self.services[name].get("working_dir", "/actions")
        return paths.get(inside, str(folder))

    def _prepare(
        self, name: str, environment: Mapping[str, str], paths: Mapping[str, str]
    ) -> list[str]:
        """Return what to start, once the image's own set-up is done."""
        command = self._translate(self.services[name].get("command", ()), paths)
        if name == "postgres":
            port = self._ports[_PORTS[name]]
            return set_up(self._postgres, command, environment, paths, port)
        if name == "redis":
            starting, server, *options = command
            assert server == "redis-server"
            return [starting, str(find_valkey()), *options, "--bind", "127.0.0.1"]
        return [*self._find_entrypoint(), *command]

    def _find_entrypoint(self) -> list[str]:
        text = (ROOT / "Dockerfile").read_text("utf-8")
        (program,) = json.loads(re.findall(r"^ENTRYPOINT (.+)$", text, re.M)[-1])
        return [str(Path(sys.executable).with_name(program))]


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def list_lines(containers: Containers) -> Iterator[str]:
    """Yield what all that runs has said, for the message of a failure."""
    for group in containers.running.values():
        for container in group:
            yield container.tell()
