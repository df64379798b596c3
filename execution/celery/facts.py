"""What a worker says of itself, for its heartbeat and for whoever watches over it.

It must not know what is said of it elsewhere.
"""

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any


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


def read_facts(worker: Any) -> WorkerFacts:
    """Return what is to be said of a worker of Celery's that consumes."""

    def list_pids() -> set[int]:
        processes = getattr(getattr(worker.pool, "_pool", None), "_pool", None) or ()
        return {os.getpid(), *(p.pid for p in processes if getattr(p, "pid", None))}

    def is_watched() -> bool:
        events = getattr(worker.consumer, "event_dispatcher", None)
        # no groups at all means every group
        return bool(
            events and events.enabled and (not events.groups or "task" in events.groups)
        )

    return WorkerFacts(
        hostname=worker.hostname,
        pool=worker.pool_cls.__module__.rpartition(".")[2],
        count_slots=lambda: worker.pool.num_processes,
        list_queues=lambda: set(worker.app.amqp.queues.consume_from),
        list_pids=list_pids,
        is_watched=is_watched,
    )
