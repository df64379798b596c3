"""The engine for programs on asyncio: the same calls, with `await`.

What asks PostgreSQL or a broker runs in a few threads of the service's own. Who waits
for an execution holds none of them: all who wait share one look at the database, and
one connection for hints. Nothing here blocks the event loop.

A call that is cancelled after it has begun in its thread is made to its end, whole, and
its answer is dropped: a submit may have landed, and one with an idempotency key can be
made again.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial, wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from celery import Celery

from .acting import list_pauses, still_going
from .awaiting import AwaitedExecutions
from .background import BackgroundTaskManager
from .batches import Batch
from .engine import ExecutionEngine
from .lookout import Lookout
from .plan import Plan
from .pool import MOST_CONNECTIONS
from .results import ExecutionResult
from .settings import Settings
from .threads import CallThreads
from .transactions import Transaction

_P = ParamSpec("_P")
_T = TypeVar("_T")


def _awaited(
    method: Callable[Concatenate[ExecutionEngine, _P], _T],
) -> "Callable[Concatenate[ExecutionService, _P], Awaitable[_T]]":
    """Return a method of the engine as one of the service, which runs in a thread."""

    @wraps(method)
    async def call(
        service: "ExecutionService", /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        return await service._run(method, *args, **kwargs)  # noqa: SLF001  # its own

    return call


class ExecutionService(AwaitedExecutions):
    """Runs plans for a program on asyncio; `connect` makes one.

    Every method has the name, the parameters and the errors of the engine's, and
    answers the same. Before `open` and after `close` each raises ServiceClosedError.
    A service belongs to the event loop in which it is opened.

    `background` runs coroutines of the program's own for as long as the service is
    open.
    """

    def __init__(
        self,
        connect: Callable[[], ExecutionEngine],
        *,
        most_threads: int = MOST_CONNECTIONS,
    ) -> None:
        """Use the engine that `connect()` makes once the service is opened."""
        self._connect = connect
        super().__init__(CallThreads(most_threads))
        self.background = BackgroundTaskManager()

    @classmethod
    def connect(
        cls,
        settings: Settings | None = None,
        *,
        most_threads: int = MOST_CONNECTIONS,
        app: Celery | None = None,
    ) -> Self:
        """Return a service for `settings`, by default those of the environment.

        It has to be opened, by `async with` or `open`. `most_threads` of its calls run
        at a time, each with a connection to PostgreSQL; more wait for them. With an
        `app` of Celery, its broker and its way to send are used.
        """
        connect = partial(
            ExecutionEngine.connect,
            settings,
            most_connections=most_threads,
            app=app,
        )
        return cls(connect, most_threads=most_threads)

    async def open(self) -> Self:
        """Connect, and return the service; raises what the engine's `connect` does.

        One that is open already stays as it is.
        """
        if self._opened is not None:
            return self
        try:
            await self._threads.run_whole(self._open_engine)
        except BaseException:
            # also a cancellation: nobody else would close what was opened meanwhile
            await self.close()
            raise
        engine = self._engine
        self._looking = Lookout(
            self.read_headway, engine.settings.events_url, engine.installation_id
        )
        self._looking.open()
        return self

    async def close(self) -> None:
        """End the tasks of `background`, then all that waits here, and disconnect.

        Calls that have begun come to their end first. Nothing is left behind: no task,
        no thread, no connection of this service's.
        """
        try:
            await self.background.close()
        finally:
            # also when this is cancelled meanwhile
            try:
                await self._end_waits()
            finally:
                await self._threads.close(self._close_engine)

    async def __aenter__(self) -> Self:
        """Open; close at the end of the block."""
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        await self.close()

    @property
    def settings(self) -> Settings:
        """Return the settings, with a URL for each server."""
        return self._engine.settings

    # run

    async def submit(
        self,
        plan: Plan | str,
        parameters: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        execution_id: str | None = None,
        tags: Sequence[str] = (),
        priority: int = 0,
        at: datetime | None = None,
        transaction: Transaction | None = None,
    ) -> str:
        """Begin an execution of `plan` and return its id, as the engine's `submit`.

        A `transaction` is one that another thread may use, as SQLAlchemy's, psycopg2's
        and psycopg's are, and not of asyncio; while it is used, a cancellation waits.
        """
        submit = partial(
            self._engine.submit,
            plan,
            parameters,
            idempotency_key=idempotency_key,
            execution_id=execution_id,
            tags=tags,
            priority=priority,
            at=at,
            transaction=transaction,
        )
        run = self._threads.run if transaction is None else self._threads.run_whole
        return await run(submit)

    async def execute(
        self,
        plan: Plan | str,
        parameters: Mapping[str, Any] | None = None,
        *,
        timeout_seconds: float | None = None,
        **options: Any,
    ) -> ExecutionResult:
        """Submit and wait for the end; `options` are those of `submit`.

        Raises TimeoutError after `timeout_seconds`: the execution goes on.
        """
        execution_id = await self.submit(plan, parameters, **options)
        return await self.wait(execution_id, timeout_seconds=timeout_seconds)

    submit_many = _awaited(ExecutionEngine.submit_many)

    # act

    add_recovery_strategy = _awaited(ExecutionEngine.add_recovery_strategy)
    pause = _awaited(ExecutionEngine.pause)
    resume = _awaited(ExecutionEngine.resume)
    cancel = _awaited(ExecutionEngine.cancel)
    retry = _awaited(ExecutionEngine.retry)
    skip = _awaited(ExecutionEngine.skip)
    force_result = _awaited(ExecutionEngine.force_result)
    preview_retry = _awaited(ExecutionEngine.preview_retry)
    preview_skip = _awaited(ExecutionEngine.preview_skip)
    preview_force_result = _awaited(ExecutionEngine.preview_force_result)
    signal = _awaited(ExecutionEngine.signal)
    unsubscribe = _awaited(ExecutionEngine.unsubscribe)
    delete_execution = _awaited(ExecutionEngine.delete_execution)

    # act on many

    preview_act = _awaited(ExecutionEngine.preview_act)
    act_on_many = _awaited(ExecutionEngine.act_on_many)
    get_batch = _awaited(ExecutionEngine.get_batch)
    list_batches = _awaited(ExecutionEngine.list_batches)
    list_batch_items = _awaited(ExecutionEngine.list_batch_items)
    pause_batch = _awaited(ExecutionEngine.pause_batch)
    resume_batch = _awaited(ExecutionEngine.resume_batch)
    cancel_batch = _awaited(ExecutionEngine.cancel_batch)

    async def wait_batch(
        self, batch_id: str, *, timeout_seconds: float | None = None
    ) -> Batch:
        """Wait until a batch has ended, and return it; an outage is waited out.

        Raises BatchNotFoundError, and TimeoutError: it goes on.
        """
        look = partial(self._engine.get_batch, batch_id)
        now = asyncio.get_running_loop().time
        until = now() + (math.inf if timeout_seconds is None else timeout_seconds)
        pauses = list_pauses()
        while not (batch := await self._ask(look)).has_ended:
            if now() >= until:
                raise still_going(batch, timeout_seconds)
            await asyncio.sleep(min(next(pauses), until - now()))
        return batch

    # ask

    look = _awaited(ExecutionEngine.look)
    get_cursor = _awaited(ExecutionEngine.get_cursor)
    get_status = _awaited(ExecutionEngine.get_status)
    read_headway = _awaited(ExecutionEngine.read_headway)
    get_result = _awaited(ExecutionEngine.get_result)
    get_plan_of = _awaited(ExecutionEngine.get_plan_of)
    get_state_history = _awaited(ExecutionEngine.get_state_history)
    list_executions = _awaited(ExecutionEngine.list_executions)
    count_executions = _awaited(ExecutionEngine.count_executions)
    list_running_steps = _awaited(ExecutionEngine.list_running_steps)
    list_steps = _awaited(ExecutionEngine.list_steps)
    list_events = _awaited(ExecutionEngine.list_events)
    list_signals = _awaited(ExecutionEngine.list_signals)
    list_logs = _awaited(ExecutionEngine.list_logs)
    read_logs = _awaited(ExecutionEngine.read_logs)
    list_metrics = _awaited(ExecutionEngine.list_metrics)
    list_actions = _awaited(ExecutionEngine.list_actions)
    why = _awaited(ExecutionEngine.why)
    list_unserved_actions = _awaited(ExecutionEngine.list_unserved_actions)
    list_unserved_queues = _awaited(ExecutionEngine.list_unserved_queues)
    list_workers = _awaited(ExecutionEngine.list_workers)
    read_clock = _awaited(ExecutionEngine.read_clock)
    count_living_workers = _awaited(ExecutionEngine.count_living_workers)

    # all of a plan, a tag, a queue

    pause_plan = _awaited(ExecutionEngine.pause_plan)
    resume_plan = _awaited(ExecutionEngine.resume_plan)
    pause_tag = _awaited(ExecutionEngine.pause_tag)
    resume_tag = _awaited(ExecutionEngine.resume_tag)
    pause_queue = _awaited(ExecutionEngine.pause_queue)
    resume_queue = _awaited(ExecutionEngine.resume_queue)
    list_holds = _awaited(ExecutionEngine.list_holds)

    # what steps use

    pause_dependency = _awaited(ExecutionEngine.pause_dependency)
    resume_dependency = _awaited(ExecutionEngine.resume_dependency)
    guard_dependency = _awaited(ExecutionEngine.guard_dependency)
    unguard_dependency = _awaited(ExecutionEngine.unguard_dependency)
    list_dependencies = _awaited(ExecutionEngine.list_dependencies)

    # plans by name

    publish = _awaited(ExecutionEngine.publish)
    get_plan = _awaited(ExecutionEngine.get_plan)
    list_versions = _awaited(ExecutionEngine.list_versions)

    # schedules

    create_schedule = _awaited(ExecutionEngine.create_schedule)
    update_schedule = _awaited(ExecutionEngine.update_schedule)
    delete_schedule = _awaited(ExecutionEngine.delete_schedule)
    pause_schedule = _awaited(ExecutionEngine.pause_schedule)
    resume_schedule = _awaited(ExecutionEngine.resume_schedule)
    run_schedule_now = _awaited(ExecutionEngine.run_schedule_now)
    get_schedule = _awaited(ExecutionEngine.get_schedule)
    list_schedules = _awaited(ExecutionEngine.list_schedules)
    list_schedule_runs = _awaited(ExecutionEngine.list_schedule_runs)
    list_schedule_changes = _awaited(ExecutionEngine.list_schedule_changes)
    list_next_times = _awaited(ExecutionEngine.list_next_times)
    preview_times = _awaited(ExecutionEngine.preview_times)

    def _open_engine(self) -> None:
        # kept here and not returned: who waits for it may be cancelled meanwhile
        self._opened = self._connect()

    def _close_engine(self) -> None:
        engine, self._opened = self._opened, None
        if engine is not None:
            engine.close()

    async def _run(
        self,
        method: Callable[Concatenate[ExecutionEngine, _P], _T],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        return await self._threads.run(partial(method, self._engine, *args, **kwargs))
