"""The few named points where a test may stop or end a process.

A test arms a point through the environment, `PLANS_FAULT=<point>:<action>`, before
it starts the process. `exit` ends the process at once, as a kill
would; `wait:<path>` holds it until the file at `path` exists, after making
`<path>.reached`. Unarmed, a point costs one comparison.
"""

import os
import signal
import time
from enum import StrEnum
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


_armed_point, _, _armed_action = os.environ.get("PLANS_FAULT", "").partition(":")


def reach(point: FaultPoint) -> None:
    """Do here what a test has asked for; usually nothing."""
    if point != _armed_point:
        return
    if _armed_action == "exit":
        os.kill(os.getpid(), signal.SIGKILL)
    gate = Path(_armed_action.removeprefix("wait:"))
    gate.with_name(gate.name + ".reached").touch()
    while not gate.exists():
        time.sleep(0.01)
