"""DBOS: workflows from a queue, two processes that take one each at a time."""

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

DATABASE = "dbos"
# as in the worker, which cannot be imported where DBOS is not installed
QUEUE, VERSION, DONE = "bench", "bench", "dbos:done"
_SUBMIT_QUEUE = "bench-submit"

_COUNT_GOOD = """
SELECT count(DISTINCT w.workflow_uuid), count(o.function_id)
  FROM dbos.workflow_status w
  LEFT JOIN dbos.operation_outputs o USING (workflow_uuid)
 WHERE w.status = 'SUCCESS' AND w.workflow_uuid = ANY (%s)
"""


@dataclass
class RunningDbos(Running):
    """A client, and the processes that take what it enqueues."""

    client: Any
    stage: Stage
    ends: Ends
    workers: Sequence[psutil.Process]

    def start_chain(self, steps: int) -> str:
        """Enqueue a workflow."""
        return enqueue(self.client, QUEUE, "run_chain", steps)

    def start_fan_out(self, width: int) -> str:
        """Enqueue a workflow whose steps run side by side in one event loop."""
        return enqueue(self.client, QUEUE, "run_fan_out", width)

    def wait(self, ids: Sequence[str]) -> Mapping[str, float]:
        """Wait for what workflows tell at their ends."""
        return self.ends.wait(ids)

    def check(self, ids: Sequence[str], steps: int) -> None:
        """Count what DBOS has recorded, once the last status is written."""
        self.ends.check(ids, steps)
        with (
            closing(self.stage.connect(DATABASE)) as connection,
            connection.cursor() as cursor,
        ):

            def is_recorded() -> bool:
                cursor.execute(_COUNT_GOOD, (list(ids),))
                return cursor.fetchone() == (len(ids), len(ids) * steps)

            wait_until(is_recorded, what="DBOS to record all steps")


@dataclass(frozen=True)
class DbosQueue(System):
    """DBOS with its queue looked into every ten milliseconds."""

    name: str = "dbos"
    title: str = "DBOS queue, 10 ms polls"

    def require(self, stage: Stage) -> None:
        """Look whether it is installed."""
        if find_spec("dbos") is None:
            raise NotThereError("not installed; make peers")

    def run_two_queues(self, stage: Stage) -> Any:
        """Say that there is no such thing."""
        raise NotThereError("the steps of a workflow stay in its process")

    @contextmanager
    def run(self, stage: Stage) -> Iterator[RunningDbos]:
        """Run the two processes."""
        url = stage.make_database(DATABASE)
        command = [sys.executable, "-m", "benchmarks.systems.dbos_worker", url]
        command.append(str(stage.settings.redis_url))
        environment = stage.build_environment()
        with stage.open_redis() as client:
            ends = Ends(client, DONE)
            with run_processes([command, command], environment, stage.home) as workers:
                _await_schema(stage)
                with _open_client(url) as dbos_client:
                    yield RunningDbos(dbos_client, stage, ends, workers)

    def time_submits(self, stage: Stage, executions: int, steps: int) -> float:
        """Enqueue for a queue that nobody serves; count what waits in it."""
        url = stage.make_database(DATABASE)
        with _open_client(url) as client:
            enqueue(client, _SUBMIT_QUEUE, "run_chain", steps)
            begun = time.perf_counter()
            for _ in range(executions):
                enqueue(client, _SUBMIT_QUEUE, "run_chain", steps)
            seconds = time.perf_counter() - begun
        with (
            closing(stage.connect(DATABASE)) as connection,
            connection.cursor() as cursor,
        ):
            statement = "DELETE FROM dbos.workflow_status WHERE queue_name = %s"
            cursor.execute(statement, (_SUBMIT_QUEUE,))
            assert cursor.rowcount == executions + 1
        return seconds


def enqueue(client: Any, queue: str, workflow: str, number: int) -> str:
    """Enqueue a workflow under an id of its own."""
    name = uuid.uuid4().hex
    options = {
        "workflow_name": workflow,
        "queue_name": queue,
        "workflow_id": name,
        "app_version": VERSION,
    }
    client.enqueue(options, name, number)
    return name


@contextmanager
def _open_client(url: str) -> Iterator[Any]:
    from dbos import DBOSClient  # it may not be installed

    client = DBOSClient(system_database_url=url)
    yield client
    client.destroy()


def _await_schema(stage: Stage) -> None:
    with (
        closing(stage.connect(DATABASE)) as connection,
        connection.cursor() as cursor,
    ):

        def has_queue() -> bool:
            cursor.execute("SELECT to_regclass('dbos.queues') IS NOT NULL")
            if cursor.fetchone() != (True,):
                return False
            cursor.execute("SELECT count(*) FROM dbos.queues WHERE name = %s", (QUEUE,))
            return cursor.fetchone() == (1,)

        wait_until(has_queue, what="DBOS to make its tables", timeout_seconds=120)


DBOS_QUEUE = DbosQueue()
