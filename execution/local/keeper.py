"""The small process beside each server, which ends it when nobody uses it.

Run by file path as `python -I -S keeper.py ORDERS`, so it may import nothing but
the standard library: the caller's directory may hold another package called
`execution`. It promises that

- the server never outlives it (Linux: the kernel signals the server),
- the server is stopped cleanly once the users' lock is free, be it that the last
  user closed, exited or was killed,
- it holds that lock until it has exited, so that a newcomer waits for the end
  and then starts afresh instead of using a server that is about to stop,
- it exits when the server does.

It must not know which server it keeps: everything particular is in its orders.
"""

import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
_STOP_SECONDS = 30
_LAST_USER_LEFT = b"\0"
_STOP_REQUESTS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Orders:
    """Everything a keeper has to know.

    `prepare` runs before the server when it is not empty, and makes `prepared`,
    which is then renamed to `data`: a half-made directory never has that name.
    `uid` and `gid` are None when the server runs as the keeper does.
    """

    folder: str
    socket: str
    data: str
    serve: Sequence[str]
    stop_signal: int
    kill_signal: int
    prepare: Sequence[str] = ()
    prepared: str = ""
    uid: int | None = None
    gid: int | None = None
    new_user_namespace: bool = False
    server_lock: int = -1

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Orders":
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Status:
    """What a keeper tells those who come later; true while its lock is held."""

    keeper_pid: int
    server_pid: int
    socket: str
    data: str

    def write(self, path: Path) -> None:
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps(asdict(self)))
        unfinished.replace(path)

    @classmethod
    def read(cls, path: Path) -> "Status | None":
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            return None


def main(orders: Orders) -> int:
    """Prepare, serve and stop; the answer is the exit code of the process."""
    _detach()
    if orders.prepare and not _prepare(orders):
        return 1
    server = _spawn(orders.serve, orders, death_signal=orders.stop_signal)
    folder = Path(orders.folder)
    Status(os.getpid(), server.pid, orders.socket, orders.data).write(
        folder / "status.json"
    )
    return _keep(server, orders, users_lock=folder / "users.lock")


def _detach() -> None:
    # Had the caller this process as its child, a caller that waits for all of
    # its children would wait for the server, and a dead keeper would stay a
    # zombie for as long as the caller lives.
    if os.fork():
        os._exit(0)
    # What a caller blocks or ignores, as under `nohup`, is handed on. A server
    # would not hear a stop that comes before it has set up its own handlers, and
    # where SIGCHLD is ignored every child seems to have ended well.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o077)


def _prepare(orders: Orders) -> bool:
    preparation = _spawn(orders.prepare, orders, death_signal=signal.SIGKILL)
    if preparation.wait() != 0:
        return False
    Path(orders.prepared).rename(orders.data)
    return True


def _spawn(
    command: Sequence[str], orders: Orders, *, death_signal: int
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603  the orders come from this package
        command,
        stdin=subprocess.DEVNULL,
        pass_fds=(orders.server_lock,),
        user=orders.uid,
        group=orders.gid,
        extra_groups=None if orders.uid is None else [],
        preexec_fn=_tie_to_this_process(
            death_signal, new_user_namespace=orders.new_user_namespace
        ),
    )


def _tie_to_this_process(
    death_signal: int, *, new_user_namespace: bool
) -> Callable[[], None]:
    keeper_pid = os.getpid()
    system = ctypes.CDLL(None, use_errno=True)

    def tie() -> None:
        if new_user_namespace and system.unshare(_CLONE_NEWUSER) != 0:
            os.write(2, b"PostgreSQL refuses root, and no other user is at hand\n")
            os._exit(1)
        if sys.platform == "linux":
            # After every change of user: each of them clears this setting.
            system.prctl(_PR_SET_PDEATHSIG, death_signal)
            # A keeper killed before that line has sent no signal.
            if os.getppid() != keeper_pid:
                os._exit(1)

    return tie


def _keep(
    server: "subprocess.Popen[bytes]", orders: Orders, *, users_lock: Path
) -> int:
    wakeups, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, *_STOP_REQUESTS):
        signal.signal(number, lambda *_: None)
    threading.Thread(
        target=_wait_for_last_user, args=(users_lock, wake), daemon=True
    ).start()
    while server.poll() is None:
        if set(os.read(wakeups, 64)) - {signal.SIGCHLD}:
            _stop(server, orders)
    return server.returncode


def _wait_for_last_user(users_lock: Path, wake: int) -> None:
    # Left open on purpose: closing it would let newcomers in before the end.
    descriptor = os.open(users_lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.write(wake, _LAST_USER_LEFT)


def _stop(server: "subprocess.Popen[bytes]", orders: Orders) -> None:
    server.send_signal(orders.stop_signal)
    try:
        server.wait(timeout=_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.send_signal(orders.kill_signal)
        server.wait()


if __name__ == "__main__":
    sys.exit(main(Orders.from_json(sys.argv[1])))
