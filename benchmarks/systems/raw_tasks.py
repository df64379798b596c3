"""The tasks of raw Celery, for its client and its workers alike.

Each step hands on how many have run, so that a chain that skipped one is seen.
"""

import time
from functools import cache
from typing import Any

import redis
from celery import Celery

DONE = "raw-celery:done"


@cache
def _find_client(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(redis_url)


def create_app(broker_url: str, results_url: str | None, redis_url: str) -> Celery:
    """Return Celery as it comes, with results in `results_url` if that is given."""
    app = Celery("raw", set_as_current=False)
    app.conf.update(
        broker_url=broker_url,
        result_backend=results_url,
        task_ignore_result=results_url is None,
        task_default_queue="raw",
        broker_connection_retry_on_startup=True,
    )
    tell = _find_client(redis_url).lpush

    @app.task(name="raw.step", shared=False)  # type: ignore[untyped-decorator]  # Celery ships no types
    def count(steps: int) -> int:
        """Be a step of no work."""
        return steps + 1

    @app.task(name="raw.last", shared=False)  # type: ignore[untyped-decorator]
    def tell_end(steps: int, name: str) -> None:
        """Be the last step, and say so: without results there is no other way."""
        tell(DONE, f"{name} {steps + 1} {time.time()}")

    @app.task(name="raw.join", shared=False)  # type: ignore[untyped-decorator]
    def join(counts: list[int], name: str) -> None:
        """Be the step after a fan-out."""
        # each has counted the first step and itself
        tell(DONE, f"{name} {sum(counts) - len(counts) + 2} {time.time()}")

    return app


def build_step(app: Celery, queue: str, *arguments: Any) -> Any:
    """Return the signature of a step on `queue`."""
    return app.tasks["raw.step"].s(*arguments).set(queue=queue)
