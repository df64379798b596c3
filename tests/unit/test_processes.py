"""Processes below another are found and ended, and no others."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from execution.celery.processes import (
    _open,
    count_ticks,
    find_descendants,
    kill_descendants,
)
from tests.polling import wait_until

NESTED = """
import subprocess, sys, time
sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
print(subprocess.Popen(sleeper, start_new_session=True).pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def tree() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Give a process and the pid of one that it has started."""
    process = subprocess.Popen([sys.executable, "-c", NESTED], stdout=subprocess.PIPE)
    assert process.stdout is not None
    inner = int(process.stdout.readline())
    yield process, inner
    for pid in (process.pid, inner):
        with suppress(ProcessLookupError):
            os.kill(pid, 9)
    process.wait()
    process.stdout.close()


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"


def find_pids(mark: int) -> set[int]:
    return {one.pid for one in find_descendants(os.getpid(), mark)}


def test_what_is_below_a_process_is_killed_and_that_is_not(
    tree: tuple[subprocess.Popen[bytes], int],
) -> None:
    process, inner = tree
    assert {process.pid, inner} <= find_pids(0)

    assert kill_descendants(process.pid, 0) == 1

    wait_until(lambda: is_gone(inner), what="the inner one to be gone")
    assert process.poll() is None


def test_what_an_older_process_has_started_is_its_own(
    tree: tuple[subprocess.Popen[bytes], int],
) -> None:
    process, inner = tree
    start = next(
        one.started
        for one in find_descendants(os.getpid(), 0)
        if one.pid == process.pid
    )

    assert not find_pids(start) & {process.pid, inner}
    assert {process.pid, inner} <= find_pids(start - 1)


def test_a_pid_that_a_stranger_has_by_now_is_not_opened(
    tree: tuple[subprocess.Popen[bytes], int],
) -> None:
    found = find_descendants(tree[0].pid, 0)

    stranger = type(found[0])(found[0].pid, found[0].started - 1)

    assert _open(stranger) == -1
    handle = _open(found[0])
    assert handle >= 0
    os.close(handle)


def test_a_process_that_leaves_its_parent_stays_below_who_adopts(
    tmp_path: Path,
) -> None:
    script = """
import os, sys, time
from execution.celery.processes import Strays, kill_descendants
strays = Strays()
assert strays.mark() == 0
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
        print(os.getpid(), flush=True)
        time.sleep(60)
    os._exit(0)
os.wait()
sys.stdin.readline()
assert strays.mark() > 0
print(kill_descendants(os.getpid(), 0), flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        daemon = int(parent.stdout.readline())
        assert not is_gone(daemon)
        parent.stdin.write(b"\n")
        parent.stdin.flush()
        assert parent.stdout.readline() == b"1\n"
        wait_until(lambda: is_gone(daemon), what="the daemon to be gone")
        assert parent.wait(60) == 0


def test_a_stray_that_has_ended_is_buried_in_time() -> None:
    script = """
import os, sys
from execution.celery.processes import Strays
now = 0.0
strays = Strays(lambda: now)
child = os.fork()
if child == 0:
    os._exit(0)
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
strays.mark()
now = 29.0
strays.mark()
assert os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT) is not None
now = 31.0
strays.mark()
try:
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
except ChildProcessError:
    sys.exit(0)
sys.exit("it is there still")
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_all_strays_that_have_ended_are_buried() -> None:
    script = """
import os, sys
from execution.celery.processes import Strays
now = 0.0
strays = Strays(lambda: now)
for _ in range(3):
    if os.fork() == 0:
        os._exit(0)
for child in map(int, open("/proc/self/task/%d/children" % os.getpid()).read().split()):
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
strays.mark()
now = 31.0
strays.mark()
try:
    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)
except ChildProcessError:
    sys.exit(0)
sys.exit("some are there still")
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_moments_are_counted_as_starts_of_processes_are() -> None:
    before = count_ticks()
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (started,) = (
            one.started
            for one in find_descendants(os.getpid(), 0)
            if one.pid == process.pid
        )
        assert before <= started <= count_ticks()
    finally:
        process.kill()
        process.wait()
