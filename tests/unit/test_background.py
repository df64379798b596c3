"""Coroutines in the caller's own loop: bounded, remembered, never left behind."""

import asyncio
import gc
import inspect
import logging
from collections.abc import AsyncIterator

import pytest

from execution import BackgroundTaskManager
from execution.background import BackgroundTaskState
from execution.errors import (
    BackgroundTaskLimitError,
    BackgroundTaskNotFoundError,
    DatabaseError,
    ErrorCode,
    ServiceClosedError,
)
from tests.polling import look_until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def manager() -> AsyncIterator[BackgroundTaskManager]:
    """Lets two run and two wait, and remembers three."""
    async with BackgroundTaskManager(
        most_running=2, most_waiting=2, most_kept=3
    ) as opened:
        yield opened


async def answer(value: object = 42) -> object:
    return value


async def fail() -> None:
    raise LookupError("no such cache")


async def hang() -> None:
    await asyncio.Event().wait()


async def await_begin(manager: BackgroundTaskManager, task_id: str) -> None:
    def has_begun() -> bool:
        return manager.get(task_id).state is not BackgroundTaskState.WAITING

    await look_until(has_begun, what="the task to begin")


async def test_a_coroutine_runs_and_its_result_is_kept(
    manager: BackgroundTaskManager,
) -> None:
    task_id = manager.start(answer(), name="warm the cache")
    begun = manager.get(task_id)

    ended = await manager.wait(task_id)

    assert (begun.state, begun.has_ended) == (BackgroundTaskState.WAITING, False)
    assert (ended.state, ended.result) == (BackgroundTaskState.COMPLETED, 42)
    assert ended.name == "warm the cache"
    assert ended.created_at <= (ended.started_at or ended.created_at)
    assert ended.has_ended
    assert ended == manager.get(task_id) == await manager.wait(task_id)


def test_without_an_event_loop_nothing_is_begun_or_remembered() -> None:
    manager = BackgroundTaskManager()
    work = answer()

    with pytest.raises(RuntimeError, match="no running event loop"):
        manager.start(work)

    assert manager.list_tasks() == ()
    assert inspect.getcoroutinestate(work) == inspect.CORO_CLOSED


async def test_a_function_makes_its_coroutine_when_its_turn_comes(
    manager: BackgroundTaskManager,
) -> None:
    task_id = manager.start(answer)

    assert (await manager.wait(task_id)).result == 42
    assert manager.get(task_id).name == "answer"


async def test_a_failure_is_kept_and_logged_once(
    manager: BackgroundTaskManager, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        task_id = manager.start(fail())
        task = await manager.wait(task_id)
        gc.collect()

    assert task.state is BackgroundTaskState.FAILED
    assert task.error is not None
    assert task.error.code is ErrorCode.EXECUTION
    assert task.error.message == "LookupError: no such cache"
    [record] = caplog.records
    assert record.getMessage() == "background task failed"
    assert vars(record)["task_id"] == task_id
    assert record.exc_info is not None


async def test_an_error_of_ours_keeps_its_code(manager: BackgroundTaskManager) -> None:
    async def expire() -> None:
        raise DatabaseError("PostgreSQL is gone")

    task = await manager.wait(manager.start(expire))

    assert task.error is not None
    assert task.error.code is ErrorCode.DATABASE


async def test_more_than_may_run_wait_for_their_turn(
    manager: BackgroundTaskManager,
) -> None:
    running = [manager.start(hang) for _ in range(2)]
    third = manager.start(answer)
    for one in running:
        await await_begin(manager, one)
    assert manager.get(third).state is BackgroundTaskState.WAITING

    await manager.cancel(running[0])

    assert (await manager.wait(third)).state is BackgroundTaskState.COMPLETED
    assert manager.get(running[1]).state is BackgroundTaskState.RUNNING


async def test_more_than_may_wait_are_refused(manager: BackgroundTaskManager) -> None:
    for _ in range(4):
        manager.start(hang)

    with pytest.raises(BackgroundTaskLimitError, match="4 background tasks"):
        manager.start(answer())

    assert len(manager.list_tasks()) == 4


async def test_a_cancel_returns_when_the_task_has_ended(
    manager: BackgroundTaskManager,
) -> None:
    has_cleaned_up = False

    async def clean_up() -> None:
        nonlocal has_cleaned_up
        try:
            await hang()
        finally:
            await asyncio.sleep(0)
            has_cleaned_up = True

    task_id = manager.start(clean_up)
    await await_begin(manager, task_id)

    task = await manager.cancel(task_id)

    assert has_cleaned_up
    assert task.state is BackgroundTaskState.CANCELLED
    assert await manager.cancel(task_id) == task


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_a_coroutine_that_never_began_is_closed_without_a_word(
    manager: BackgroundTaskManager, turns: int
) -> None:
    # a coroutine that nobody awaits is warned of, which fails this test
    for _ in range(2):
        manager.start(hang)
    task_id = manager.start(answer())
    for _ in range(turns):
        await asyncio.sleep(0)

    task = await manager.cancel(task_id)
    gc.collect()

    assert (task.state, task.started_at) == (BackgroundTaskState.CANCELLED, None)


async def test_one_that_does_not_obey_may_complete(
    manager: BackgroundTaskManager,
) -> None:
    async def shrug() -> str:
        try:
            await hang()
        except asyncio.CancelledError:
            return "done all the same"
        raise AssertionError

    task_id = manager.start(shrug)
    await await_begin(manager, task_id)

    task = await manager.cancel(task_id)

    assert task.state is BackgroundTaskState.COMPLETED
    assert task.result == "done all the same"


async def test_the_oldest_that_ended_are_forgotten(
    manager: BackgroundTaskManager,
) -> None:
    ids = []
    for _ in range(5):
        ids.append(manager.start(answer))
        await manager.wait(ids[-1])

    assert [task.id for task in manager.list_tasks()] == ids[2:]
    with pytest.raises(BackgroundTaskNotFoundError, match="the last 3"):
        manager.get(ids[0])


async def test_clear_forgets_what_has_ended_and_nothing_else(
    manager: BackgroundTaskManager,
) -> None:
    ended, running = manager.start(answer), manager.start(hang)
    await manager.wait(ended)

    assert manager.clear() == 1

    assert [task.id for task in manager.list_tasks()] == [running]
    for call in (manager.wait, manager.cancel):
        with pytest.raises(BackgroundTaskNotFoundError, match=ended):
            await call(ended)


async def test_the_end_of_the_block_cancels_all_and_waits_for_them() -> None:
    before = asyncio.all_tasks()
    async with BackgroundTaskManager(most_running=1) as manager:
        ids = [manager.start(hang()) for _ in range(3)]
        await await_begin(manager, ids[0])

    assert asyncio.all_tasks() == before
    assert {manager.get(one).state for one in ids} == {BackgroundTaskState.CANCELLED}
    with pytest.raises(ServiceClosedError):
        manager.start(answer())


async def test_one_that_swallows_its_cancellation_is_cancelled_again() -> None:
    count = 0

    async def resist() -> None:
        nonlocal count
        while count < 2:
            try:
                await hang()
            except asyncio.CancelledError:
                count += 1

    manager = BackgroundTaskManager()
    await await_begin(manager, manager.start(resist))

    await manager.close()

    assert count == 2


async def test_a_task_can_cancel_itself(manager: BackgroundTaskManager) -> None:
    async def give_up() -> None:
        await manager.cancel(ids[0])

    ids: list[str] = []
    ids.append(manager.start(give_up))

    assert (await manager.wait(ids[0])).state is BackgroundTaskState.CANCELLED


async def test_a_task_of_a_task_has_its_own_record(
    manager: BackgroundTaskManager,
) -> None:
    async def start_another() -> str:
        return manager.start(answer)

    first = await manager.wait(manager.start(start_another))

    assert (await manager.wait(first.result)).result == 42


@pytest.mark.parametrize(
    "limits", [{"most_running": 0}, {"most_waiting": -1}, {"most_kept": -1}]
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="most_running counts from 1"):
        BackgroundTaskManager(**limits)
