"""procrastinate: jobs in PostgreSQL, where each job defers the next of its chain."""

import os
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import psutil

from benchmarks.processes import run_processes
from benchmarks.stage import Stage
from benchmarks.systems.ends import Ends
from benchmarks.systems.system import NotThereError, Running, System
from tests.polling import wait_until

DATABASE = "procrastinate"
DONE = "procrastinate:done"
QUEUE = "bench"
HOP_QUEUES = ("bench-left", "bench-right")
_SUBMIT_QUEUE = "bench-submit"


@dataclass
class RunningJobs(Running):
    """An app to defer with, and the workers."""

    app: Any
    stage: Stage
    ends: Ends
    workers: Sequence[psutil.Process]
    queues: Sequence[str]

    def start_chain(self, steps: int) -> str:
        """Defer the first job."""
        arguments = build_arguments(steps, self.queues)
        self.app.configure_task("step", queue=self.queues[0]).defer(**arguments)
        return str(arguments["name"])

    def wait(self, ids: Sequence[str]) -> Mapping[str, float]:
        """Wait for what the last jobs tell."""
        return self.ends.wait(ids)

    def check(self, ids: Sequence[str], steps: int) -> None:
        """Count the jobs that succeeded, once the last is marked."""
        self.ends.check(ids, steps)
        with (
            closing(self.stage.connect(DATABASE)) as connection,
            connection.cursor() as cursor,
        ):

            def are_recorded() -> bool:
                cursor.execute(
                    "SELECT count(*) FROM procrastinate_jobs"
                    " WHERE status = 'succeeded' AND args->>'name' = ANY (%s)",
                    (list(ids),),
                )
                return cursor.fetchone() == (len(ids) * steps,)

            wait_until(are_recorded, what="procrastinate to mark all jobs")


@dataclass(frozen=True)
class ProcrastinateJobs(System):
    """procrastinate as it comes, with LISTEN and NOTIFY."""

    name: str = "procrastinate"
    title: str = "procrastinate"

    def require(self, stage: Stage) -> None:
        """Look whether it is installed."""
        if find_spec("procrastinate") is None:
            raise NotThereError("not installed; make peers")

    def run(self, stage: Stage) -> Any:
        """Run two workers of one slot, for one slot looks again only every 5 s."""
        return self._run(stage, [QUEUE, QUEUE], [QUEUE])

    def run_two_queues(self, stage: Stage) -> Any:
        """Run a worker of one slot for each queue."""
        return self._run(stage, HOP_QUEUES, HOP_QUEUES)

    @contextmanager
    def _run(
        self, stage: Stage, served: Sequence[str], queues: Sequence[str]
    ) -> Iterator[RunningJobs]:
        module = "benchmarks.systems.procrastinate_tasks"
        with _open_app(stage) as (app, url), stage.open_redis() as client:
            ends = Ends(client, DONE)
            commands = [[sys.executable, "-m", module, url, q] for q in served]
            environment = stage.build_environment()
            with run_processes(commands, environment, stage.home) as workers:
                yield RunningJobs(app, stage, ends, workers, queues)

    def time_submits(self, stage: Stage, executions: int, steps: int) -> float:
        """Defer first jobs into a queue that nobody serves."""
        with _open_app(stage) as (app, _):
            defer = app.configure_task("step", queue=_SUBMIT_QUEUE).defer
            defer(**build_arguments(steps, [QUEUE]))
            begun = time.perf_counter()
            for _ in range(executions):
                defer(**build_arguments(steps, [QUEUE]))
            seconds = time.perf_counter() - begun
        _remove_submitted(stage, executions + 1)
        return seconds

    def time_bulk_submit(self, stage: Stage, executions: int, steps: int) -> float:
        """Defer all first jobs with one call."""
        with _open_app(stage) as (app, _):
            job = app.configure_task("step", queue=_SUBMIT_QUEUE)
            begun = time.perf_counter()
            job.batch_defer(
                *[build_arguments(steps, [QUEUE]) for _ in range(executions)]
            )
            seconds = time.perf_counter() - begun
        _remove_submitted(stage, executions)
        return seconds


def build_arguments(steps: int, queues: Sequence[str]) -> dict[str, Any]:
    """Return what the first job of a chain is told."""
    return {"name": uuid.uuid4().hex, "done": 0, "steps": steps, "queues": [*queues]}


@contextmanager
def _open_app(stage: Stage) -> Iterator[tuple[Any, str]]:
    # it may not be installed
    from benchmarks.systems.procrastinate_tasks import create_client

    url = stage.make_database(DATABASE)
    os.environ["BENCH_REDIS_URL"] = str(stage.settings.redis_url)
    with create_client(url).open() as app:
        with (
            closing(stage.connect(DATABASE)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT to_regclass('procrastinate_jobs') IS NULL")
            is_new = cursor.fetchone() == (True,)
        if is_new:
            app.schema_manager.apply_schema()
        yield app, url


def _remove_submitted(stage: Stage, expected: int) -> None:
    with (
        closing(stage.connect(DATABASE)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(
            "DELETE FROM procrastinate_jobs WHERE queue_name = %s", (_SUBMIT_QUEUE,)
        )
        assert cursor.rowcount == expected


PROCRASTINATE = ProcrastinateJobs()
