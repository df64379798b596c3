"""The reference: the same work as plain Celery chains, with no durability at all."""

import os
from functools import cache

import redis
from celery import Celery

QUEUE = "raw-celery"
DONE = "raw-celery:done"

app = Celery("raw", set_as_current=False)
app.conf.update(
    broker_url=os.environ.get("PLANS_BROKER_URL"),
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    task_default_queue=QUEUE,
    broker_connection_retry_on_startup=True,
)


@cache
def find_client() -> redis.Redis:
    """Return this process's connection to Redis."""
    return redis.Redis.from_url(os.environ["PLANS_REDIS_URL"])


@app.task(name="raw.step")  # type: ignore[untyped-decorator]  # Celery ships no types
def do_nothing() -> None:
    """Be a step of no work."""


@app.task(name="raw.last")  # type: ignore[untyped-decorator]
def tell_end() -> None:
    """Be the last step, and say so: raw Celery without results has no other way."""
    find_client().lpush(DONE, "1")
