"""celery-plans, on each pool and broker that it runs on.

Of every execution it is checked afterwards, in PostgreSQL, that each step completed at
its first attempt and has one record of it.
"""

import socket
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import psutil
from kombu.connection import Connection

from benchmarks.plans import build_chain, build_fan_out
from benchmarks.processes import run_processes
from benchmarks.stage import Stage
from benchmarks.systems.raw_celery import build_worker_command
from benchmarks.systems.system import WAIT_SECONDS, NotThereError, Running, System
from execution import ExecutionEngine, Plan, Settings
from execution.database import Database
from execution.installation import Installation
from execution.schema import upgrade
from tests.polling import wait_until

RABBITMQ = ("127.0.0.1", 5672)
HOP_QUEUES = ("plans-left", "plans-right")
_SUBMIT = "bench_submit"

_COUNT_GOOD_STEPS = """
SELECT count(*) AS good FROM {schema}.execution_steps s
 WHERE s.execution_id = ANY (%s::uuid[]) AND s.status = 'completed' AND s.attempt = 1
   AND 1 = (SELECT count(*) FROM {schema}.execution_events e
             WHERE e.execution_id = s.execution_id AND e.type = 'step.completed'
               AND e.position = s.position)
"""


@dataclass
class RunningPlans(Running):
    """An engine, and the workers that run what it submits."""

    engine: ExecutionEngine
    database: Database
    workers: Sequence[psutil.Process]
    queues: Sequence[str | None] = (None,)
    chains: dict[int, Plan] = field(default_factory=dict)
    fan_outs: dict[int, Plan] = field(default_factory=dict)

    def prepare_chain(self, steps: int) -> None:
        """Write the plan and store it: that is done once, not for each execution."""
        self.chains[steps] = build_chain(steps, self.queues)
        self.engine.publish(self.chains[steps])

    def start_chain(self, steps: int) -> str:
        """Submit a chain."""
        if steps not in self.chains:
            self.prepare_chain(steps)
        return self.engine.submit(self.chains[steps])

    def prepare_fan_out(self, width: int) -> None:
        """Write the plan and store it."""
        self.fan_outs[width] = build_fan_out(width)
        self.engine.publish(self.fan_outs[width])

    def start_fan_out(self, width: int) -> str:
        """Submit a fan-out."""
        return self.engine.submit(self.fan_outs[width])

    def wait(self, ids: Sequence[str]) -> Mapping[str, float]:
        """Wait for each, and read when it ended."""
        for execution_id in ids:
            assert self.engine.wait(
                execution_id, timeout_seconds=WAIT_SECONDS
            ).is_success
        statement = (
            "SELECT id::text, extract(epoch FROM ended_at)::float8 AS at"
            " FROM {schema}.executions WHERE id = ANY (%s::uuid[])"
        )
        rows = self.database.query(statement, (list(ids),))
        return {row["id"]: row["at"] for row in rows}

    def check(self, ids: Sequence[str], steps: int) -> None:
        """Count the steps that completed as they should."""
        good = self.database.query(_COUNT_GOOD_STEPS, (list(ids),))[0]["good"]
        assert good == len(ids) * steps, f"{good} steps of {len(ids) * steps}"


@dataclass(frozen=True)
class CeleryPlans(System):
    """celery-plans on one pool and one broker."""

    name: str
    title: str
    pool: str = "prefork"
    broker: str = "redis"
    leaves_out: Collection[str] = ()

    def require(self, stage: Stage) -> None:
        """Look whether RabbitMQ is there, if it is to be used."""
        if self.broker == "redis":
            return
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(RABBITMQ) != 0:
                raise NotThereError("no RabbitMQ answers at 127.0.0.1:5672")

    def run(self, stage: Stage) -> Any:
        """Run a worker of two slots, or two where a worker has only one."""
        slots = [1, 1] if self.pool == "solo" else [2]
        return self._run(stage, [(None, number) for number in slots], (None,))

    def run_two_queues(self, stage: Stage) -> Any:
        """Run a worker of one slot for each queue."""
        return self._run(stage, [(queue, 1) for queue in HOP_QUEUES], HOP_QUEUES)

    @contextmanager
    def _run(
        self,
        stage: Stage,
        places: Sequence[tuple[str | None, int]],
        queues: Sequence[str | None],
    ) -> Iterator[RunningPlans]:
        with self._open_broker(stage.settings) as settings:
            commands = [
                build_worker_command(
                    "workers.app", queue or settings.queue, slots, self.pool
                )
                for queue, slots in places
            ]
            environment = stage.build_environment(
                PLANS_BROKER_URL=str(settings.broker_url), PLANS_QUEUE=settings.queue
            )
            with (
                _open_engine(settings) as (engine, database),
                run_processes(commands, environment, stage.home) as workers,
            ):
                await_workers(engine, workers)
                yield RunningPlans(engine, database, workers, queues)

    @contextmanager
    def _open_broker(self, settings: Settings) -> Iterator[Settings]:
        if self.broker == "redis":
            yield settings
            return
        url = "amqp://guest:guest@127.0.0.1:5672//"
        queue = f"plans-bench-{uuid.uuid4()}"
        yield replace(settings, broker_url=url, queue=queue)
        with Connection(url) as connection:  # type: ignore[no-untyped-call]  # kombu ships no types
            connection.default_channel.queue_delete(queue)

    def time_submits(self, stage: Stage, executions: int, steps: int) -> float:
        """Submit one by one into a schema of its own, in which no worker looks."""
        with _open_submits(stage, executions, steps) as (engine, plan):
            begun = time.perf_counter()
            for _ in range(executions):
                engine.submit(plan)
            return time.perf_counter() - begun

    def time_bulk_submit(self, stage: Stage, executions: int, steps: int) -> float:
        """Submit all with one call."""
        submit_many = getattr(ExecutionEngine, "submit_many", None)
        if submit_many is None:
            raise NotThereError("this release has no submit_many")
        with _open_submits(stage, executions, steps) as (engine, plan):
            begun = time.perf_counter()
            ids = submit_many(engine, plan, [{}] * executions)
            seconds = time.perf_counter() - begun
            assert len(set(ids)) == executions
            return seconds


def await_workers(engine: ExecutionEngine, workers: Sequence[psutil.Process]) -> None:
    """Wait until every worker has signed on."""
    pids = {worker.pid for worker in workers}

    def have_signed_on() -> bool:
        return pids <= {worker.pid for worker in engine.list_workers()}

    wait_until(have_signed_on, what="workers to sign on", timeout_seconds=120)


@contextmanager
def _open_engine(settings: Settings) -> Iterator[tuple[ExecutionEngine, Database]]:
    assert settings.database_url is not None
    database = Database(settings.database_url, settings.schema)
    with ExecutionEngine(Installation(settings, None)) as engine:
        yield engine, database
    database.close()


@contextmanager
def _open_submits(
    stage: Stage, executions: int, steps: int
) -> Iterator[tuple[ExecutionEngine, Plan]]:
    settings = replace(stage.settings, schema=_SUBMIT, queue=_SUBMIT)
    assert settings.database_url is not None
    upgrade(settings.database_url, _SUBMIT)
    plan = build_chain(steps)
    with _open_engine(settings) as (engine, database), stage.open_redis() as client:
        engine.submit(plan)
        client.delete(_SUBMIT)
        yield engine, plan
        stored = database.query("SELECT count(*) AS n FROM {schema}.execution_steps")
        assert stored[0]["n"] == (executions + 1) * steps
        assert client.llen(_SUBMIT) == executions
        client.delete(_SUBMIT)
    with closing(stage.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA {_SUBMIT} CASCADE")


_ONE_POOL = ("long-chain", "fan-out", "submit", "hops", "half-load")

PLANS = CeleryPlans("plans", "celery-plans")
PLANS_THREADS = CeleryPlans(
    "plans-threads", "celery-plans, threads", pool="threads", leaves_out=_ONE_POOL
)
PLANS_SOLO = CeleryPlans(
    "plans-solo", "celery-plans, two solo workers", pool="solo", leaves_out=_ONE_POOL
)
PLANS_RABBITMQ = CeleryPlans(
    "plans-rabbitmq",
    "celery-plans, RabbitMQ",
    broker="rabbitmq",
    leaves_out=_ONE_POOL,
)
