"""Lets Ctrl-C end a command, wherever in it that comes.

Python raises KeyboardInterrupt in whatever the main thread runs. In a callback of a
weak reference, of which SQLAlchemy has many, and in `__del__`, it is told and dropped:
https://docs.python.org/3/library/sys.html#sys.unraisablehook. Promises: one that was
dropped comes again. Must not know the commands.
"""

import _thread
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_PAUSE_SECONDS = 0.05
"""Until then the callback has returned; in it, another would be dropped as well."""


@contextmanager
def heeding_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt once more where Python has dropped it."""
    previous = sys.unraisablehook

    def hear(dropped: "UnraisableHookArgs") -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            previous(dropped)
            return
        again = threading.Timer(_PAUSE_SECONDS, _thread.interrupt_main)
        again.daemon = True
        again.start()

    sys.unraisablehook = hear
    try:
        yield
    finally:
        sys.unraisablehook = previous
