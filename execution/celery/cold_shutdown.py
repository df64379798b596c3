"""Lets plans know of a cold shutdown before Celery ends what runs.

Celery tells of a warm shutdown at once, and of a cold one only when it has ended the
tasks already. What it ends has to be taken in PostgreSQL first. So its handlers of the
signals that are cold are called after one of ours; no setting is changed.

It must not know how steps are given back.
"""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from billiard.common import REMAP_SIGTERM
from celery import Celery

from ..settings import Settings
from .draining import Drain

_COLD_SIGNALS = (
    ("SIGINT", "SIGQUIT", "SIGTERM")
    if REMAP_SIGTERM == "SIGQUIT"
    else ("SIGINT", "SIGQUIT")
)
_COLD = "worker_Cold"
"""What Celery calls its handler of a signal that is cold, and of no other."""
_SHARE_OF_TIME = 0.9
"""How much of the time that Celery leaves to tasks steps have: they are first."""


def guard_cold_shutdowns(app: Celery, settings: Settings, drain: Drain) -> None:
    """Let `drain` give back before Celery ends tasks; nothing changes a second time.

    Where the app gives its tasks some time first, steps have most of it, and no more
    than their own limit. Does nothing but in the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    soft_seconds = float(app.conf.worker_soft_shutdown_timeout or 0)
    seconds = min(settings.drain_seconds, _SHARE_OF_TIME * soft_seconds)
    for name in _COLD_SIGNALS:
        number = signal.Signals[name]
        handler = signal.getsignal(number)
        if callable(handler) and handler.__name__ == _COLD:
            signal.signal(number, _call_after(handler, drain, seconds))


def _call_after(
    handler: Callable[[int, FrameType | None], Any], drain: Drain, seconds: float
) -> Callable[[int, FrameType | None], None]:
    def handle(number: int, frame: FrameType | None) -> None:
        drain.ask(seconds)
        if seconds <= 0:
            drain.await_end()
        handler(number, frame)

    return handle
