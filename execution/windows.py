"""What is sent: windows of links, as the database answers them.

A window is a ready step and the run of successors that wait for nothing but the step
before them; it becomes one Celery chain. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Link:
    """One message of a chain: a step and how it is to be sent."""

    position: int
    step: str
    queue: str
    action: str
    priority: int
    publishes: int


@dataclass(frozen=True)
class Window:
    """A chain's worth of links that run one after another."""

    execution_id: str
    epoch: int
    links: tuple[Link, ...]


def read_windows(
    execution_id: str, epoch: int, data: Sequence[Any]
) -> tuple[Window, ...]:
    """Return the windows that a function of the database answered."""
    return tuple(
        Window(execution_id, epoch, tuple(Link(*link) for link in links))
        for links in data
    )
