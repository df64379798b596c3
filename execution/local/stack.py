"""The local stack as callers see it: start, URLs, close.

`LocalStack.start` starts the servers or shares those that run already, and
returns when they can be used. They run at least until `close`, or until this
process ends in whatever way, and stop soon after when nobody else holds them.
When a server dies on its own, the next `start` brings it back with its data.
This module must not know how any of that is brought about.
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import LocalStackError
from .keeper import Status
from .locks import Folder
from .places import open_home, private_directory
from .postgres import DATABASE, ROLE, Postgres
from .startup import Hold, Server, hold
from .valkey import Valkey


@dataclass(frozen=True)
class StackUrls:
    """Where the servers are; None for one that was not asked for."""

    database_url: str | None
    redis_url: str | None
    broker_url: str | None


@dataclass(frozen=True)
class RunningServer:
    """A server as it was found or started; `adopted` when others had started it.

    `data` need not lie below the home: for root PostgreSQL's is elsewhere.
    """

    adopted: bool
    server_pid: int
    keeper_pid: int
    socket: Path
    data: Path
    log: Path


class LocalStack:
    """This process's share in the servers of one home; a context manager.

    A process forked from this one shares the share: the servers run until both
    have closed it or ended.
    """

    def __init__(
        self,
        *,
        postgres: RunningServer | None,
        valkey: RunningServer | None,
        shares: ExitStack,
        locks: Sequence[int] = (),
    ) -> None:
        self.postgres = postgres
        self.valkey = valkey
        self.urls = _urls(postgres=postgres, valkey=valkey)
        self._shares = shares
        self._locks = locks

    @classmethod
    def start(cls, home: Path, *, postgres: bool = True, valkey: bool = True) -> Self:
        """Start or share the servers and return when they can be used."""
        place = open_home(home)
        locks: list[int] = []
        with ExitStack() as shares:
            shares.callback(_close_all, locks)
            return cls(
                postgres=_share(Postgres(), place / "postgres", locks)
                if postgres
                else None,
                valkey=_share(Valkey(), place / "valkey", locks) if valkey else None,
                shares=shares.pop_all(),
                locks=locks,
            )

    def keep_across_exec(self) -> None:
        """Leave this share to the program that this process becomes by `exec`."""
        for lock in self._locks:
            os.set_inheritable(lock, True)

    def close(self) -> None:
        """Give up this share; without waiting for the servers to stop."""
        self._shares.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def find_database_url(home: Path) -> str | None:
    """Return the URL of the PostgreSQL that was last started in a home, if one was.

    Nothing is started or held: it may have stopped, and may stop at any time.
    """
    status = Status.read(Folder(home.resolve() / "postgres").status)
    return None if status is None else _database_url(Path(status.socket))


def _share(server: Server, path: Path, locks: list[int]) -> RunningServer:
    try:
        folder = Folder(private_directory(path))
        held = hold(server, folder)
    except OSError as error:
        raise LocalStackError(
            f"{server.name} cannot be started in {path} ({error}). "
            "Put that right, or set PLANS_HOME to another directory."
        ) from error
    locks.append(held.users_lock)
    return _running(held, folder)


def _close_all(locks: Sequence[int]) -> None:
    # Closed, not unlocked: unlocking would also take it from a forked process.
    for lock in locks:
        os.close(lock)


def _running(held: Hold, folder: Folder) -> RunningServer:
    return RunningServer(
        adopted=held.adopted,
        server_pid=held.status.server_pid,
        keeper_pid=held.status.keeper_pid,
        socket=Path(held.status.socket),
        data=Path(held.status.data),
        log=folder.log,
    )


def _urls(*, postgres: RunningServer | None, valkey: RunningServer | None) -> StackUrls:
    return StackUrls(
        database_url=None if postgres is None else _database_url(postgres.socket),
        redis_url=None if valkey is None else f"unix://{valkey.socket}",
        broker_url=None
        if valkey is None
        else f"redis+socket://{valkey.socket}?virtual_host=0",
    )


def _database_url(socket: Path) -> str:
    # Nothing here needs quoting: socket paths hold plain characters only.
    return f"postgresql+psycopg2://{ROLE}@/{DATABASE}?host={socket.parent}"
