"""Flower for `plans up`: how it is started, and the login to it.

Promises: it listens on the loopback alone, asks for a password that is new each time
and stands in no list of processes, and reads no settings of its own from the
environment or the working directory.
"""

import secrets
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from ..variables import SECRET_PREFIX
from .children import Program
from .exits import UsageError

_ADDRESS = "127.0.0.1"
_USUAL_PORT = 5555


@dataclass(frozen=True)
class FlowerLogin:
    """Where Flower is, and who may look at it."""

    url: str
    user: str
    password: str = field(repr=False)


def is_installed() -> bool:
    """Say whether Flower can be started."""
    return find_spec("flower") is not None


def choose_port(wanted: int | None) -> int:
    """Return a free port: the one that is wanted, else the usual one or any.

    Raises UsageError when the one that is wanted is taken.
    """
    for port in (wanted,) if wanted else (_USUAL_PORT, 0):
        try:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((_ADDRESS, port))
                chosen: int = probe.getsockname()[1]
                return chosen
        except OSError as error:
            cause = error
    raise UsageError(f"port {wanted or _USUAL_PORT} cannot be used: {cause.strerror}")


def build_flower(
    port: int, environment: Mapping[str, str], log: Path
) -> tuple[Program, FlowerLogin]:
    """Return how to start Flower on `port`, and the login that it will ask for."""
    login = FlowerLogin(f"http://{_ADDRESS}:{port}", "plans", secrets.token_urlsafe(18))
    program = Program(
        name="Flower",
        # -P, and this name: the working directory may hold an `execution` of its own
        command=(
            *(sys.executable, "-P", "-m", "celery_plans.cli", "flower"),
            *(f"--address={_ADDRESS}", f"--port={port}"),
        ),
        environment={
            # secrets are for workers
            **{n: v for n, v in environment.items() if not n.startswith(SECRET_PREFIX)},
            "FLOWER_BASIC_AUTH": f"{login.user}:{login.password}",
        },
        log=log,
    )
    return program, login
