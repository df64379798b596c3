"""A DBOS process that takes one workflow at a time: two of them are two slots.

python -m benchmarks.systems.dbos_worker URL REDIS_URL
"""

import asyncio
import sys
import threading
import time
import uuid

import redis
from dbos import DBOS

QUEUE = "bench"
VERSION = "bench"
DONE = "dbos:done"
POLLING_SECONDS = 0.01
"""By itself DBOS looks once a second, and then takes no more than it has slots."""

_client = redis.Redis.from_url(sys.argv[2])


@DBOS.step()
def count(steps: int) -> int:
    """Be a step of no work."""
    return steps + 1


@DBOS.step()
async def count_async(steps: int) -> int:
    """Be a step of no work beside others."""
    return steps + 1


@DBOS.workflow()
def run_chain(name: str, steps: int) -> int:
    """Run one step after another."""
    done = 0
    for _ in range(steps):
        done = count(done)
    _client.lpush(DONE, f"{name} {done} {time.time()}")
    return done


@DBOS.workflow()
async def run_fan_out(name: str, width: int) -> int:
    """Run one step, many at once, and one after all."""
    first = await count_async(0)
    parallel = await asyncio.gather(*[count_async(0) for _ in range(width)])
    done = await count_async(first + sum(parallel))
    _client.lpush(DONE, f"{name} {done} {time.time()}")
    return int(done)


def main() -> None:
    """Serve until the process is told to end."""
    DBOS(
        config={
            "name": "bench",
            "system_database_url": sys.argv[1],
            "application_version": VERSION,
            "executor_id": uuid.uuid4().hex,
            "log_level": "WARNING",
        }
    )
    DBOS.launch()
    DBOS.register_queue(
        QUEUE, worker_concurrency=1, polling_interval_sec=POLLING_SECONDS
    )
    threading.Event().wait()


if __name__ == "__main__":
    main()
