"""Django's connections to databases, from step to step.

Celery closes them between its tasks. Many steps may run within one, and a connection
that was cut since the step before would fail the next one. So each step begins with
connections that work, and leaves none that has outlived its time.

Promises: nothing is imported, connected or closed where there is no Django. It must not
know what a step does with a connection.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

_C = TypeVar("_C")

_Around = Callable[[_C, int], AbstractContextManager[None]]
"""What is done around an attempt, given its claim and its number."""


def with_fresh_connections(around: _Around[_C]) -> _Around[_C]:
    """Return what is done around an attempt, with Django's connections looked after.

    In a process without Django, that is `around` itself.
    """
    if not is_used():
        return around

    @contextmanager
    def do(claim: _C, attempt: int) -> Iterator[None]:
        renew_connections()
        try:
            with around(claim, attempt):
                yield
        finally:
            leave_connections()

    return do


def is_used() -> bool:
    """Say whether this process has loaded Django's databases, and its settings."""
    conf = sys.modules.get("django.conf")
    return "django.db" in sys.modules and bool(conf and conf.settings.configured)


def renew_connections() -> None:
    """Close what is too old, or does not answer any more; the next query opens anew."""
    for connection in _list_open():
        connection.close_if_unusable_or_obsolete()
        if connection.connection is not None and not connection.is_usable():
            connection.close()


def leave_connections() -> None:
    """Close what has failed, or may not be kept for longer."""
    for connection in _list_open():
        connection.close_if_unusable_or_obsolete()


def _list_open() -> list[Any]:
    # those of this thread, and none in a transaction that the code holds on to
    connections = sys.modules["django.db"].connections.all(initialized_only=True)
    return [
        connection
        for connection in connections
        if connection.connection is not None and not connection.in_atomic_block
    ]
