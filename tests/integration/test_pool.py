"""Connections that threads share: how many, whose, and what becomes of broken ones."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from execution import ExecutionEngine, Plan, Settings, Step
from execution.database import Database, DatabaseUnavailableError
from execution.identity import draw_execution_id
from execution.installation import Installation
from execution.pool import DatabasePool
from execution.repository import ExecutionRepository
from tests.integration.test_database import backend_of
from tests.proxy import POSTGRES_ANSWER_END, Fate, Proxy
from tests.worker_process import ROOT

PLAN = Plan(
    "pooled", steps=[Step("a", action="test.nothing"), Step("b", action="test.nothing")]
)
SLOW = "SELECT pg_backend_pid() AS pid, pg_sleep(0.02)::text"
FORK = """
import os, sys
from execution import ExecutionEngine, Plan, Settings, Step
from execution.installation import Installation
from execution.filters import ExecutionFilter

url, broker, schema = sys.argv[1:]
settings = Settings(database_url=url, broker_url=broker, schema=schema)
plan = Plan("forked", steps=[Step("only", action="test.nothing")])
with ExecutionEngine(Installation(settings, None)) as engine:
    engine.submit(plan, tags=["parent"])
    child = os.fork()
    if child == 0:
        engine.submit(plan, tags=["child"])
        sys.exit()  # with all that an exit tears down
    assert os.waitpid(child, 0)[1] == 0
    engine.submit(plan, tags=["parent"])
    found = engine.list_executions(ExecutionFilter(plan="forked"))
print(*sorted(execution.tags[0] for execution in found.items))
"""


@pytest.fixture
def pool(settings: Settings) -> Iterator[DatabasePool]:
    """A pool of three."""
    opened = DatabasePool(
        str(settings.database_url), settings.schema, most_connections=3
    )
    yield opened
    opened.close()


@pytest.fixture
def proxy(settings: Settings) -> Iterator[Proxy]:
    """A way to PostgreSQL on which single answers can be lost."""
    place = parse_qs(urlsplit(str(settings.database_url)).query)["host"][0]
    (path,) = Path(place).glob(".s.PGSQL.*[0-9]")
    with Proxy(str(path), POSTGRES_ANSWER_END) as opened:
        yield opened


def url_of(proxy: Proxy) -> str:
    return f"postgresql://plans@127.0.0.1:{proxy.port}/plans"


def test_many_threads_share_a_few_connections(pool: DatabasePool) -> None:
    with ThreadPoolExecutor(12) as threads:
        pids = list(threads.map(lambda _: pool.query(SLOW)[0]["pid"], range(60)))

    assert 1 < len(set(pids)) <= 3


def test_a_pool_is_closed_while_others_take_its_connections(
    pool: DatabasePool,
) -> None:
    class Taken(list[Any]):
        def __len__(self) -> int:
            # so it was when it was looked at
            return 1

    pool._idle = Taken()

    pool.close()


def test_one_thread_needs_one_connection(pool: DatabasePool) -> None:
    assert len({backend_of(pool) for _ in range(5)}) == 1


def test_a_connection_that_was_cut_while_idle_is_noticed(
    pool: DatabasePool, database: Database
) -> None:
    before = backend_of(pool)
    database.query("SELECT pg_terminate_backend(%s, 5000)", (before,))

    assert backend_of(pool) != before


def test_a_refused_statement_costs_no_connection(pool: DatabasePool) -> None:
    before = backend_of(pool)
    with pytest.raises(Exception, match="division by zero"):
        pool.query("SELECT 1 / 0")

    assert backend_of(pool) == before


def test_a_call_whose_answer_is_lost_is_given_up_and_the_next_one_works(
    settings: Settings, proxy: Proxy
) -> None:
    remaining = [Fate.CUT_ANSWER]
    with closing(DatabasePool(url_of(proxy), settings.schema)) as pool:
        backend_of(pool)
        proxy.judge(lambda _: remaining.pop() if remaining else Fate.SPARE)
        with pytest.raises(DatabaseUnavailableError):
            backend_of(pool)

        assert backend_of(pool) > 0


def test_a_submit_is_one_round_trip(settings: Settings, proxy: Proxy) -> None:
    requests: list[bytes] = []

    def count(request: bytes) -> Fate:
        requests.append(request)
        return Fate.SPARE

    with closing(ExecutionRepository(url_of(proxy), settings.schema)) as repository:
        repository.submit(PLAN, {}, queue="q", key="warm")
        proxy.judge(count)
        repository.submit(PLAN, {}, queue="q", key="counted")

    # no BEGIN, no COMMIT, no ping; a farewell may follow
    assert [request[:1] for request in requests if request[:1] != b"X"] == [b"Q"]


@pytest.mark.parametrize("fate", [Fate.CUT_REQUEST, Fate.CUT_ANSWER])
def test_a_submit_that_is_cut_off_once_is_made_again(
    settings: Settings, proxy: Proxy, fate: Fate
) -> None:
    remaining = [fate]
    behind = Settings(
        database_url=url_of(proxy),
        broker_url=settings.broker_url,
        redis_url=settings.redis_url,
        schema=settings.schema,
        queue=settings.queue,
    )
    with ExecutionEngine(Installation(behind, None)) as engine:
        engine.submit(PLAN)
        proxy.judge(lambda _: remaining.pop() if remaining else Fate.SPARE)
        execution_id = engine.submit(PLAN, tags=[fate.name])
        tagged = [e.id for e in engine.list_executions().items if fate.name in e.tags]

    assert tagged == [execution_id]


def test_a_submit_that_is_made_again_is_sent_again(
    repository: ExecutionRepository,
) -> None:
    execution_id = draw_execution_id()
    first, again = (
        repository.submit(PLAN, {}, queue="q", execution_id=execution_id)
        for _ in range(2)
    )

    assert not again.is_new
    assert again.windows == first.windows != ()


def test_a_submit_of_what_runs_already_is_not_sent_again(
    repository: ExecutionRepository, database: Database
) -> None:
    execution_id = draw_execution_id()
    repository.submit(PLAN, {}, queue="q", execution_id=execution_id)
    database.query(
        "UPDATE {schema}.executions SET epoch = 2 WHERE id = %s RETURNING id",
        (execution_id,),
    )

    again = repository.submit(PLAN, {}, queue="q", execution_id=execution_id)

    assert again.windows == ()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_submits_on_a_connection_of_its_own(settings: Settings) -> None:
    command = [
        sys.executable,
        "-c",
        FORK,
        str(settings.database_url),
        str(settings.broker_url),
        settings.schema,
    ]
    finished = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60
    )

    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.split() == ["child", "parent", "parent"]


def test_threads_submit_through_one_engine(engine: ExecutionEngine) -> None:
    barrier = threading.Barrier(12)

    def submit(number: int) -> str:
        barrier.wait(60)
        return engine.submit(PLAN, tags=["threads", str(number)])

    with ThreadPoolExecutor(12) as threads:
        ids = list(threads.map(submit, range(12)))

    assert all(engine.get_status(i).tags[1] == str(n) for n, i in enumerate(ids))
