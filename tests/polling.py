"""Waiting for something that another process does: look again until a deadline."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def wait_until(
    look: Callable[[], _T], *, what: str, timeout_seconds: float = 60.0
) -> _T:
    """Return the first true answer of `look`; fail, naming `what`, at the deadline."""
    deadline = time.monotonic() + timeout_seconds
    while not (answer := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_seconds:g} s in vain for {what}")
        time.sleep(0.02)
    return answer


async def look_until(
    look: Callable[[], _T], *, what: str, timeout_seconds: float = 60.0
) -> _T:
    """Do the same in an event loop, which goes on meanwhile."""
    deadline = time.monotonic() + timeout_seconds
    while not (answer := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_seconds:g} s in vain for {what}")
        await asyncio.sleep(0.02)
    return answer
