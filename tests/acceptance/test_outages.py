"""Servers come and go; the same two workers go on, and nothing is lost or told twice.

The workers of this module are started once and live through every outage in it.
"""

import random
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from execution import ExecutionEngine, Plan, Settings, Step
from execution.errors import PlansError
from execution.installation import Installation
from execution.local import LocalStack
from execution.schema import upgrade
from execution.states import ExecutionStatus
from tests.conftest import remove_stack
from tests.outages import (
    Cuts,
    World,
    check_ended_once,
    count_runs,
    let_pass,
    read_lines,
    run_as_superuser,
    under_load,
    work_plan,
)
from tests.polling import wait_until
from tests.proxy import POSTGRES_ANSWER_END, Fate, Proxy, spare
from tests.worker_process import WorkerProcess

LEASE_SECONDS = 8.0
"""So long that neither worker is taken for dead because the machine is busy."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Servers and workers of this module's own."""
    home = Path(tempfile.mkdtemp(prefix="plans-outages-"))
    stack = LocalStack.start(home)
    assert stack.postgres is not None
    assert stack.valkey is not None
    direct = Settings(
        database_url=stack.urls.database_url,
        broker_url=stack.urls.broker_url,
        redis_url=stack.urls.redis_url,
        queue="outages",
        imports=("tests.actions",),
        lease_seconds=LEASE_SECONDS,
    )
    upgrade(str(direct.database_url), direct.schema)
    with ExitStack() as exits:
        postgres = exits.enter_context(
            Proxy(str(stack.postgres.socket), POSTGRES_ANSWER_END)
        )
        valkey = exits.enter_context(Proxy(str(stack.valkey.socket)))
        behind = replace(
            direct,
            database_url=f"postgresql://plans@127.0.0.1:{postgres.port}/plans",
            broker_url=f"redis://127.0.0.1:{valkey.port}/0",
            redis_url=f"redis://127.0.0.1:{valkey.port}/0",
        )
        engine = exits.enter_context(ExecutionEngine(Installation(direct, None)))
        with ThreadPoolExecutor() as threads:
            starts = [
                threads.submit(WorkerProcess.start, behind, slots=2) for _ in range(2)
            ]
        workers = [exits.enter_context(start.result()) for start in starts]
        made = World(home, stack, postgres, valkey, behind, engine, workers)
        yield made
        for worker in workers:
            # together, for each takes its time
            worker.process.terminate()
    made.stack.close()
    remove_stack(made.stack, home)


@pytest.fixture(autouse=True)
def same_workers(world: World) -> Iterator[None]:
    """Check after each test that the workers are those that were started."""
    # a fault of one test is not that of those which follow
    before = {worker.log: len(worker.log.read_text()) for worker in world.workers}
    yield
    for worker in world.workers:
        assert worker.process.poll() is None, worker.log.read_text()[-5000:]
        told = worker.log.read_text()[before[worker.log] :]
        assert "registering anew" not in told


def test_a_crash_of_postgresql_loses_nothing(world: World, ledger: Path) -> None:
    with under_load(world, ledger):
        world.kill_postgres()
        world.bring_back()


def test_nobody_is_dead_after_an_outage_longer_than_the_lease(
    world: World, ledger: Path
) -> None:
    with under_load(world, ledger):
        world.postgres.refuse()
        let_pass(1.5 * LEASE_SECONDS)
        world.postgres.admit()

    assert world.engine.count_living_workers() == 2


def test_a_database_that_takes_nobody_is_waited_for(world: World, ledger: Path) -> None:
    with under_load(world, ledger):
        run_as_superuser(
            world,
            "ALTER DATABASE plans ALLOW_CONNECTIONS false",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'celery-plans'",
        )
        let_pass(1)
        run_as_superuser(world, "ALTER DATABASE plans ALLOW_CONNECTIONS true")


def test_a_database_that_turns_read_only_is_waited_for(
    world: World, ledger: Path
) -> None:
    with under_load(world, ledger):
        run_as_superuser(
            world,
            "ALTER SYSTEM SET default_transaction_read_only = on",
            "SELECT pg_reload_conf()",
        )
        let_pass(1)
        run_as_superuser(
            world,
            "ALTER SYSTEM RESET default_transaction_read_only",
            "SELECT pg_reload_conf()",
        )


def test_answers_that_are_lost_in_mid_commit_are_asked_for_again(
    world: World, ledger: Path
) -> None:
    cuts = Cuts(random.Random(20))
    world.postgres.judge(cuts.decide)
    try:
        with under_load(world, ledger):
            wait_until(lambda: cuts.count >= 20, what="twenty cuts")
            world.postgres.judge(spare)
    finally:
        world.postgres.judge(spare)


def test_a_submit_whose_commit_is_unknown_can_be_repeated(
    world: World, ledger: Path
) -> None:
    remaining = [Fate.CUT_ANSWER, Fate.CUT_REQUEST, Fate.CUT_ANSWER]

    def decide(request: bytes) -> Fate:
        is_submit = request.startswith(b"Q") and b"submit_execution" in request
        return remaining.pop() if is_submit and remaining else Fate.SPARE

    plan = work_plan(ledger)
    with ExecutionEngine(Installation(world.settings, None)) as engine:
        world.postgres.judge(decide)
        execution_id = submit_until_answered(engine, plan, "cut")
        world.postgres.judge(spare)

        assert engine.submit(plan, idempotency_key="cut") == execution_id

    assert not remaining
    check_ended_once(world.engine, [execution_id], ledger)


def submit_until_answered(engine: ExecutionEngine, plan: Plan, key: str) -> str:
    """Do what the docs tell callers: ask again under the same key."""

    def submit() -> str | None:
        try:
            return engine.submit(plan, idempotency_key=key)
        except PlansError:
            return None

    return str(wait_until(submit, what="a submit to be answered"))


def test_a_flush_of_redis_under_load_loses_nothing(world: World, ledger: Path) -> None:
    with under_load(world, ledger) as ids, world.connect_valkey() as client:
        for _ in range(3):
            client.flushall()
            # if all have ended meanwhile, no more will come
            more = min(len(read_lines(ledger)) + 1, count_runs(ids))
            wait_until(lambda n=more: len(read_lines(ledger)) >= n, what="more steps")  # type: ignore[misc]  # bound to this round


def test_a_redis_that_comes_back_empty_loses_nothing(
    world: World, ledger: Path
) -> None:
    with under_load(world, ledger):
        world.kill_valkey()
        world.bring_back()


def test_an_absent_broker_holds_up_no_submit(world: World, ledger: Path) -> None:
    plan = work_plan(ledger)
    with ExecutionEngine(Installation(world.settings, None)) as engine:
        engine.submit(plan)
        world.broker.refuse()
        execution_ids = []
        took_seconds = []
        for _ in range(5):
            begun = time.monotonic()
            execution_ids.append(engine.submit(plan))
            took_seconds.append(time.monotonic() - begun)
        let_pass(1.25 * LEASE_SECONDS)
        world.broker.admit()

    check_ended_once(world.engine, execution_ids, ledger)
    # one may be slow because the machine is busy; if they waited, all would
    assert min(took_seconds) < 1


def test_a_redis_that_is_full_loses_nothing(world: World, ledger: Path) -> None:
    plan = work_plan(ledger)
    with world.connect_valkey() as client:
        client.config_set("maxmemory", 1)
        execution_ids = [world.engine.submit(plan) for _ in range(3)]
        let_pass(1)
        client.config_set("maxmemory", 0)

    check_ended_once(world.engine, execution_ids, ledger)


def test_who_waits_lives_through_an_outage(world: World, ledger: Path) -> None:
    inputs = {"ledger": str(ledger), "seconds": 1}
    plan = Plan("awaited", steps=[Step("s", action="test.work", with_=inputs)])
    with (
        ExecutionEngine(Installation(world.settings, None)) as engine,
        ThreadPoolExecutor(2) as pool,
    ):
        execution_id = engine.submit(plan)
        waiting = pool.submit(engine.wait, execution_id, timeout_seconds=60)
        watching = pool.submit(lambda: list(engine.monitor(execution_id)))
        wait_until(lambda: read_lines(ledger), what="the step to run")
        world.postgres.refuse()
        begun = time.monotonic()
        wait_until(lambda: time.monotonic() > begun + 1, what="some failed looks")
        world.postgres.admit()

        assert waiting.result().is_success
        events = [event for update in watching.result() for event in update.events]

    assert [event.seq for event in events] == list(range(1, len(events) + 1))


def test_who_begins_to_wait_in_an_outage_waits_it_out(
    world: World, ledger: Path
) -> None:
    with (
        ExecutionEngine(Installation(world.settings, None)) as engine,
        ThreadPoolExecutor(2) as pool,
    ):
        execution_id = engine.submit(work_plan(ledger))
        world.postgres.refuse()
        waiting = pool.submit(engine.wait, execution_id, timeout_seconds=60)
        watching = pool.submit(lambda: list(engine.monitor(execution_id)))
        begun = time.monotonic()
        wait_until(lambda: time.monotonic() > begun + 1, what="some failed looks")
        world.postgres.admit()

        assert waiting.result().is_success
        assert watching.result()[-1].status is ExecutionStatus.COMPLETED


def test_a_worker_stops_soon_while_postgresql_is_away(
    world: World, ledger: Path
) -> None:
    settings = replace(world.settings, queue="stopping")
    plan = Plan(
        "stopped",
        steps=[
            Step(
                "s",
                action="test.work",
                queue="stopping",
                with_={"ledger": str(ledger), "seconds": 0.3},
            )
        ],
    )
    with WorkerProcess.start(settings, slots=1) as worker:
        execution_id = world.engine.submit(plan)
        wait_until(lambda: read_lines(ledger), what="the step to run")
        world.postgres.refuse()
        worker.process.terminate()
        # as long as PostgreSQL is away
        worker.process.wait(60)
        world.postgres.admit()

    world.engine.cancel(execution_id, by="test", reason="nobody serves its queue now")
