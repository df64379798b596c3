"""What a worker says of itself, for its heartbeat and for whoever watches over it.

It must not know what is said of it elsewhere.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class WorkerFacts:
    """What a worker says of itself; the callables answer for this moment."""

    hostname: str
    pool: str
    count_slots: Callable[[], int]
    list_queues: Callable[[], Collection[str]]
    list_pids: Callable[[], Collection[int]]
    is_watched: Callable[[], bool] = lambda: False
    """Whether events of its tasks are sent, as Flower asks workers to."""
