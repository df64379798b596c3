"""A Ctrl-C is not lost, wherever it comes."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

PROGRAM = """
import signal, time, weakref
from execution.cli.interrupts import heeding_interrupts

class Kept: pass

def interrupt(_):
    signal.raise_signal(signal.SIGINT)

class Dying:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

thing = {name}()
reference = weakref.ref(thing, interrupt) if isinstance(thing, Kept) else None
try:
    with heeding_interrupts():
        del thing
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            time.sleep(0.01)
except KeyboardInterrupt:
    print("ended")
"""


@pytest.mark.parametrize("name", ["Kept", "Dying"])
def test_an_interrupt_that_python_drops_comes_again(name: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(name=name)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
    )

    assert (ended.stdout, ended.stderr, ended.returncode) == ("ended\n", "", 0)


def test_other_errors_that_are_dropped_are_told_as_ever() -> None:
    program = PROGRAM.replace("signal.raise_signal(signal.SIGINT)", "raise ValueError")
    program = program.format(name="Dying").replace("+ 60", "+ 0.1")
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
    )

    assert ended.stdout == ""
    assert "ValueError" in ended.stderr
