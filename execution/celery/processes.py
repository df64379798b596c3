"""Ends the processes that a step has started, wherever they went, and no others.

A process that left its parent, as a daemon does, belongs to the next of its ancestors
that adopts such: whoever runs steps does (`Strays`). Each is known by its pid and by
the moment of its start, and is signalled through a handle to it: a pid that was given
to a stranger meanwhile is never hit.

It works where there is `/proc`, on Linux; elsewhere nothing is found. It must not know
what a step is.
"""

import ctypes
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

_PROCESSES = Path("/proc")
_SET_CHILD_SUBREAPER = 36
_MOST_ROUNDS = 50
_STRAY_SECONDS = 30.0
_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
_IS_LINUX = hasattr(os, "pidfd_open") and hasattr(signal, "pidfd_send_signal")


@dataclass(frozen=True)
class Descendant:
    """A process below another, and when it started, in ticks since the boot."""

    pid: int
    started: int


class Strays:
    """The processes below this one, which runs the code of steps."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Adopt from now on what leaves its parent and would be init's."""
        self._now = now
        self._ended: dict[int, float] = {}
        if _IS_LINUX:
            ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def mark(self) -> int:
        """Return what tells later processes from those that are there; 0 for none.

        Most steps have none around them, and that is seen at once.
        """
        if not _IS_LINUX:
            return 0
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return 0
        if ended is not None:
            self._bury()
        newest = max(_list_starts_of_children(), default=0)
        while newest >= count_ticks():
            # one that starts now would count as old
            time.sleep(_TICK_SECONDS / 10)
        return newest

    def _bury(self) -> None:
        # nobody waits for daemons that were adopted. What the code has started itself
        # it waits for soon, or else never
        now = self._now()
        self._ended = {
            pid: self._ended.get(pid, now)
            for pid in _list_children()
            if _has_ended(_PROCESSES / str(pid) / "stat")
        }
        for pid, since in self._ended.items():
            if now > since + _STRAY_SECONDS:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)


def has_ended(pid: int) -> bool:
    """Say whether a process has ended, though its parent has not heard of it yet."""
    return _has_ended(_PROCESSES / str(pid) / "stat")


def count_ticks() -> int:
    """Return this moment, as starts of processes are counted."""
    seconds = time.clock_gettime(time.CLOCK_BOOTTIME)
    return int(seconds / _TICK_SECONDS)


def _list_children() -> Iterator[int]:
    for path in _PROCESSES.glob("self/task/*/children"):
        # the thread may have ended meanwhile
        with suppress(OSError):
            yield from map(int, path.read_text().split())


def _list_starts_of_children() -> Iterator[int]:
    for pid in _list_children():
        if (read := _read(_PROCESSES / str(pid) / "stat")) is not None:
            yield read[1].started


def kill_descendants(pid: int, mark: int) -> int:
    """Kill all processes below `pid` that started after `mark`; return how many.

    What an older one has started is its own. All are stopped before the first is
    killed, so that none can start another meanwhile; `pid` itself should be.
    """
    if not _IS_LINUX:
        return 0
    with ExitStack() as stack:
        handles: dict[Descendant, int] = {}
        for _ in range(_MOST_ROUNDS):
            found = [one for one in find_descendants(pid, mark) if one not in handles]
            for one in found:
                handle = _open(one)
                handles[one] = handle
                if handle >= 0:
                    stack.callback(os.close, handle)
                    _send(handle, one, signal.SIGSTOP)
            if not found:
                break
        killed = [one for one, handle in handles.items() if handle >= 0]
        for one in killed:
            _send(handles[one], one, signal.SIGKILL)
        return len(killed)


def find_descendants(pid: int, mark: int) -> list[Descendant]:
    """Return what lives below `pid` and started after `mark`, the nearest first."""
    below: dict[int, list[Descendant]] = {}
    for path in _PROCESSES.glob("[0-9]*/stat"):
        if (read := _read(path)) is not None:
            parent, one = read
            below.setdefault(parent, []).append(one)
    found: list[Descendant] = []
    parents = [pid]
    while parents:
        for one in below.pop(parents.pop(0), []):
            if one.started > mark:
                found.append(one)
                parents.append(one.pid)
    return found


def _read(path: Path) -> tuple[int, Descendant] | None:
    """Return the parent of a process, and itself; None when it lives no more."""
    try:
        # the name of a program may hold anything
        fields = path.read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    state, parent, started = fields[0], int(fields[1]), int(fields[19])
    if state in (b"Z", b"X"):
        return None
    return parent, Descendant(int(path.parent.name), started)


def _has_ended(path: Path) -> bool:
    """Say whether a process has ended and nobody has waited for it."""
    with suppress(OSError):
        return path.read_bytes().rpartition(b")")[2].split()[0] == b"Z"
    return False


def _open(one: Descendant) -> int:
    """Return a handle to a process; -1 when it lives no more."""
    try:
        handle = os.pidfd_open(one.pid)
    except OSError:
        return -1
    # it is the same only if it is so after the handle holds whatever has the pid
    read = _read(_PROCESSES / str(one.pid) / "stat")
    if read is None or read[1] != one:
        os.close(handle)
        return -1
    return handle


def _send(handle: int, one: Descendant, number: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        logger.warning(
            "a process that a step has started cannot be ended", extra={"pid": one.pid}
        )
