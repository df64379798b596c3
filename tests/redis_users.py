"""A Valkey or Redis with the users of `deploy/redis`, started as containers do."""

import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from execution.local.binaries import find_valkey
from tests.polling import wait_until
from tests.worker_process import ROOT

START = ROOT / "deploy" / "redis" / "start.sh"
USERS = ("worker", "producer", "operator", "reader", "flower", "health")


@dataclass(frozen=True)
class GuardedRedis:
    """A server that nobody enters without a password."""

    socket: Path
    port: int
    passwords: Path
    pid: int

    def url_of(self, user: str, host: str = "127.0.0.1", scheme: str = "redis") -> str:
        """Return the URL by which one of the users reaches the server."""
        password = (self.passwords / f"redis_{user}_password").read_text().strip()
        return f"{scheme}://plans_{user}:{password}@{host}:{self.port}/0"

    def connect(self, user: str) -> redis.Redis:
        """Return a client over the server's unix socket."""
        password = (self.passwords / f"redis_{user}_password").read_text().strip()
        return redis.Redis(
            unix_socket_path=str(self.socket),
            username=f"plans_{user}",
            password=password,
        )


@contextmanager
def guarded_redis(
    folder: Path, queues: Sequence[str], options: Sequence[str] = ()
) -> Iterator[GuardedRedis]:
    """Run a server with a password for each user until the block ends."""
    passwords = folder / "passwords"
    passwords.mkdir(parents=True)
    for user in USERS:
        (passwords / f"redis_{user}_password").write_text(f"canary-{user}\n")
    place, port = folder / "redis.sock", find_free_port()
    command = ["/bin/sh", START, find_valkey(), "--unixsocket", place, "--save", ""]
    command += ["--dir", folder, *(options or ("--port", str(port)))]
    with (folder / "redis.log").open("wb") as log:
        server = subprocess.Popen(
            [part if isinstance(part, str) else str(part) for part in command],
            env={
                "PATH": os.environ["PATH"],
                "PLANS_PASSWORDS": str(passwords),
                "PLANS_QUEUES": " ".join(queues),
                "PLANS_ACL": str(folder / "users.acl"),
            },
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        made = GuardedRedis(place, port, passwords, server.pid)
        wait_until(lambda: _answers(made), what="the server")
        yield made
    finally:
        server.terminate()
        server.wait(60)


def find_free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(server: GuardedRedis) -> bool:
    try:
        return bool(server.connect("health").ping())
    except redis.ConnectionError:
        return False
