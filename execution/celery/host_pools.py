"""What the pool of a worker means for steps: how long they may run, or that none can.

In a green pool (gevent, eventlet) one thread does everything. A worker's heartbeat, its
reconciler and its steps call PostgreSQL, and psycopg2 yields to nobody meanwhile: while
the reconciler listens, nothing else runs, not even steps. So such a worker takes no
part in plans. It serves the tasks of its app as if there were none, and does not start
where it would take the messages of steps.

It must not know what others do to take part.
"""

import logging
from typing import Any

logger = logging.getLogger(__name__)

_GREEN = frozenset({"gevent", "eventlet"})


def find_pool(worker: Any) -> str:
    """Return the name of the pool of a worker of Celery's that begins."""
    pool = worker.pool_cls
    # a name, where a program asks for it and not the command line
    name: str = pool if isinstance(pool, str) else pool.__module__
    return name.partition(":")[0].rpartition(".")[2]


def is_green(worker: Any) -> bool:
    """Say whether one thread does everything in a worker."""
    return find_pool(worker) in _GREEN


def stand_aside(worker: Any, queue: str) -> None:
    """Tell that a worker takes no part in plans, whose queue is `queue`.

    Raises SystemExit with what to do if that is among the queues that it serves.
    """
    pool = find_pool(worker)
    if queue in worker.app.amqp.queues.consume_from:
        raise SystemExit(
            f"celery-plans: the pool {pool} cannot run steps, and this worker serves"
            f" their queue, {queue}; start it with -P prefork, threads or solo, or with"
            " -Q and other queues"
        )
    logger.warning("this worker takes no part in plans: its pool is %s", pool)


def find_time_limit(worker: Any) -> float | None:
    """Return after how many seconds a worker ends deliveries: the shorter limit."""
    limits = (worker.time_limit, worker.soft_time_limit)
    return min((float(limit) for limit in limits if limit), default=None)
