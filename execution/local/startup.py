"""Holding one server: use what runs, else start it, one process at a time.

    start.lock taken ── users.lock shared ── look ──► USE    a keeper's server answers
                                              ▲  ├──► START  nothing of it is left
                                              │  └──► WAIT   it comes up, or goes away
                                              └───────┘

Whoever shares the users' lock keeps the server alive, and gets that lock only
when no keeper is ending it. So what is looked at cannot be stopped in between.
It promises that at most one server runs on a folder, whoever gets killed
whenever. It must not know the servers beyond the protocol below.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Protocol

from ..errors import LocalStackError
from . import keeper
from .keeper import Orders, Status
from .locks import (
    Folder,
    attempts,
    exclusive,
    try_exclusive,
    wait_shared,
)

_READY_SECONDS = 60
_STOP_SECONDS = 60
_OTHERS_START_SECONDS = _READY_SECONDS + _STOP_SECONDS
_LOG_TAIL_BYTES = 2000
# A server dies with its keeper only where the kernel signals it.
_OUTLIVES_KEEPER = sys.platform != "linux"
# The search path and the libraries' are those under which we found the programs.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class Server(Protocol):
    """What is particular to one kind of server."""

    @property
    def name(self) -> str:
        """How people call it."""

    def orders(self, folder: Folder) -> Orders:
        """Make the place ready for a fresh start; nothing of an earlier one runs."""

    def is_ready(self, status: Status) -> bool:
        """Say whether it can be used; raise when it never will."""


@dataclass(frozen=True)
class Hold:
    """A share in a server, which runs at least until `users_lock` is closed."""

    users_lock: int
    status: Status
    adopted: bool


class Move(Enum):
    USE = auto()
    START = auto()
    WAIT = auto()


@dataclass(frozen=True)
class _Free:
    """The locks of keeper and server, taken; None where somebody has them."""

    keeper_lock: int | None
    server_lock: int | None

    @property
    def everything(self) -> bool:
        return self.keeper_lock is not None and self.server_lock is not None


def hold(server: Server, folder: Folder) -> Hold:
    """Share the server of this folder, starting it when it does not run."""
    with (
        exclusive(
            folder.start_lock,
            timeout_seconds=_OTHERS_START_SECONDS,
            holder=f"Another process that starts {server.name}",
        ),
        ExitStack() as undo,
    ):
        users_lock = wait_shared(
            folder.users_lock,
            timeout_seconds=_STOP_SECONDS,
            holder=f"{server.name}, which is stopping,",
        )
        undo.callback(os.close, users_lock)
        status, adopted = _use_or_start(server, folder)
        undo.pop_all()
    return Hold(users_lock, status, adopted)


def decide(
    *, keeper_lives: bool, server_lives: bool, ready: bool, outlives_keeper: bool
) -> Move:
    """Say what to do about what was found; the whole policy of this module."""
    if keeper_lives:
        return Move.USE if ready else Move.WAIT
    if server_lives:
        # Where it follows its keeper it may answer for a moment longer.
        return Move.USE if ready and outlives_keeper else Move.WAIT
    return Move.START


def _use_or_start(server: Server, folder: Folder) -> tuple[Status, bool]:
    spawned = False
    for _ in attempts(_READY_SECONDS):
        with _free_locks(folder) as free:
            status = None if free.everything else Status.read(folder.status)
            move = decide(
                keeper_lives=free.keeper_lock is None,
                server_lives=free.server_lock is None,
                ready=status is not None and server.is_ready(status),
                outlives_keeper=_OUTLIVES_KEEPER,
            )
            if move is Move.USE and status is not None:
                return status, not spawned
            if move is Move.START and spawned:
                raise LocalStackError(f"{server.name} ended at once. {_tail(folder)}")
            if move is Move.START:
                _spawn_keeper(server, folder, free)
                spawned = True
    raise LocalStackError(
        f"{server.name} was not ready after {_READY_SECONDS} seconds. {_tail(folder)}"
    )


@contextmanager
def _free_locks(folder: Folder) -> Iterator[_Free]:
    with ExitStack() as taken:
        locks: list[int | None] = []
        for path in (folder.keeper_lock, folder.server_lock):
            lock = try_exclusive(path)
            locks.append(lock)
            if lock is not None:
                taken.callback(os.close, lock)
        yield _Free(*locks)


def _spawn_keeper(server: Server, folder: Folder, free: _Free) -> None:
    if free.keeper_lock is None or free.server_lock is None:
        raise ValueError("a keeper is born with both locks")
    orders = replace(server.orders(folder), server_lock=free.server_lock)
    # What an earlier keeper left must not be taken for what this one writes.
    folder.status.unlink(missing_ok=True)
    if folder.log.exists():
        folder.log.replace(folder.log.with_suffix(".old.log"))
    try:
        with folder.log.open("wb") as log:
            subprocess.run(  # noqa: S603  our own program, with our own orders
                # Isolated, so that nothing of the caller's settings, directory
                # or site-packages reaches it.
                [sys.executable, "-I", "-S", keeper.__file__, orders.to_json()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={k: os.environ[k] for k in _ENVIRONMENT if k in os.environ}
                | {"LC_ALL": "C"},
                start_new_session=True,  # out of reach of the terminal's Ctrl-C
                pass_fds=(free.keeper_lock, free.server_lock),
                check=True,
            )
    except (OSError, subprocess.CalledProcessError) as error:
        raise LocalStackError(
            f"The keeper of {server.name} could not start. {_tail(folder)}"
        ) from error


def _tail(folder: Folder) -> str:
    try:
        log = folder.log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
    except FileNotFoundError:
        log = ""
    return f"Correct what its log names and start again. {folder.log} ends:\n{log}"
