"""The crash points, each in a process of its own: it is their end."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from execution.faults import FaultPoint, reach, watched
from tests.polling import wait_until
from tests.worker_process import ROOT

SCRIPT = """
import sys
from execution.faults import FaultPoint, reach
print("before", flush=True)
reach(FaultPoint(sys.argv[1]))
print("after", flush=True)
"""


@contextmanager
def reaching(point: FaultPoint, armed: str | None) -> Iterator[subprocess.Popen[str]]:
    """Start a process that reaches `point` with `armed` as its PLANS_FAULT."""
    environment = {k: v for k, v in os.environ.items() if k != "PLANS_FAULT"}
    if armed is not None:
        environment["PLANS_FAULT"] = armed
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, point.value],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("armed", [None, "", "called:exit", "claim:exit", "exit"])
def test_a_point_that_is_not_armed_does_nothing(armed: str | None) -> None:
    with reaching(FaultPoint.CLAIMED, armed) as process:
        output, _ = process.communicate(timeout=60)

    assert (process.returncode, output) == (0, "before\nafter\n")


@pytest.mark.parametrize("point", FaultPoint)
def test_exit_ends_the_process_as_a_kill_does(point: FaultPoint) -> None:
    with reaching(point, f"{point}:exit") as process:
        output, _ = process.communicate(timeout=60)

    assert (process.returncode, output) == (-signal.SIGKILL, "before\n")


def test_wait_holds_the_process_until_the_file_is_there(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with reaching(FaultPoint.CALLED, f"called:wait:{gate}") as process:
        wait_until((tmp_path / "gate.reached").exists, what="the point to be reached")
        was_held = process.poll() is None

        gate.touch()
        output, _ = process.communicate(timeout=60)

    assert was_held
    assert (process.returncode, output) == (0, "before\nafter\n")


def test_who_watches_hears_of_each_point_until_the_end_of_the_block() -> None:
    outer: list[FaultPoint] = []
    inner: list[FaultPoint] = []
    with watched(outer.append):
        with watched(inner.append):
            reach(FaultPoint.CLAIMED)
        reach(FaultPoint.CALLED)
    reach(FaultPoint.COMPLETED)

    assert (inner, outer) == ([FaultPoint.CLAIMED], [FaultPoint.CALLED])
