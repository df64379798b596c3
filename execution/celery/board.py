"""A small shared file in which a worker's processes show what they hold.

The main process writes the worker's id; each process or thread that runs steps
writes, in a slot of its own, its pid and the lease token that it is about to claim
with. The main process reads the slots at every beat. It is a named file, made before
the pool, because anonymous memory does not reach a child that was spawned.

Layout: the worker's id (16 bytes), then slots of pid (8) and token (16).
"""

import mmap
import os
import struct
import tempfile
import threading
import uuid
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from billiard import current_process

BOARD_VARIABLE = "PLANS_WORKER_BOARD"
_ID_BYTES = 16
_SLOT = struct.Struct("<q16s")
_MOST_SLOTS = 4096
_EMPTY = bytes(16)
_FILE_PREFIX = "celery-plans-worker-"


class WorkerBoard:
    """The shared file, mapped into this process."""

    def __init__(self, path: Path) -> None:
        """Map the file at `path`, which `create` has made."""
        self.path = path
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._next_thread_slot = 0
        self._pid = os.getpid()

    @classmethod
    def create(cls) -> "WorkerBoard":
        """Make a new file and name it in the environment, for the children."""
        _remove_abandoned_files()
        descriptor, name = tempfile.mkstemp(prefix=f"{_FILE_PREFIX}{os.getpid()}-")
        os.ftruncate(descriptor, _ID_BYTES + _MOST_SLOTS * _SLOT.size)
        os.close(descriptor)
        os.environ[BOARD_VARIABLE] = name
        return cls(Path(name))

    @classmethod
    def open(cls) -> "WorkerBoard":
        """Map the file that the parent of this process has made."""
        return cls(Path(os.environ[BOARD_VARIABLE]))

    def remove(self) -> None:
        """Delete the file; processes that mapped it keep their mapping."""
        self.path.unlink(missing_ok=True)

    @property
    def worker_id(self) -> str:
        """The worker's id; it changes when the worker had to register anew."""
        return str(uuid.UUID(bytes=self._memory[:_ID_BYTES]))

    @worker_id.setter
    def worker_id(self, value: str) -> None:
        self._memory[:_ID_BYTES] = uuid.UUID(value).bytes

    def expose(self, token: str) -> None:
        """Show that this thread holds `token`."""
        self._write(uuid.UUID(token).bytes)

    def withdraw(self) -> None:
        """Show that this thread holds nothing."""
        self._write(_EMPTY)

    def find_tokens(self, pids: Collection[int]) -> tuple[str, ...]:
        """Return the tokens that the processes `pids` show."""
        return tuple(
            str(uuid.UUID(bytes=token))
            for pid, token in self._slots()
            if token != _EMPTY and pid in pids
        )

    def find_pid(self, token: str) -> int | None:
        """Return the process that shows `token` at this moment."""
        wanted = uuid.UUID(token).bytes
        return next((pid for pid, shown in self._slots() if shown == wanted), None)

    def _slots(self) -> list[tuple[int, bytes]]:
        return list(_SLOT.iter_unpack(self._memory[_ID_BYTES:]))

    def _write(self, token: bytes) -> None:
        _SLOT.pack_into(
            self._memory, _ID_BYTES + self._find_slot() * _SLOT.size, os.getpid(), token
        )

    def _find_slot(self) -> int:
        if self._pid != os.getpid():
            # a forked child begins with the parent's view of its threads
            self._local, self._pid = threading.local(), os.getpid()
        slot: int | None = getattr(self._local, "slot", None)
        if slot is None:
            slot = self._local.slot = self._choose_slot() % _MOST_SLOTS
        return slot

    def _choose_slot(self) -> int:
        index: int | None = getattr(current_process(), "index", None)
        if index is not None:
            # a child of a prefork pool runs one step at a time; a replacement has the
            # index of the one it replaces, and so writes over what that one showed
            return index
        with self._lock:
            self._next_thread_slot += 1
            return self._next_thread_slot - 1


def _remove_abandoned_files() -> None:
    """Remove what workers left that were killed: nobody else would."""
    for path in Path(tempfile.gettempdir()).glob(f"{_FILE_PREFIX}*"):
        owner = path.name.removeprefix(_FILE_PREFIX).partition("-")[0]
        if owner.isdecimal() and not _is_running(int(owner)):
            with suppress(OSError):
                path.unlink()


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        # somebody else's, and so not ours to judge
        return True
    return True
