"""What is particular to PostgreSQL.

It promises a data directory that is whole or not there at all, a server that
only its own user reaches, over a socket, and a database `plans` of the role
`plans` in it. It must not know when to start or stop.
"""

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ..errors import LocalStackError
from .binaries import PostgresPrograms, find_postgres
from .keeper import Orders, Status
from .locks import Folder
from .places import socket_path
from .superuser import Ground, ground
from .wire import PostgresAnswer, ask_postgres

ROLE = "plans"
DATABASE = "plans"
# The number in a socket's name; nothing listens on it.
_PORT = 5432
_SUCCESS = "00000"
_NO_SUCH_DATABASE = "3D000"
# It serves, only not us as well: a connection more than it may have.
_TOO_MANY_CONNECTIONS = "53300"
# It starts or stops, be it by itself or because somebody tells it to.
_COMES_OR_GOES = "57P"
_MADE_MEANWHILE = ("42P04", "23505")


@dataclass(frozen=True)
class Postgres:
    """Runs as the calling user, or as an account that root lends it."""

    name: str = "PostgreSQL"

    def orders(self, folder: Folder) -> Orders:
        programs = find_postgres()
        stand = ground(programs, folder.path)
        data = stand.directory / "data"
        unfinished = stand.directory / "data.part"
        socket = socket_path(stand.directory / f".s.PGSQL.{_PORT}")
        prepare: list[str] = []
        if data.exists():
            _refuse_other_major(data, programs)
            _clear_stale_locks(data, socket)
        else:
            shutil.rmtree(unfinished, ignore_errors=True)
            prepare = _initdb(stand, unfinished)
        return Orders(
            folder=str(folder.path),
            socket=str(socket),
            data=str(data),
            prepare=prepare,
            prepared=str(unfinished),
            serve=_command(stand, data=data, socket=socket),
            stop_signal=signal.SIGINT,
            kill_signal=signal.SIGQUIT,
            uid=None if stand.account is None else stand.account.uid,
            gid=None if stand.account is None else stand.account.gid,
            new_user_namespace=stand.new_user_namespace,
        )

    def is_ready(self, status: Status) -> bool:
        socket = Path(status.socket)
        answer = ask_postgres(socket, user=ROLE, database=DATABASE)
        if answer is None or answer.sqlstate.startswith(_COMES_OR_GOES):
            return False
        if answer.sqlstate == _NO_SUCH_DATABASE:
            _create_database(socket)
            return False
        if answer.sqlstate in (_SUCCESS, _TOO_MANY_CONNECTIONS):
            return True
        raise _refused(status.data, answer)


def _initdb(stand: Ground, directory: Path) -> list[str]:
    return [
        str(stand.programs / "initdb"),
        f"--pgdata={directory}",
        f"--username={ROLE}",
        "--auth-local=trust",
        "--auth-host=reject",
        "--encoding=UTF8",
        "--no-locale",
        "--no-instructions",
    ]


def _command(stand: Ground, *, data: Path, socket: Path) -> list[str]:
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(socket.parent),
        "unix_socket_permissions": "0700",
        "port": str(_PORT),
        "max_connections": "200",
    }
    options = [f"--{name}={value}" for name, value in settings.items()]
    return [str(stand.programs / "postgres"), "-D", str(data), *options]


def _refuse_other_major(data: Path, programs: PostgresPrograms) -> None:
    major = (data / "PG_VERSION").read_text().strip()
    if major != str(programs.major):
        raise LocalStackError(
            f"{data} was made by PostgreSQL {major}, and the one here is "
            f"{programs.major} ({programs.directory}). To keep what is in it, dump "
            f"it with the programs of PostgreSQL {major} and load that later. Then "
            "move the directory away; the next start makes a new one."
        )


def _clear_stale_locks(data: Path, socket: Path) -> None:
    pid_file = data / "postmaster.pid"
    pid = _pid_in(pid_file)
    if pid is not None and _is_server_of(pid, data):
        raise LocalStackError(
            f"A PostgreSQL that was not started from here runs on {data}. "
            f"Stop it with `kill -INT {pid}` and start again."
        )
    if pid is None or _is_alive(pid):
        # After a crash the number may belong to any other process by now, and the
        # file may be empty; PostgreSQL would not start with either. A number that
        # nobody has is left to it: it then also looks for surviving children.
        pid_file.unlink(missing_ok=True)
    for path in (socket, socket.with_name(f"{socket.name}.lock")):
        path.unlink(missing_ok=True)


def _pid_in(pid_file: Path) -> int | None:
    try:
        return abs(int(pid_file.read_text().split("\n", 1)[0]))
    except (FileNotFoundError, ValueError):
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_server_of(pid: int, data: Path) -> bool:
    if Path("/proc/self/cwd").exists():
        try:
            return Path(f"/proc/{pid}/cwd").samefile(data)
        except OSError:  # it has ended, or is another user's
            return False
    answer = subprocess.run(  # noqa: S603  a number, as an argument
        ["ps", "-o", "command=", "-p", str(pid)],  # noqa: S607  POSIX has it
        capture_output=True,
        text=True,
        check=False,
    )
    return str(data) in answer.stdout


def _create_database(socket: Path) -> None:
    answer = ask_postgres(
        socket, user=ROLE, database="postgres", statement=f"CREATE DATABASE {DATABASE}"
    )
    if answer is None or answer.sqlstate in (_SUCCESS, *_MADE_MEANWHILE):
        return
    raise _refused(str(socket), answer)


def _refused(what: str, answer: PostgresAnswer) -> LocalStackError:
    return LocalStackError(
        f"PostgreSQL on {what} runs but cannot be used ({answer.sqlstate}: "
        f"{answer.message}). Correct that in it, or move its data away to begin anew."
    )
