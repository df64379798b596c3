"""The reference: the same work as plain Celery chains and chords.

Three rows: without results, as most run it, when chords are impossible; with results in
Redis; and with results in PostgreSQL, the only one of them that keeps anything.
"""

import gc
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import redis
from celery import Celery, chain, group

from benchmarks.processes import run_processes
from benchmarks.stage import Stage
from benchmarks.systems.ends import Ends
from benchmarks.systems.raw_tasks import DONE, build_step, create_app
from benchmarks.systems.system import NotThereError, Running, System

QUEUE = "raw"
HOP_QUEUES = ("raw-left", "raw-right")
SUBMIT_QUEUE = "raw-submit"


def build_worker_command(app: str, queue: str, slots: int, pool: str) -> list[str]:
    """Return the command line of a Celery worker."""
    command = [sys.executable, "-m", "celery", "-A", app, "worker", "-P", pool]
    command += ["-c", str(slots), "-Q", queue, "-l", "WARNING"]
    name = f"{queue}-{uuid.uuid4().hex[:6]}@bench"
    return [*command, "--without-gossip", "--without-mingle", "-n", name]


def build_chain(app: Celery, queues: Sequence[str], steps: int, name: str) -> Any:
    """Return a chain whose steps go round the queues."""
    links = [
        build_step(app, queues[n % len(queues)], *([0] if n == 0 else []))
        for n in range(steps - 1)
    ]
    last = app.tasks["raw.last"].s(*([] if links else [0]), name)
    return chain(*links, last.set(queue=queues[(steps - 1) % len(queues)]))


@dataclass
class RunningCelery(Running):
    """Raw Celery with its workers."""

    app: Celery
    ends: Ends
    workers: Sequence[psutil.Process]
    queues: Sequence[str]

    def start_chain(self, steps: int) -> str:
        """Publish a chain."""
        name = uuid.uuid4().hex
        build_chain(self.app, self.queues, steps, name).apply_async()
        return name

    def start_fan_out(self, width: int) -> str:
        """Publish a chord."""
        if self.app.conf.result_backend is None:
            raise NotThereError("a chord needs a result backend")
        name = uuid.uuid4().hex
        middle = group(build_step(self.app, QUEUE) for _ in range(width))
        join = self.app.tasks["raw.join"].s(name).set(queue=QUEUE)
        chain(build_step(self.app, QUEUE, 0), middle, join).apply_async()
        return name

    def wait(self, ids: Sequence[str]) -> Mapping[str, float]:
        """Wait for what the last steps tell."""
        return self.ends.wait(ids)

    def check(self, ids: Sequence[str], steps: int) -> None:
        """Compare the counts that steps have handed on."""
        self.ends.check(ids, steps)


@dataclass(frozen=True)
class RawCelery(System):
    """Celery with one kind of result backend, or none."""

    name: str
    title: str
    results: str | None = None

    def run(self, stage: Stage) -> Any:
        """Run a worker of two processes."""
        return self._run(stage, [(QUEUE, 2)])

    def run_two_queues(self, stage: Stage) -> Any:
        """Run a worker of one process for each queue."""
        return self._run(stage, [(queue, 1) for queue in HOP_QUEUES])

    @contextmanager
    def _run(
        self, stage: Stage, places: Sequence[tuple[str, int]]
    ) -> Iterator[RunningCelery]:
        variables = {"BENCH_RESULTS_URL": self._find_results(stage) or ""}
        environment = stage.build_environment(
            **{k: v for k, v in variables.items() if v}
        )
        commands = [
            build_worker_command(
                "benchmarks.systems.raw_worker", queue, slots, "prefork"
            )
            for queue, slots in places
        ]
        queues = [queue for queue, _ in places]
        with (
            stage.open_redis() as client,
            run_processes(commands, environment, stage.home) as workers,
        ):
            app = self._create_app(stage)
            yield RunningCelery(app, Ends(client, DONE), workers, queues)
            app.close()
            # results of chains refer to one another; each unsubscribes at its end
            gc.collect()

    def time_submits(self, stage: Stage, executions: int, steps: int) -> float:
        """Publish chains into a queue without a worker; see that they are in it."""
        app = self._create_app(stage)
        with stage.open_redis() as client:
            build_chain(app, [SUBMIT_QUEUE], steps, "warm-up").apply_async()
            client.delete(SUBMIT_QUEUE)
            begun = time.perf_counter()
            for number in range(executions):
                build_chain(app, [SUBMIT_QUEUE], steps, str(number)).apply_async()
            seconds = time.perf_counter() - begun
            _drain(client, executions)
        app.close()
        gc.collect()
        return seconds

    def _create_app(self, stage: Stage) -> Celery:
        settings = stage.settings
        return create_app(
            str(settings.broker_url),
            self._find_results(stage),
            str(settings.redis_url),
        )

    def _find_results(self, stage: Stage) -> str | None:
        if self.results == "redis":
            return f"redis+socket://{stage.valkey.socket}?virtual_host=1"
        if self.results == "postgres":
            # without the driver's name SQLAlchemy 2.1 takes psycopg 3
            url = stage.make_database("raw_results")
            return "db+" + url.replace("postgresql://", "postgresql+psycopg2://", 1)
        return None


def _drain(client: redis.Redis, executions: int) -> None:
    assert client.llen(SUBMIT_QUEUE) == executions
    client.delete(SUBMIT_QUEUE)


RAW = RawCelery("raw", "Celery chains, no results")
RAW_REDIS = RawCelery("raw-redis", "Celery chains, results in Redis", "redis")
RAW_POSTGRES = RawCelery(
    "raw-postgres", "Celery chains, results in PostgreSQL", "postgres"
)
