"""Keeps programs running until it is told to stop, then lets them finish.

    running ── SIGINT, SIGTERM, SIGHUP ──► draining ── all ended ──► done
       │                                      └ a second one ──► giving back ──► killed
       └── a program that may not be missed keeps dying ──► draining, failed

Promises: a program that dies is started again, after a pause that grows and a limited
number of times in a row, and people are told; nothing that was started is left when
`run` returns. It waits for signals and children only, and never polls.
"""

import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .children import Child, Program, kill, read_tail, start
from .exits import ExitCode

_STOP_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
_MOST_DEATHS_IN_A_ROW = 5
_SECONDS_TO_GIVE_BACK = 10.0
"""How long workers may take to give their steps back when they are to end at once."""
_HEALTHY_SECONDS = 60.0
"""Who has run for this long has not failed to start."""


@dataclass(frozen=True)
class Post:
    """A program to keep running; if it cannot be, the rest go on unless it is vital."""

    program: Program
    is_vital: bool


@dataclass
class _Watch:
    """What is going on at a post; `due_at` is when to start it again."""

    post: Post
    child: Child | None = None
    started_at: float = 0.0
    deaths_in_a_row: int = 0
    due_at: float | None = None


def choose_pause_seconds(deaths_in_a_row: int) -> float | None:
    """Return how long to wait before the next start; None: give up."""
    if deaths_in_a_row >= _MOST_DEATHS_IN_A_ROW:
        return None
    return 2.0 ** (deaths_in_a_row - 1)


class Supervisor:
    """Runs programs in the foreground."""

    def __init__(self, posts: Sequence[Post], say: Callable[[str], None]) -> None:
        """Prepare to keep `posts`; `say` tells people what happens."""
        self._watches = [_Watch(post) for post in posts]
        self._say = say
        self._is_draining = False
        self._ends_at: float | None = None
        self._code = ExitCode.OK

    def run(self) -> ExitCode:
        """Start all and return once all have ended; call it in the main thread."""
        with _signals() as wakeups:
            try:
                for watch in self._watches:
                    self._start(watch)
                while self._living() or not self._is_draining:
                    for number in _wait(wakeups, self._count_pause()):
                        if number in _STOP_SIGNALS:
                            self._obey()
                    self._look()
                    if self._ends_at is not None and self._ends_at <= time.monotonic():
                        self._kill()
            finally:
                self._kill()
        return self._code

    def _living(self) -> list[Child]:
        return [watch.child for watch in self._watches if watch.child is not None]

    def _start(self, watch: _Watch) -> None:
        watch.child = start(watch.post.program)
        watch.started_at, watch.due_at = time.monotonic(), None

    def _count_pause(self) -> float | None:
        times = (self._ends_at, *(watch.due_at for watch in self._watches))
        due = [at for at in times if at is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _obey(self) -> None:
        if self._ends_at is not None:
            self._kill()
        elif self._is_draining:
            self._say("ending at once; what was running will run again")
            self._ends_at = time.monotonic() + _SECONDS_TO_GIVE_BACK
            self._code = ExitCode.INTERRUPTED
            for child in self._living():
                child.terminate()
        else:
            self._say("finishing what runs; once more to end at once")
            self._drain()

    def _drain(self) -> None:
        self._is_draining = True
        for watch in self._watches:
            watch.due_at = None
        for child in self._living():
            child.terminate()

    def _kill(self) -> None:
        for child in self._living():
            kill(child)
            child.wait()

    def _look(self) -> None:
        for watch in self._watches:
            if watch.child is not None and watch.child.poll() is not None:
                self._note_end(watch, watch.child)
            elif watch.due_at is not None and watch.due_at <= time.monotonic():
                self._start(watch)

    def _note_end(self, watch: _Watch, child: Child) -> None:
        watch.child = None
        # what the dead one had started must not run beside its successor
        kill(child)
        program = watch.post.program
        if self._is_draining:
            self._say(f"{program.name} has ended")
            return
        lived_seconds = time.monotonic() - watch.started_at
        is_healthy = lived_seconds >= _HEALTHY_SECONDS
        watch.deaths_in_a_row = 1 if is_healthy else watch.deaths_in_a_row + 1
        pause_seconds = choose_pause_seconds(watch.deaths_in_a_row)
        then = (
            "giving it up" if pause_seconds is None else f"again in {pause_seconds:g} s"
        )
        self._say(
            f"{program.name} {_describe_end(child.returncode, program.log)} after"
            f" {lived_seconds:.0f} s; {then}"
        )
        if pause_seconds is not None:
            watch.due_at = time.monotonic() + pause_seconds
        elif watch.post.is_vital:
            self._code = ExitCode.FAILED
            self._drain()


def _describe_end(code: int, log: Path) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    # nobody killed it, so it knows why
    cause = read_tail(log, lines=1) or "it wrote nothing"
    return f"ended with code {code} ({log}: {cause})"


@contextmanager
def _signals() -> Iterator[int]:
    """Yield a descriptor from which the numbers of arriving signals can be read."""
    wakeups, wake = os.pipe()
    os.set_blocking(wake, False)
    before = {
        number: signal.signal(number, lambda *_: None)
        for number in (*_STOP_SIGNALS, signal.SIGCHLD)
    }
    previous = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    try:
        yield wakeups
    finally:
        signal.set_wakeup_fd(previous)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(wakeups)
        os.close(wake)


def _wait(wakeups: int, timeout_seconds: float | None) -> bytes:
    readable, _, _ = select.select([wakeups], [], [], timeout_seconds)
    return os.read(wakeups, 64) if readable else b""
