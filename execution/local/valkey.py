"""What is particular to Valkey, or to a Redis in its place.

It promises that every write is in a file that survives the process, and that no
message is thrown away for want of memory. It must not know when to start or stop.
"""

import signal
from dataclasses import dataclass
from pathlib import Path

from .binaries import find_valkey
from .keeper import Orders, Status
from .locks import Folder
from .places import private_directory, socket_path
from .wire import ping


@dataclass(frozen=True)
class Valkey:
    """Runs as the calling user; it has no objection to root."""

    name: str = "Valkey"

    def orders(self, folder: Folder) -> Orders:
        data = private_directory(folder.path / "data")
        socket = socket_path(folder.path / "valkey.sock")
        return Orders(
            folder=str(folder.path),
            socket=str(socket),
            data=str(data),
            serve=_command(find_valkey(), data=data, socket=socket),
            stop_signal=signal.SIGTERM,
            kill_signal=signal.SIGKILL,
        )

    def is_ready(self, status: Status) -> bool:
        return ping(Path(status.socket))


def _command(program: Path, *, data: Path, socket: Path) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(data),
        "appendonly": "yes",
        # The file above holds everything; a second one at every stop is waste,
        # and a stop is refused when it cannot be written.
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "logfile": "",
    }
    arguments = [
        part for name, value in options.items() for part in (f"--{name}", value)
    ]
    return [str(program), *arguments]
