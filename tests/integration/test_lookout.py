"""Who waits in an event loop misses nothing in outages, and is told of failures."""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from execution import (
    ExecutionEngine,
    ExecutionService,
    ExecutionStatus,
    Plan,
    Settings,
    Step,
)
from execution.database import DatabaseUnavailableError
from execution.errors import DatabaseError
from execution.events import ExecutionEventEmitter
from execution.local import LocalStack
from execution.lookout import Lookout
from execution.results import Headway
from tests.polling import look_until
from tests.proxy import Proxy
from tests.worker_process import WorkerProcess

pytestmark = pytest.mark.anyio

MANY = 500


@pytest.fixture
def valkey(stack: LocalStack) -> Iterator[Proxy]:
    """What stands between a service and the events."""
    assert stack.valkey is not None
    with Proxy(str(stack.valkey.socket)) as proxy:
        yield proxy


@pytest.fixture
def postgres(stack: LocalStack) -> Iterator[Proxy]:
    """What stands between a service and its database."""
    assert stack.postgres is not None
    with Proxy(str(stack.postgres.socket)) as proxy:
        yield proxy


def hold(gate: Path, ledger: Path) -> Plan:
    with_ = {"gate": str(gate), "ledger": str(ledger)}
    return Plan("held", steps=[Step("hold", action="test.hold", with_=with_)])


async def test_a_look_that_fails_is_told_to_all_who_wait(settings: Settings) -> None:
    async def find(ids: Collection[str]) -> Mapping[str, Headway]:
        raise DatabaseError("PostgreSQL refused")

    async def wait() -> Headway:
        with lookout.watch("one") as watch:
            return await lookout.wait_until(watch, lambda headway: headway.has_ended)

    lookout = Lookout(find, None, "refused")
    lookout.open()

    outcomes = await asyncio.gather(wait(), wait(), return_exceptions=True)

    assert [str(outcome) for outcome in outcomes] == ["PostgreSQL refused"] * 2
    assert outcomes[0] is not outcomes[1]
    await lookout.close()


async def test_without_redis_an_end_is_seen_all_the_same(
    settings: Settings, shared_worker: WorkerProcess, tmp_path: Path
) -> None:
    nowhere = replace(settings, redis_url=f"unix://{tmp_path}/none.sock")
    async with ExecutionService.connect(nowhere) as service:
        plan = hold(tmp_path / "gate", tmp_path / "ledger")
        wait = asyncio.create_task(service.execute(plan, timeout_seconds=60))
        (tmp_path / "gate").touch()

        assert (await wait).is_success


async def test_hints_are_heard_again_after_redis_was_away(
    settings: Settings,
    valkey: Proxy,
    engine: ExecutionEngine,
    shared_worker: WorkerProcess,
    tmp_path: Path,
) -> None:
    behind = replace(settings, redis_url=f"redis://127.0.0.1:{valkey.port}/0")
    plan = hold(tmp_path / "gate", tmp_path / "ledger")
    execution_id = engine.submit(plan)
    async with ExecutionService.connect(behind) as service:
        numbers: list[int] = []

        async def follow() -> None:
            async for update in service.monitor(execution_id):
                numbers.extend(event.seq for event in update.events)

        following = asyncio.create_task(follow())
        await look_until(lambda: numbers, what="the first update")
        for _ in range(3):
            valkey.cut_all()
            await asyncio.sleep(0)
        valkey.refuse()
        (tmp_path / "gate").touch()
        valkey.admit()
        async with asyncio.timeout(60):
            await following

    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) == engine.get_status(execution_id).last_seq


async def test_an_outage_of_postgresql_is_waited_out(
    settings: Settings,
    postgres: Proxy,
    engine: ExecutionEngine,
    shared_worker: WorkerProcess,
    tmp_path: Path,
) -> None:
    url = f"postgresql://plans@127.0.0.1:{postgres.port}/plans"
    behind = replace(settings, database_url=url)
    execution_id = engine.submit(hold(tmp_path / "gate", tmp_path / "ledger"))
    async with ExecutionService.connect(behind) as service:
        waits = [asyncio.create_task(service.wait(execution_id)) for _ in range(20)]
        await service.get_status(execution_id)
        postgres.refuse()
        (tmp_path / "gate").touch()
        with pytest.raises(DatabaseUnavailableError):
            await service.wait(execution_id, timeout_seconds=0.3)
        postgres.admit()

        async with asyncio.timeout(60):
            results = await asyncio.gather(*waits)

    assert all(result.is_success for result in results)


async def test_hints_for_many_are_followed_by_a_few_looks(settings: Settings) -> None:
    running, ended = (
        Headway(ExecutionStatus.RUNNING, 3),
        Headway(ExecutionStatus.COMPLETED, 4),
    )
    there = {str(number): running for number in range(MANY)}
    looks: list[int] = []

    async def find(ids: Collection[str]) -> Mapping[str, Headway]:
        looks.append(len(ids))
        await asyncio.sleep(0.01)
        return {one: there[one] for one in ids}

    async def wait(one: str) -> Headway:
        with lookout.watch(one, for_end=True) as watch:
            return await lookout.wait_until(watch, lambda headway: headway.has_ended)

    lookout = Lookout(find, settings.events_url, "many")
    lookout.open()
    waits = [asyncio.create_task(wait(one)) for one in there]
    await look_until(lambda: sum(looks) >= 2 * MANY, what="all to be looked at twice")
    emitter = ExecutionEventEmitter(settings.events_url, "many")
    for one in there:
        there[one] = ended
        emitter.emit(one, 4, is_last=True)
    emitter.close()

    assert await asyncio.gather(*waits) == [ended] * MANY
    assert len(looks) < MANY / 10
    await lookout.close()


async def test_who_leaves_while_redis_is_called_leaves_nothing_behind(
    settings: Settings,
) -> None:
    async def find(ids: Collection[str]) -> Mapping[str, Headway]:
        return dict.fromkeys(ids, Headway(ExecutionStatus.RUNNING, 3))

    for turns in range(30):
        lookout = Lookout(find, settings.events_url, "leaving")
        lookout.open()
        with lookout.watch("one"):
            # so that each time another moment of the connecting is interrupted
            for _ in range(turns):
                await asyncio.sleep(0)
        await asyncio.wait_for(lookout.close(), 10)

    left = {task.get_name() for task in asyncio.all_tasks()}
    assert not {name for name in left if name.startswith("plans-")}
