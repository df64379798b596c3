"""The lock files through which processes agree about one server.

Each server has a folder with four of them, all `flock`s, which the kernel takes
back from a process however it ends:

    start.lock    one process at a time decides whether to start the server
    users.lock    shared by everyone who uses it; the keeper waits to have it alone
    keeper.lock   held from before its birth by the keeper
    server.lock   held by the keeper and inherited by the server and all its
                  children, so that it is free only when nothing of them is left

A lock belongs to an open file, not to a process: a copy handed to a child is the
same lock. That is why a keeper holds its lock before its first instruction runs.
This module must not know what a server is.
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import LocalStackError

_PAUSE_SECONDS = 0.01


@dataclass(frozen=True)
class Folder:
    """Where the files of one server lie; the keeper knows two of the names too."""

    path: Path

    @property
    def start_lock(self) -> Path:
        return self.path / "start.lock"

    @property
    def users_lock(self) -> Path:
        return self.path / "users.lock"

    @property
    def keeper_lock(self) -> Path:
        return self.path / "keeper.lock"

    @property
    def server_lock(self) -> Path:
        return self.path / "server.lock"

    @property
    def status(self) -> Path:
        return self.path / "status.json"

    @property
    def log(self) -> Path:
        return self.path / "server.log"


def attempts(timeout_seconds: float) -> Iterator[None]:
    """Yield at once and then again and again until the time is over."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        yield
        if time.monotonic() >= deadline:
            return
        time.sleep(_PAUSE_SECONDS)


def try_exclusive(path: Path) -> int | None:
    """Take the lock alone and return its descriptor, or None when it is taken."""
    return _try(path, fcntl.LOCK_EX)


def wait_exclusive(path: Path, *, timeout_seconds: float, holder: str) -> int:
    """Take the lock alone; `holder` names in the error who has not let go of it."""
    return _wait(path, fcntl.LOCK_EX, timeout_seconds, holder)


def wait_shared(path: Path, *, timeout_seconds: float, holder: str) -> int:
    """Take the lock together with others; `holder` is as in `wait_exclusive`."""
    return _wait(path, fcntl.LOCK_SH, timeout_seconds, holder)


@contextmanager
def exclusive(path: Path, *, timeout_seconds: float, holder: str) -> Iterator[None]:
    """Have the lock alone for the length of a block."""
    descriptor = wait_exclusive(path, timeout_seconds=timeout_seconds, holder=holder)
    try:
        yield
    finally:
        os.close(descriptor)


def _wait(path: Path, mode: int, timeout_seconds: float, holder: str) -> int:
    for _ in attempts(timeout_seconds):
        descriptor = _try(path, mode)
        if descriptor is not None:
            return descriptor
    raise LocalStackError(
        f"{holder} has held {path} for more than {timeout_seconds:g} seconds. "
        f"Find it with `fuser {path}`, end it and start again."
    )


def _try(path: Path, mode: int) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return None
        raise LocalStackError(
            f"{path} cannot be locked ({error.strerror}). "
            "Set PLANS_HOME to a directory on a local disk."
        ) from error
    return descriptor
