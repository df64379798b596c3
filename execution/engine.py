"""The engine: submit plans, wait for them, watch them, and stay in charge of them.

What most programs need, in blocking calls. It holds no state of its own: everything
it answers is read from PostgreSQL, so any number of engines, in any process, see the
same executions.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from execution.actions import registry
from execution.admission import PlanAdmission
from execution.bulk import Order, bind_all, submit_chunks
from execution.dispatcher import ExecutionDispatcher, create_app
from execution.events import ExecutionEventEmitter, subscription
from execution.faults import FaultPoint, reach
from execution.identity import draw_execution_id
from execution.inspection import InspectedExecutions, not_found
from execution.installation import Installation, open_installation
from execution.keys import KeyedExecutions
from execution.lifecycle import ExecutionStateManager
from execution.liveness import LivenessRecords
from execution.patience import ASK_TWICE, Patience
from execution.payloads import PayloadStore
from execution.plan import Plan
from execution.pool import DatabasePool
from execution.progress import compute_progress
from execution.publication import PublishedPlans
from execution.receipts import Submitted
from execution.records import StepRecords
from execution.relay import ExecutionRelay
from execution.repository import ExecutionRepository
from execution.results import (
    ExecutionResult,
    ExecutionSummary,
    ExecutionUpdate,
)
from execution.sessions import Transaction
from execution.settings import Settings
from execution.states import ExecutionStatus
from execution.strategies import add_strategy
from execution.waiting import wait_for_end

_POLL_SECONDS = 2.0


class ExecutionEngine(InspectedExecutions, PublishedPlans):
    """Runs plans; `connect` makes one."""

    def __init__(self, installation: Installation) -> None:
        """Work with the servers of an opened installation; `connect` opens one."""
        settings = installation.settings
        assert settings.database_url is not None  # noqa: S101  # an installation has every URL
        self.settings = settings
        self._installation = installation
        self._database = DatabasePool(
            settings.database_url, settings.schema, most_connections=2
        )
        self._installation_id = self._database.check()
        self._payloads = PayloadStore.from_settings(settings)
        self._records = StepRecords(self._database, self._payloads)
        self._repository = ExecutionRepository(
            settings.database_url, settings.schema, self._payloads
        )
        self._admission = PlanAdmission(self._repository, settings.check)
        self._emitter = ExecutionEventEmitter(
            settings.events_url, self._installation_id
        )
        self._dispatcher = ExecutionDispatcher(create_app(settings))
        self._relay = ExecutionRelay(self._records, self._dispatcher, self._emitter)
        self._keyed = KeyedExecutions(
            LivenessRecords(self._database),
            self._records,
            self._dispatcher,
            self._emitter,
        )
        self._states = ExecutionStateManager(
            self._repository,
            self._dispatcher,
            self._emitter,
            self._finish,
            partial(ASK_TWICE, self._relay.carry),
        )

    @classmethod
    def connect(cls, settings: Settings | None = None) -> Self:
        """Return an engine for `settings`, by default those of the environment.

        Raises SettingsError saying what to set when a server is not named, and
        SchemaMismatchError when the database needs `plans db upgrade`.
        """
        installation = open_installation(settings or Settings.from_environment())
        try:
            return cls(installation)
        except BaseException:
            installation.close()
            raise

    def close(self) -> None:
        """Close every connection, and the hold on the local stack if there is one."""
        self._emitter.close()
        self._repository.close()
        self._database.close()
        self._installation.close()

    def __enter__(self) -> Self:
        """Close at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    # run

    def submit(
        self,
        plan: Plan | str,
        parameters: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        execution_id: str | None = None,
        tags: Sequence[str] = (),
        priority: int = 0,
        transaction: Transaction | None = None,
    ) -> str:
        """Begin an execution of `plan` and return its id, without waiting.

        `plan` is one, or names one that was published, `NAME` or `NAME@VERSION`. What
        has returned is committed; in a `transaction` of the caller's (a SQLAlchemy
        connection or session), it is there once that commits. The same
        `idempotency_key` or `execution_id` with the same body returns what exists.
        Raises ParameterError, PlanValidationError for actions that workers do not
        offer so, PlanNotFoundError, SubmissionConflictError for a key used otherwise,
        ConcurrencyConflictError when the plan rejects it and others have its key.
        """
        plan = self.get_plan(plan) if isinstance(plan, str) else plan
        keys = [] if idempotency_key is None else [idempotency_key]
        self._admission.admit(
            plan, priority=priority, keys=keys, execution_id=execution_id
        )
        # with its id drawn, a call can be made again, if not in a caller's transaction
        submit = self._repository.submit
        submitted = (submit if transaction else partial(ASK_TWICE, submit))(
            plan,
            plan.bind(parameters or {}),
            queue=self.settings.queue,
            execution_id=execution_id or draw_execution_id(),
            key=idempotency_key,
            tags=[*plan.tags, *tags],
            priority=priority,
            transaction=transaction,
        )
        if transaction is None:
            self._follow_submit(submitted, is_awaited=execution_id is not None)
        return submitted.execution_id

    def _follow_submit(self, submitted: Submitted, *, is_awaited: bool) -> None:
        reach(FaultPoint.SUBMITTED)
        if is_awaited:
            # an id that was drawn here is known to nobody who could listen
            self._emitter.emit(submitted.execution_id, submitted.last_seq)
        self._dispatcher.publish(submitted.windows)
        if submitted.held_key is not None:
            self._keyed.try_settle(submitted.held_key)

    def submit_many(
        self,
        plan: Plan | str,
        parameters: Iterable[Mapping[str, Any]],
        *,
        keys: Sequence[str] | None = None,
        tags: Sequence[str] = (),
        priority: int = 0,
    ) -> tuple[str, ...]:
        """Begin an execution of `plan` for each of `parameters`; return ids in order.

        Everything is checked first: ParameterError names every fault by its index, and
        nothing is begun then. Then chunks of up to 250 are committed one by one.
        `keys` are idempotency keys, one for each; those that began an execution with
        the same body answer its id. For one with another body
        SubmissionConflictError is raised; of its chunk nothing is kept, the chunks
        before it are, and with keys the call may be repeated.
        """
        if isinstance(plan, str):
            plan = self.get_plan(plan)
        self._admission.admit(plan, priority=priority, keys=keys or ())
        bound = bind_all(plan, parameters, keys)
        tags = [*plan.tags, *tags]
        order = Order(plan, bound, keys, tags, priority, self.settings.queue)
        return submit_chunks(order, self._repository, self._dispatcher, self._keyed)

    def execute(
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
        execution_id = self.submit(plan, parameters, **options)
        return self.wait(execution_id, timeout_seconds=timeout_seconds)

    def wait(
        self, execution_id: str, *, timeout_seconds: float | None = None
    ) -> ExecutionResult:
        """Wait until the execution has ended and return how.

        An outage of PostgreSQL is waited out. Raises ExecutionNotFoundError, and after
        `timeout_seconds` TimeoutError, or DatabaseError in an outage.
        """
        return wait_for_end(
            execution_id,
            self._repository,
            partial(self._listen, execution_id),
            partial(self.get_result, execution_id),
            timeout_seconds=timeout_seconds,
        )

    def monitor(
        self, execution_id: str, *, after: int = 0
    ) -> Iterator[ExecutionUpdate]:
        """Yield where the execution stands, each time it has moved, until it has ended.

        Every event with a number above `after` comes exactly once, in order. An outage
        of PostgreSQL is waited out. Raises ExecutionNotFoundError when there is no such
        execution.
        """
        ask = Patience().until_answered
        ask(partial(self.get_status, execution_id))
        with self._listen(execution_id) as listener:
            while True:
                update, execution = ask(partial(self._look, execution_id, after))
                if update.events or after == 0:
                    yield update
                after = max(after, update.last_seq)
                if execution.last_seq > after:
                    continue
                if execution.has_ended:
                    return
                if not update.events:
                    listener.wait(_POLL_SECONDS)

    # act

    def add_recovery_strategy(
        self, name: str, decide: Callable[..., Any], *, timeout: str | None = None
    ) -> None:
        """Register a recovery strategy in this process, as `@recovery_strategy` does.

        Workers are who run strategies: one that is to be asked has to be registered in
        theirs, when they start. Raises ActionRegistrationError for what cannot be one.
        """
        add_strategy(registry, name, decide, timeout)

    def pause(
        self, execution_id: str, *, by: str | None = None, reason: str | None = None
    ) -> ExecutionStatus:
        """Let running steps finish and start no other until `resume`."""
        return self._change(execution_id, ExecutionStatus.PAUSED, by, reason)

    def resume(
        self, execution_id: str, *, by: str | None = None, reason: str | None = None
    ) -> ExecutionStatus:
        """Go on where `pause` stopped."""
        return self._change(execution_id, ExecutionStatus.RUNNING, by, reason)

    def cancel(
        self, execution_id: str, *, by: str | None = None, reason: str | None = None
    ) -> ExecutionStatus:
        """Start no further step, and end once nothing runs any more."""
        return self._change(execution_id, ExecutionStatus.ENDING, by, reason)

    def delete_execution(self, execution_id: str) -> bool:
        """Delete an ended execution with its large values; say whether it was there."""
        return self._repository.delete_execution(execution_id)

    def _change(
        self,
        execution_id: str,
        target: ExecutionStatus,
        by: str | None,
        reason: str | None,
    ) -> ExecutionStatus:
        self.get_status(execution_id)
        return self._states.change_state(execution_id, target, by=by, reason=reason)

    def _finish(self, execution_id: str) -> bool:
        # the connection may have been cut since it was used last, and says so only now
        return ASK_TWICE(self._relay.finish, execution_id)

    def _listen(self, execution_id: str) -> Any:
        url = self.settings.events_url
        return subscription(url, self._installation_id, execution_id)

    def _look(
        self, execution_id: str, after: int
    ) -> tuple[ExecutionUpdate, ExecutionSummary]:
        events = self._repository.list_events(execution_id, after=after)
        found = self._repository.get_with_running(execution_id)
        if found is None:
            # deleted while it was watched
            raise not_found(execution_id)
        execution, running = found
        update = ExecutionUpdate(
            execution_id=execution_id,
            status=execution.status,
            progress=compute_progress(execution, running),
            events=events,
            last_seq=events[-1].seq if events else after,
        )
        return update, execution
