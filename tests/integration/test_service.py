"""The engine with `await`: one event loop, few threads, one connection for hints."""

import asyncio
import gc
import inspect
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints
from uuid import UUID

import psutil
import pytest
import redis
import sqlalchemy as sa

from execution import (
    ExecutionEngine,
    ExecutionNotFoundError,
    ExecutionService,
    ExecutionStatus,
    ExecutionUpdate,
    ParameterError,
    Plan,
    Settings,
    Step,
)
from execution.database import name_driver
from execution.errors import (
    CursorError,
    InvalidExecutionStateError,
    ServiceClosedError,
    SettingsError,
)
from execution.filters import ExecutionFilter
from execution.identity import draw_execution_id
from execution.pool import MOST_CONNECTIONS
from tests.polling import look_until
from tests.worker_process import WorkerProcess

pytestmark = pytest.mark.anyio

PLAN = Plan("quick", steps=[Step("only", action="test.echo", with_={"value": 7})])
MANY = 500
SOON = 60.0


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[ExecutionService]:
    """A service of the test's own."""
    async with ExecutionService.connect(settings) as opened:
        yield opened


@pytest.fixture(scope="module")
def spectator(settings: Settings) -> Iterator[redis.Redis]:
    """Who asks Redis what it sees."""
    assert settings.redis_url is not None
    with closing(redis.Redis.from_url(settings.redis_url)) as client:
        yield client


def hold_plan(gate: Path, ledger: Path) -> Plan:
    """A plan whose first step ends when the gate is there."""
    with_ = {"gate": str(gate), "ledger": str(ledger)}
    return Plan("held", steps=[Step("hold", action="test.hold", with_=with_)])


def list_channels(spectator: redis.Redis) -> set[str]:
    """Return the ids of the executions whose hints somebody listens to."""
    names = spectator.pubsub_channels("plans:*:events:*")
    return {str(name).rstrip("'").rpartition(":")[2] for name in names}


def list_tasks() -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks()}


async def test_what_is_submitted_runs_and_is_waited_for(
    service: ExecutionService, shared_worker: WorkerProcess
) -> None:
    execution_id = await service.submit(PLAN, tags=["async"])

    result = await service.wait(execution_id, timeout_seconds=60)

    assert result.unwrap() == 7
    assert (await service.get_status(execution_id)).tags == ("async",)


async def test_execute_submits_and_waits(
    service: ExecutionService, shared_worker: WorkerProcess
) -> None:
    result = await service.execute(PLAN, timeout_seconds=60, idempotency_key="once")

    again = await service.execute(PLAN, timeout_seconds=60, idempotency_key="once")

    assert result.is_success
    assert again.execution_id == result.execution_id


async def test_monitor_tells_every_event_once_and_in_order(
    service: ExecutionService, shared_worker: WorkerProcess
) -> None:
    execution_id = await service.submit(PLAN)

    updates = [update async for update in service.monitor(execution_id)]

    numbers = [event.seq for update in updates for event in update.events]
    assert numbers == list(range(1, len(numbers) + 1))
    assert updates[-1].status is ExecutionStatus.COMPLETED
    assert list(await service.list_events(execution_id)) == [
        event for update in updates for event in update.events
    ]


async def test_monitor_goes_on_after_the_number_that_it_is_given(
    service: ExecutionService, shared_worker: WorkerProcess
) -> None:
    execution_id = (await service.execute(PLAN, timeout_seconds=60)).execution_id
    last_seq = (await service.get_status(execution_id)).last_seq

    rest = [u async for u in service.monitor(execution_id, after=last_seq - 2)]
    nothing = [u async for u in service.monitor(execution_id, after=last_seq)]

    assert [e.seq for u in rest for e in u.events] == [last_seq - 1, last_seq]
    assert nothing == []


async def test_many_wait_with_few_threads_and_one_connection(
    settings: Settings, spectator: redis.Redis
) -> None:
    def count_listeners() -> int:
        return len(spectator.client_list(_type="pubsub"))

    # served by nobody until all wait
    crowd = replace(settings, queue="crowd")
    threads, listeners = threading.active_count(), count_listeners()
    async with ExecutionService.connect(crowd) as service, asyncio.TaskGroup() as group:
        ids = await service.submit_many(PLAN, [{}] * MANY)
        waits = [group.create_task(service.wait(one)) for one in ids]
        views = [group.create_task(list_numbers(service, one)) for one in ids]
        await look_until(
            lambda: list_channels(spectator) == set(ids), what="all to listen"
        )
        assert count_listeners() == listeners + 1
        assert threading.active_count() <= threads + MOST_CONNECTIONS + 1
        with WorkerProcess.start(crowd, slots=2):
            results = await asyncio.gather(*waits)
            seen = await asyncio.gather(*views)
        await look_until(lambda: not list_channels(spectator), what="nobody to listen")

    assert all(result.is_success for result in results)
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in seen)


async def list_numbers(service: ExecutionService, execution_id: str) -> list[int]:
    return [e.seq async for u in service.monitor(execution_id) for e in u.events]


async def test_a_wait_ends_at_its_time_and_leaves_nothing_behind(
    settings: Settings, spectator: redis.Redis
) -> None:
    unserved = replace(settings, queue="nobody")
    async with ExecutionService.connect(unserved) as service:
        execution_id = await service.submit(PLAN)

        with pytest.raises(TimeoutError, match=f"{execution_id} is still pending"):
            await service.wait(execution_id, timeout_seconds=0.2)

        await look_until(lambda: not list_channels(spectator), what="nobody to listen")
        await service.cancel(execution_id)


async def test_a_wait_without_time_still_sees_an_end(
    service: ExecutionService, shared_worker: WorkerProcess
) -> None:
    execution_id = (await service.execute(PLAN, timeout_seconds=60)).execution_id

    result = await service.wait(execution_id, timeout_seconds=0)

    assert result.is_success


async def test_a_cancelled_wait_leaves_no_subscription_behind(
    settings: Settings, spectator: redis.Redis
) -> None:
    unserved = replace(settings, queue="nobody")
    async with ExecutionService.connect(unserved) as service:
        execution_id = await service.submit(PLAN)
        waits = [
            asyncio.create_task(service.wait(execution_id)),
            asyncio.create_task(list_numbers(service, execution_id)),
        ]
        await look_until(lambda: list_channels(spectator), what="both to listen")

        for wait in waits:
            wait.cancel()

        assert [
            type(e) for e in await asyncio.gather(*waits, return_exceptions=True)
        ] == [asyncio.CancelledError] * 2
        await look_until(lambda: not list_channels(spectator), what="nobody to listen")
        await service.cancel(execution_id)


async def test_whoever_leaves_a_monitor_listens_no_longer(
    settings: Settings, spectator: redis.Redis
) -> None:
    unserved = replace(settings, queue="nobody")
    async with ExecutionService.connect(unserved) as service:
        execution_id = await service.submit(PLAN)

        async for _ in service.monitor(execution_id):
            break

        await look_until(lambda: not list_channels(spectator), what="nobody to listen")
        await service.cancel(execution_id)


@pytest.mark.parametrize("execution_id", [str(UUID(int=7)), "no id at all"])
async def test_what_is_not_there_is_not_waited_for(
    service: ExecutionService, execution_id: str
) -> None:
    for call in (service.wait, partial(list_numbers, service), service.get_status):
        with pytest.raises(ExecutionNotFoundError, match=execution_id):
            await call(execution_id)


async def test_an_execution_that_is_deleted_is_watched_no_longer(
    service: ExecutionService, shared_worker: WorkerProcess
) -> None:
    execution_id = (await service.execute(PLAN, timeout_seconds=60)).execution_id
    views = service.monitor(execution_id)
    await anext(views)

    assert await service.delete_execution(execution_id)

    assert [update async for update in views] == []
    with pytest.raises(ExecutionNotFoundError):
        await service.wait(execution_id)


async def test_owners_steer_an_execution(settings: Settings) -> None:
    unserved = replace(settings, queue="nobody")
    async with ExecutionService.connect(unserved) as service:
        execution_id = await service.submit(PLAN)

        states = [
            await service.pause(execution_id, by="ann", reason="lunch"),
            await service.resume(execution_id),
            await service.cancel(execution_id),
        ]

        assert states[:2] == [ExecutionStatus.PAUSED, ExecutionStatus.RUNNING]
        assert (await service.wait(execution_id)).status is ExecutionStatus.CANCELLED
        history = await service.get_state_history(execution_id)
        assert "ann" in {change.by for change in history}


async def test_errors_are_those_of_the_engine(service: ExecutionService) -> None:
    plan = Plan.from_mapping(
        {
            "format": 1,
            "name": "picky",
            "parameters": {"size": {"type": "integer"}},
            "steps": [{"id": "only", "action": "test.nothing"}],
        }
    )

    with pytest.raises(ParameterError, match="size"):
        await service.submit(plan, {"size": "large"})


async def test_a_submit_joins_a_transaction_of_the_callers(
    settings: Settings, service: ExecutionService
) -> None:
    database = sa.create_engine(name_driver(str(settings.database_url)))
    with database.connect() as connection:
        execution_id = await service.submit(PLAN, transaction=connection)
        with pytest.raises(ExecutionNotFoundError):
            await service.get_status(execution_id)
        connection.rollback()
    database.dispose()

    with pytest.raises(ExecutionNotFoundError):
        await service.get_status(execution_id)


async def test_a_cancelled_submit_is_whole_or_not_there_and_can_be_repeated(
    service: ExecutionService, shared_worker: WorkerProcess
) -> None:
    ids = [draw_execution_id() for _ in range(20)]
    submits = [asyncio.create_task(service.submit(PLAN, execution_id=i)) for i in ids]
    for turns, submit in enumerate(submits):
        for _ in range(turns):
            await asyncio.sleep(0)
        submit.cancel()
    await asyncio.gather(*submits, return_exceptions=True)

    for execution_id in ids:
        assert await service.submit(PLAN, execution_id=execution_id) == execution_id
        assert (await service.wait(execution_id, timeout_seconds=60)).is_success


async def test_a_service_that_is_closed_leaves_nothing_behind(
    settings: Settings, spectator: redis.Redis, shared_worker: WorkerProcess
) -> None:
    async with ExecutionService.connect(settings) as warm:
        # what the process keeps for all engines: the connections to the broker
        await warm.execute(PLAN, timeout_seconds=60)
    tasks, threads = list_tasks(), threading.active_count()
    process = psutil.Process()
    gc.collect()
    files = process.num_fds()

    async with ExecutionService.connect(settings) as service:
        await service.execute(PLAN, timeout_seconds=60)
        execution_id = await service.submit(PLAN, execution_id=draw_execution_id())
        with suppress(InvalidExecutionStateError):
            # hints in a row, of which all but the first are sent by a thread
            await service.pause(execution_id)
            await service.resume(execution_id)
        await asyncio.gather(*(service.list_workers() for _ in range(20)))
        service.background.start(asyncio.sleep(60))

    assert list_tasks() == tasks
    assert threading.active_count() == threads
    assert process.num_fds() <= files


async def test_who_waits_when_the_service_is_closed_is_told_so(
    settings: Settings,
) -> None:
    unserved = replace(settings, queue="nobody")
    async with ExecutionService.connect(unserved) as service:
        execution_id = await service.submit(PLAN)
        waits = [
            asyncio.create_task(service.wait(execution_id)),
            asyncio.create_task(list_numbers(service, execution_id)),
        ]
        await asyncio.sleep(0)

    outcomes = await asyncio.gather(*waits, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [ServiceClosedError] * 2


async def test_a_service_is_used_only_while_it_is_open(settings: Settings) -> None:
    service = ExecutionService.connect(settings)
    with pytest.raises(ServiceClosedError, match="async with"):
        await service.list_executions()
    async with service:
        await service.list_executions()
    for call in (service.list_executions, partial(service.wait, draw_execution_id())):
        with pytest.raises(ServiceClosedError, match="async with"):
            await call()
    await service.close()


async def test_a_service_that_cannot_connect_says_why_and_ends_its_threads() -> None:
    threads = threading.active_count()

    with pytest.raises(SettingsError, match="PLANS_DATABASE_URL"):
        await ExecutionService.connect(Settings()).open()

    assert threading.active_count() == threads


async def test_an_opening_that_is_cancelled_leaves_nothing_open(
    settings: Settings,
) -> None:
    threads = threading.active_count()
    opening = asyncio.create_task(ExecutionService.connect(settings).open())
    await asyncio.sleep(0)

    opening.cancel()

    with pytest.raises(asyncio.CancelledError):
        await opening
    assert threading.active_count() == threads


async def test_all_executions_are_watched_until_the_reader_leaves(
    service: ExecutionService, shared_worker: WorkerProcess
) -> None:
    threads = threading.active_count()
    tagged = ExecutionFilter(tag="overseen")
    ids = {await service.submit(PLAN, tags=["overseen"]) for _ in range(3)}
    seen: dict[str, list[int]] = {one: [] for one in ids}
    ended = set()

    async with aclosing(service.monitor_all(tagged)) as updates:
        async for update in updates:
            seen[update.execution_id] += [event.seq for event in update.events]
            if update.status is ExecutionStatus.COMPLETED:
                ended.add(update.execution_id)
            if ended == ids:
                break

    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in seen.values())
    await look_until(
        lambda: threading.active_count() <= threads + MOST_CONNECTIONS,
        what="the thread that read to end",
    )
    assert "plans-subscription" not in {one.name for one in threading.enumerate()}


async def test_a_callback_is_called_in_the_event_loop(
    service: ExecutionService, shared_worker: WorkerProcess
) -> None:
    updates: asyncio.Queue[ExecutionUpdate] = asyncio.Queue()
    callers = set()

    async def call_back(update: ExecutionUpdate) -> None:
        callers.add(threading.get_ident())
        await updates.put(update)

    execution_id = await service.submit(PLAN)
    subscription = await service.subscribe(execution_id, call_back)
    while (await updates.get()).status is not ExecutionStatus.COMPLETED:
        pass
    await service.unsubscribe(subscription)

    assert callers == {threading.get_ident()}


async def test_who_watches_all_when_the_service_is_closed_is_told_so(
    settings: Settings, shared_worker: WorkerProcess
) -> None:
    async with ExecutionService.connect(settings) as service:
        await service.execute(PLAN, timeout_seconds=60)
        updates = service.monitor_all()
        await anext(updates)

    with pytest.raises(ServiceClosedError):
        async for _ in updates:
            pass
    assert "plans-subscription" not in {one.name for one in threading.enumerate()}


async def test_a_reader_who_has_much_ahead_holds_no_close_up(
    settings: Settings,
) -> None:
    unserved = replace(settings, queue="nobody")
    tagged = ExecutionFilter(tag="much ahead")
    async with ExecutionService.connect(unserved) as service:
        for _ in range(5):
            await service.submit(PLAN, tags=["much ahead"])
        updates = service.monitor_all(tagged)
        await anext(updates)
        (ahead,) = service._readers
        await look_until(lambda: ahead._putters, what="a thread that waits")  # type: ignore[attr-defined]  # how asyncio calls them

        async with asyncio.timeout(SOON):
            await service.close()

    assert "plans-subscription" not in {one.name for one in threading.enumerate()}
    with pytest.raises(ServiceClosedError):
        async for _ in updates:
            pass


async def test_a_refused_cursor_leaves_nothing_behind(
    service: ExecutionService,
) -> None:
    with pytest.raises(CursorError):
        await anext(service.monitor_all(after="none"))

    assert not service._readers


@pytest.mark.parametrize("end", ["unsubscribe", "close"])
async def test_a_callback_can_end_what_calls_it(settings: Settings, end: str) -> None:
    unserved = replace(settings, queue="nobody")
    begun: asyncio.Queue[str] = asyncio.Queue()
    ended = asyncio.Event()

    async with ExecutionService.connect(unserved) as service:

        async def call_back(update: ExecutionUpdate) -> None:
            if end == "close":
                await service.close()
            else:
                await service.unsubscribe(await begun.get())
            ended.set()

        execution_id = await service.submit(PLAN)
        begun.put_nowait(await service.subscribe(execution_id, call_back))
        async with asyncio.timeout(SOON):
            await ended.wait()

    await look_until(
        lambda: "plans-subscription" not in {one.name for one in threading.enumerate()},
        what="the thread that called back to end",
    )


async def test_a_service_that_is_open_is_not_opened_again(settings: Settings) -> None:
    tasks = list_tasks()
    service = await ExecutionService.connect(settings).open()
    engine = service._engine

    async with service as same:
        assert same is service
        assert service._engine is engine

    assert list_tasks() == tasks


def list_methods(kind: type) -> dict[str, Any]:
    return {
        name: method
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


@pytest.mark.parametrize("name", sorted(list_methods(ExecutionEngine)))
def test_the_service_has_every_method_of_the_engine(name: str) -> None:
    ours = list_methods(ExecutionService).get(name)
    theirs = list_methods(ExecutionEngine)[name]

    assert ours is not None, "it has to be added to ExecutionService"
    assert list(inspect.signature(ours).parameters.values()) == list(
        inspect.signature(theirs).parameters.values()
    )
    told, tells = (get_type_hints(method)["return"] for method in (theirs, ours))
    if get_origin(told) is Iterator:
        assert (get_origin(tells), get_args(tells)[:1]) == (
            AsyncGenerator,
            get_args(told),
        )
    else:
        assert inspect.iscoroutinefunction(ours)
        assert tells == told
