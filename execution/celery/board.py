"""A small shared file in which a worker's processes show what they hold.

The main process writes the worker's id; each process or thread that runs steps
writes, in a slot of its own, its pid and the lease token that it is about to claim
with. The main process reads the slots at every beat, and tells the others by one byte
when the worker is to stop, and by entries in a slot which step is not wanted any more,
and which attempt is to end now. It is a named file, made before the pool, because
anonymous memory does not reach a child that was spawned.

A process that goes from one step to the next shows both tokens meanwhile, since
nobody knows on which side of the change PostgreSQL is.

Layout: the worker's id (16 bytes), whether it stops (1), whether its tasks are watched
(1), six bytes unused, a byte for each slot that says whether it was ever used (so that
nobody reads the thousands that were not), then slots of pid (8), token (16), the token
before it (16), the token (16) and number (8) of the attempt that is asked to end, the
token that is not wanted (16), since when its code runs (8; see `begin`), and whether
that looks by itself whether it is asked (8).
"""

import fcntl
import mmap
import os
import struct
import tempfile
import threading
import time
import uuid
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from billiard import current_process

BOARD_VARIABLE = "PLANS_WORKER_BOARD"
_ID_BYTES = 16
_STOPPING_AT = 16
_WATCHED_AT = 17
_USED_AT = 24
_SLOT = struct.Struct("<q16s16s16sq16sqq")
_HELD = struct.Struct("<q16s16s")
_ASKED = struct.Struct("<16sq")
_ASKED_AT = _HELD.size
_TOLD_AT = _ASKED_AT + _ASKED.size
_NUMBER = struct.Struct("<q")
_BEGUN_AT = _TOLD_AT + 16
_HEEDS_AT = _BEGUN_AT + _NUMBER.size
_NOT_BEGUN = -1
_MOST_SLOTS = 4096
_SLOTS_AT = _USED_AT + _MOST_SLOTS
_EMPTY = bytes(16)
_FILE_PREFIX = "celery-plans-worker-"
_YOUNG_SECONDS = 60.0


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
        self._descriptor: int | None = None

    @classmethod
    def create(cls) -> "WorkerBoard":
        """Make a new file and name it in the environment, for the children."""
        _remove_abandoned_files()
        descriptor, name = tempfile.mkstemp(prefix=_FILE_PREFIX)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.ftruncate(descriptor, _SLOTS_AT + _MOST_SLOTS * _SLOT.size)
        os.environ[BOARD_VARIABLE] = name
        board = cls(Path(name))
        # the kernel keeps the lock until this process and its children have ended
        board._descriptor = descriptor  # its own class
        return board

    @classmethod
    def open(cls) -> "WorkerBoard":
        """Map the file that the parent of this process has made."""
        return cls(Path(os.environ[BOARD_VARIABLE]))

    def remove(self) -> None:
        """Delete the file; processes that mapped it keep their mapping."""
        self.path.unlink(missing_ok=True)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def worker_id(self) -> str:
        """The worker's id; it changes when the worker had to register anew."""
        return str(uuid.UUID(bytes=self._memory[:_ID_BYTES]))

    @worker_id.setter
    def worker_id(self, value: str) -> None:
        self._memory[:_ID_BYTES] = uuid.UUID(value).bytes

    def is_stopping(self) -> bool:
        """Say whether the worker was told to stop: children get no signal of that."""
        return self._memory[_STOPPING_AT] != 0

    def stop(self) -> None:
        """Tell every process of the worker that it stops; safe in a signal handler."""
        self._memory[_STOPPING_AT] = 1

    @property
    def is_watched(self) -> bool:
        """Whether somebody watches the events of the worker's tasks."""
        return self._memory[_WATCHED_AT] != 0

    @is_watched.setter
    def is_watched(self, value: bool) -> None:
        self._memory[_WATCHED_AT] = value

    def expose(self, token: str) -> None:
        """Show that this thread holds `token`, and still what it showed last."""
        offset = self._find_offset()
        pid, shown, _ = _HELD.unpack_from(self._memory, offset)
        # what a killed child left in this slot must not look held by its replacement
        earlier = shown if pid == os.getpid() else _EMPTY
        self._write(offset, uuid.UUID(token).bytes, earlier)

    def settle(self) -> None:
        """Show that this thread holds only what it exposed last."""
        offset = self._find_offset()
        _, shown, _ = _HELD.unpack_from(self._memory, offset)
        self._write(offset, shown, _EMPTY)

    def withdraw(self) -> None:
        """Show that this thread holds nothing."""
        self._write(self._find_offset(), _EMPTY, _EMPTY)

    def ask(self, token: str, attempt: int) -> None:
        """Ask whoever shows `token` to end that attempt of it."""
        wanted = uuid.UUID(token).bytes
        for offset, (_, *shown) in self._slots():
            if wanted in shown:
                _ASKED.pack_into(self._memory, offset + _ASKED_AT, wanted, attempt)

    def is_asked(self, token: str, attempt: int) -> bool:
        """Say whether this thread is asked to end that attempt of `token`."""
        asked = _ASKED.unpack_from(self._memory, self._find_offset() + _ASKED_AT)
        return bool(asked == (uuid.UUID(token).bytes, attempt))

    def tell(self, token: str) -> None:
        """Tell whoever shows `token` that nobody wants its step any more."""
        wanted = uuid.UUID(token).bytes
        for offset, (_, *shown) in self._slots():
            if wanted in shown:
                self._memory[offset + _TOLD_AT : offset + _BEGUN_AT] = wanted

    def listen(self, token: str) -> "BoardCalls":
        """Return what is called out to this thread, which holds `token`."""
        return BoardCalls(self._memory, self._find_offset(), token)

    def begin(self, moment: int) -> None:
        """Show that the code of this thread's step begins, unless it has before.

        At `moment`, as `processes` counts; 0 where the process has no others below it.
        """
        at = self._find_offset() + _BEGUN_AT
        if _NUMBER.unpack_from(self._memory, at) == (_NOT_BEGUN,):
            _NUMBER.pack_into(self._memory, at, moment)

    def find_begin(self, token: str) -> int | None:
        """Return when the code that runs under `token` began, None before it has."""
        wanted = uuid.UUID(token).bytes
        for offset, (_, shown, _) in self._slots():
            if shown == wanted:
                (begun,) = _NUMBER.unpack_from(self._memory, offset + _BEGUN_AT)
                return None if begun == _NOT_BEGUN else int(begun)
        return None

    def is_heeded(self, token: str) -> bool:
        """Say whether who shows `token` looks by itself whether it is asked to end."""
        wanted = uuid.UUID(token).bytes
        return any(
            shown == wanted
            and _NUMBER.unpack_from(self._memory, offset + _HEEDS_AT) != (0,)
            for offset, (_, shown, _) in self._slots()
        )

    def find_tokens(self, pids: Collection[int]) -> tuple[str, ...]:
        """Return the tokens that the processes `pids` show."""
        return tuple(
            str(uuid.UUID(bytes=token))
            for _, (pid, *shown) in self._slots()
            for token in shown
            if token != _EMPTY and pid in pids
        )

    def find_pid(self, token: str) -> int | None:
        """Return the process that shows `token` at this moment."""
        wanted = uuid.UUID(token).bytes
        return next(
            (pid for _, (pid, *shown) in self._slots() if wanted in shown), None
        )

    def _slots(self) -> Iterator[tuple[int, tuple[int, bytes, bytes]]]:
        """Yield each slot that was ever used: where it lies, and what it shows."""
        used = self._memory[_USED_AT:_SLOTS_AT]
        index = used.find(1)
        while index >= 0:
            offset = _SLOTS_AT + index * _SLOT.size
            yield offset, _HELD.unpack_from(self._memory, offset)
            index = used.find(1, index + 1)

    def _write(self, offset: int, token: bytes, earlier: bytes) -> None:
        _SLOT.pack_into(
            self._memory,
            offset,
            os.getpid(),
            token,
            earlier,
            _EMPTY,
            0,
            _EMPTY,
            _NOT_BEGUN,
            0,
        )

    def _find_offset(self) -> int:
        return _SLOTS_AT + self._find_slot() * _SLOT.size

    def _find_slot(self) -> int:
        if self._pid != os.getpid():
            # a forked child begins with the parent's view of its threads
            self._local, self._pid = threading.local(), os.getpid()
        slot: int | None = getattr(self._local, "slot", None)
        if slot is None:
            slot = self._local.slot = self._choose_slot() % _MOST_SLOTS
            self._memory[_USED_AT + slot] = 1
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


class BoardCalls:
    """What is called out to one thread, for one token; any thread may look."""

    def __init__(self, memory: mmap.mmap, offset: int, token: str) -> None:
        self._memory = memory
        self._offset = offset
        self._token = uuid.UUID(token).bytes

    def is_told(self) -> bool:
        """Say whether nobody wants the step's work any more."""
        at = self._offset
        return self._memory[at + _TOLD_AT : at + _BEGUN_AT] == self._token

    def heed(self, attempt: int) -> bool:
        """Say whether that attempt is asked to end; show that it hears of that."""
        _NUMBER.pack_into(self._memory, self._offset + _HEEDS_AT, 1)
        asked = _ASKED.unpack_from(self._memory, self._offset + _ASKED_AT)
        return bool(asked == (self._token, attempt))


def _remove_abandoned_files() -> None:
    """Remove what workers left that were killed: nobody else would.

    By their locks, not by pids: containers may share the directory, and no pids.
    """
    for path in Path(tempfile.gettempdir()).glob(f"{_FILE_PREFIX}*"):
        with suppress(OSError):
            _remove_if_abandoned(path)


def _remove_if_abandoned(path: Path) -> None:
    if time.time() - path.stat().st_mtime < _YOUNG_SECONDS:
        # its worker may not have locked it yet
        return
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
