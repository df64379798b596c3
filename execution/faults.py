"""The few named points where a test may stop or end a process.

A test arms a point through the environment, `PLANS_FAULT=<point>:<action>`, before
it starts the process. `exit` ends the process at once, as a kill
would; `wait:<path>` holds it until the file at `path` exists, after making
`<path>.reached`. A test that plays a worker in its own process is told of each point
instead, by `watched`. Unarmed, a point costs one comparison.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path


class FaultPoint(StrEnum):
    """Where a process can be stopped."""

    SUBMITTED = "submitted"
    """An execution is committed, nothing was published yet."""
    CLAIMED = "claimed"
    """A claim is committed, the action was not called yet."""
    CALLED = "called"
    """The action has returned, nothing of it was recorded yet."""
    COMPLETED = "completed"
    """A step's end is committed, its successors were not published yet."""
    ACTED = "acted"
    """An act of a batch is committed, nothing that follows was done yet."""


def reach(point: FaultPoint) -> None:
    """Do here what a test has asked for; usually nothing."""
    if _armed is not None:
        _armed(point)


@contextmanager
def watched(act: Callable[[FaultPoint], None]) -> Iterator[None]:
    """Let this process call `act` at every point that it reaches in the block."""
    global _armed  # one comparison is all that a point may cost
    previous, _armed = _armed, act
    try:
        yield
    finally:
        _armed = previous


def _stop(armed_point: str, action: str, point: FaultPoint) -> None:
    if point != armed_point:
        return
    if action == "exit":
        os.kill(os.getpid(), signal.SIGKILL)
    gate = Path(action.removeprefix("wait:"))
    gate.with_name(gate.name + ".reached").touch()
    while not gate.exists():
        time.sleep(0.01)


def _read_environment() -> Callable[[FaultPoint], None] | None:
    point, _, action = os.environ.get("PLANS_FAULT", "").partition(":")
    return partial(_stop, point, action) if point else None


_armed = _read_environment()
