"""The jobs of procrastinate, for its client and its workers alike.

    python -m benchmarks.systems.procrastinate_tasks URL QUEUE

runs a worker of one slot. A job that is done defers the next of its chain.
"""

import os
import sys
import time

import redis
from procrastinate import App, PsycopgConnector, SyncPsycopgConnector
from procrastinate.connector import BaseConnector

DONE = "procrastinate:done"


def create_app(connector: BaseConnector) -> App:
    """Return an app with the one task there is."""
    app = App(connector=connector)
    client = redis.Redis.from_url(os.environ["BENCH_REDIS_URL"])

    @app.task(name="step")
    async def run_step(name: str, done: int, steps: int, queues: list[str]) -> None:
        """Be a step of no work, and defer the next."""
        done += 1
        if done == steps:
            client.lpush(DONE, f"{name} {done} {time.time()}")
            return
        queue = queues[done % len(queues)]
        job = app.configure_task("step", queue=queue)
        await job.defer_async(name=name, done=done, steps=steps, queues=queues)

    return app


def create_client(url: str) -> App:
    """Return an app for a program without an event loop."""
    return create_app(SyncPsycopgConnector(conninfo=url))


def main() -> None:
    """Serve until the process is told to end."""
    app = create_app(PsycopgConnector(conninfo=sys.argv[1]))
    app.run_worker(queues=sys.argv[2:], concurrency=1, name=f"bench-{os.getpid()}")


if __name__ == "__main__":
    main()
