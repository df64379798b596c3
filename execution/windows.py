"""What is sent: windows of links, as the database answers them.

A window is a ready step and the run of successors that wait for nothing but the step
before them; it becomes one Celery chain. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

WINDOW_LINKS = 4
"""The most links of a window; PostgreSQL goes by the same number. A message carries the
links after its own, so the bytes that a window costs grow with the square of it."""


class PlannedStep(Protocol):
    """What a window needs to know of a step of a plan."""

    @property
    def position(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def queue(self) -> str | None: ...
    @property
    def priority(self) -> int: ...
    @property
    def needs(self) -> Sequence[int]: ...
    @property
    def successors(self) -> Sequence[int]: ...


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


def open_window(
    steps: Sequence[PlannedStep],
    root: int,
    *,
    queue: str,
    queues: Mapping[str, str],
    priority: int,
) -> tuple[Link, ...]:
    """Return the links with which a new execution of a plan begins at a root.

    The same that the database would answer, for nothing has run yet. A step that names
    no queue goes to that of its action in `queues`, or else to `queue`; `priority` is
    that of the execution.
    """
    run = [steps[root]]
    while len(run) < WINDOW_LINKS and len(run[-1].successors) == 1:
        follower = steps[run[-1].successors[0]]
        if len(follower.needs) != 1:
            break
        run.append(follower)
    return tuple(
        Link(
            s.position,
            s.name,
            s.queue or queues.get(s.action, queue),
            s.action,
            priority + s.priority,
            1,
        )
        for s in run
    )
