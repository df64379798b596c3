"""The app of a raw Celery worker: `celery -A benchmarks.systems.raw_worker worker`."""

import os

from benchmarks.systems.raw_tasks import create_app

app = create_app(
    os.environ["PLANS_BROKER_URL"],
    os.environ.get("BENCH_RESULTS_URL"),
    os.environ["BENCH_REDIS_URL"],
)
